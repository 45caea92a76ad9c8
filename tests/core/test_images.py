"""Image files: upright, RGB, uint8; and one clear line for each that cannot be read."""

from __future__ import annotations

import subprocess
import sys
import zlib

import numpy as np
import PIL.Image
import pytest

from augsuite.dataset import images
from augsuite.errors import DataError


@pytest.fixture(params=["opencv", "pillow"])
def decoder(request, monkeypatch):
    """Both ways to decode."""
    if request.param == "opencv":
        pytest.importorskip("cv2")
    else:
        monkeypatch.setattr(images, "_opencv", lambda: None)
    return images.decode


def gradient(width: int, height: int) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([columns * 255 // width, rows * 255 // height, np.full_like(rows, 40)], axis=2).astype(np.uint8)


def test_a_lossless_file_comes_back_as_rgb(decoder, tmp_path):
    pixels = gradient(33, 21)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decoder(tmp_path / "a.png"), pixels)
    assert images.read_size(tmp_path / "a.png") == (33, 21)


@pytest.mark.parametrize("suffix", ["jpg", "tiff", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_pixels_and_size(decoder, tmp_path, orientation, suffix):
    path = tmp_path / f"turned.{suffix}"
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(gradient(64, 32)).save(path, quality=95, exif=exif)
    with PIL.Image.open(path) as opened:
        upright = np.asarray(PIL.ImageOps.exif_transpose(opened).convert("RGB")).astype(int)
    found = decoder(path)
    assert found.shape == upright.shape
    assert np.abs(found - upright).mean() < 2
    assert images.read_size(path) == (upright.shape[1], upright.shape[0])


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_is_not_shifted_by_a_fraction(decoder, tmp_path, orientation):
    """Blocks are counted in the stored image: where its last one is cut, the upright image would begin with it."""
    path = tmp_path / "turned.jpg"
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    for stored, reduced in (((101, 67), False), ((96, 64), True)):
        PIL.Image.fromarray(gradient(*stored)).save(path, quality=95, exif=exif)
        with PIL.Image.open(path) as opened:
            upright = np.asarray(PIL.ImageOps.exif_transpose(opened).convert("RGB")).astype(float)
        found = decoder(path, 8)
        height, width = upright.shape[:2]
        if reduced:
            upright = upright.reshape(height // 8, 8, width // 8, 8, 3).mean(axis=(1, 3))
        assert found.shape == upright.shape
        assert np.abs(found - upright).mean() < 2


@pytest.mark.parametrize("reduce", [2, 4, 8])
def test_a_jpeg_is_decoded_at_a_fraction(decoder, tmp_path, reduce):
    path = tmp_path / "a.jpg"
    PIL.Image.fromarray(gradient(101, 67)).save(path, quality=95)
    found = decoder(path, reduce)
    assert found.shape == (-(-67 // reduce), -(-101 // reduce), 3)
    with PIL.Image.open(path) as opened:
        full = np.asarray(opened).astype(float)
    # A pixel of the small image is the mean of a whole block, counted from the top left: the scale is 1 / reduce exactly.
    rows, columns = 67 // reduce, 101 // reduce
    blocks = full[: rows * reduce, : columns * reduce].reshape(rows, reduce, columns, reduce, 3).mean(axis=(1, 3))
    assert np.abs(found[:rows, :columns] - blocks).mean() < 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_other_modes_become_rgb(decoder, tmp_path, mode):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(gradient(16, 8)).convert(mode).save(path)
    with PIL.Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"))
    found = decoder(path)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


def test_cmyk_becomes_rgb(decoder, tmp_path):
    path = tmp_path / "a.jpg"
    PIL.Image.fromarray(gradient(32, 16)).convert("CMYK").save(path, quality=95)
    with PIL.Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB")).astype(int)
    assert np.abs(decoder(path) - expected).mean() < 3


def test_sixteen_bits_keep_the_upper_eight(decoder, tmp_path):
    path = tmp_path / "a.png"
    values = (np.arange(0, 65536, 256, dtype=np.uint16) + 255).reshape(16, 16)
    PIL.Image.fromarray(values).save(path)
    assert np.abs(decoder(path)[..., 0].astype(int) - np.arange(256).reshape(16, 16)).max() <= 1


def test_a_truncated_jpeg_is_said(decoder, tmp_path):
    path = tmp_path / "cut.jpg"
    PIL.Image.fromarray(gradient(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"cut\.jpg: the image cannot be read \(.*truncated"):
        decoder(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff"])
def test_what_is_no_image_is_said(decoder, tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: "):
        decoder(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: "):
        images.read_size(tmp_path / "a.jpg")


def test_a_missing_file_is_said(decoder, tmp_path):
    with pytest.raises(DataError, match="no such image file"):
        decoder(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp"])
def test_sound_files_are_told_from_broken_ones_without_decoding(tmp_path, monkeypatch, name):
    path = tmp_path / name
    PIL.Image.fromarray(gradient(200, 200)).save(path)
    whole = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(images, "decode", lambda path: pytest.fail("decoded"))
        images.check_readable(path)
        path.write_bytes(whole + b"notes of some camera")
        images.check_readable(path)
    if name != "a.bmp":
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match="cannot be read"):
            images.check_readable(path)
    path.write_bytes(b"text")
    with pytest.raises(DataError, match="not an image"):
        images.check_readable(path)


def a_png_that_claims(width: int, height: int) -> bytes:
    """A few bytes whose header claims a huge image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_an_image_beyond_pillows_limit_is_refused_before_it_takes_memory(decoder, tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(a_png_that_claims(side, side))
    with pytest.raises(DataError, match=r"bomb\.png: larger than the limit of 89,478,485 pixels"):
        decoder(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="larger than the limit"):
        images.read_size(tmp_path / "bomb.png")


def test_nothing_needs_opencv(tmp_path):
    PIL.Image.fromarray(gradient(8, 8)).save(tmp_path / "a.png")
    code = f"""
import sys
sys.modules["cv2"] = None
from pathlib import Path
from augsuite.dataset.images import decode
print(decode(Path({str(tmp_path / "a.png")!r})).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "(8, 8, 3)"
