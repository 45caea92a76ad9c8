import io
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from augsuite.dataset import images, jpeg


def photo(width=203, height=301, **options):
    """A smooth picture with detail, so that colour is interpolated over the borders of blocks."""
    rng = np.random.default_rng(1)
    coarse = PIL.Image.fromarray(rng.integers(0, 256, (height // 7, width // 7, 3), np.uint8))
    file = io.BytesIO()
    coarse.resize((width, height)).convert(options.pop("mode", "RGB")).save(file, "JPEG", **options)
    return file.getvalue()


def exif(orientation):
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_what_pillow_wrote(orientation):
    header = jpeg.read_header(photo(exif=exif(orientation)))
    assert (header.width, header.height, header.orientation) == (203, 301, orientation)


def test_big_endian_exif():
    # By hand: MM, 42, directory at 8, one entry: tag 0x0112, SHORT, one value, 6.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    assert jpeg.read_header(photo(exif=b"Exif\0\0" + tiff)).orientation == 6


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0", photo()[:100], b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_whole_header(data):
    assert jpeg.read_header(data) is None


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"mode": "L"}])
@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
@pytest.mark.parametrize("rows", [1, 17, 100, 150])
def test_upper_rows_are_those_of_the_whole(tmp_path, capfd, options, reduce, rows):
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo(**options))
    whole, part = images.decode(path, reduce), images.decode(path, reduce, (rows, 301))
    needed = -(-rows // reduce)
    assert needed <= len(part) < len(whole)
    assert len(part) <= -(-(rows + 15 + 16) // reduce)  # whole blocks, and one for the colour
    assert np.array_equal(part[:needed], whole[:needed])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "data", [photo(progressive=True), photo(exif=exif(3)), photo(exif=exif(6)), photo()[:-2000]], ids=len
)
def test_files_that_are_decoded_whole(data):
    header = jpeg.read_header(data)
    assert not header.end or header.orientation != 1


def test_a_file_of_another_height_is_decoded_whole(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo())
    assert images.decode(path, 1, (10, 300)).shape == (301, 203, 3)


def test_several_images_in_one_file(tmp_path, capfd):
    first, second = (PIL.Image.open(io.BytesIO(photo(quality=quality))) for quality in (80, 90))
    path = tmp_path / "photo.mpo"
    first.save(path, "MPO", save_all=True, append_images=[second])
    assert np.array_equal(images.decode(path, 1, (10, 301)), images.decode(path))
    assert capfd.readouterr().err == ""


def test_restart_markers(tmp_path):
    cv2 = pytest.importorskip("cv2")
    pixels = np.asarray(PIL.Image.open(io.BytesIO(photo())))
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])
    path = tmp_path / "photo.jpg"
    path.write_bytes(data.tobytes())
    part = images.decode(path, 1, (64, 301))
    assert len(part) < 301
    assert np.array_equal(part[:64], images.decode(path)[:64])


@pytest.mark.parametrize(("scale", "shrink"), [(1.0, 1), (1.5, 1), (0.5, 2), (0.2, 4)])
def test_a_crop_takes_hardly_more_rows_than_its_own(tmp_path, monkeypatch, scale, shrink):
    from augsuite.augment import resample
    from augsuite.dataset import FileSource, sample

    path = tmp_path / "photo.jpg"
    path.write_bytes(photo())
    asked = []
    monkeypatch.setattr(sample, "decode", lambda *given: asked.append(given) or images.decode(*given))
    side = round(100 * scale)
    resample.warp(FileSource(path, 203, 301), (scale, 0.0, 0.0, 0.0, scale, 0.0), (0, 0, side, side))
    [(_, reduce, (rows, height))] = asked
    assert (reduce, height) == (shrink, 301)
    assert 100 <= rows <= 101 + 4 * (1 / scale + shrink)


def test_real_photographs(capfd):
    root = os.environ.get("AUGSUITE_DATA")
    if not root:
        pytest.skip("AUGSUITE_DATA is not set")
    for path in sorted(Path(root, "raccoon", "images").glob("*.jpg"))[:20]:
        whole = images.decode(path)
        part = images.decode(path, 1, (len(whole) // 3, len(whole)))
        assert np.array_equal(part[: len(whole) // 3], whole[: len(whole) // 3])
    assert capfd.readouterr().err == ""


def test_a_file_that_breaks_off_is_noticed_whatever_is_needed(tmp_path):
    from augsuite.errors import DataError

    path = tmp_path / "photo.jpg"
    path.write_bytes(photo()[:-200])
    with pytest.raises(DataError):
        images.decode(path, 1, (10, 301))
