"""Image files looked at: Pillow makes the files and their variants, and damage is done by hand."""

import io
import os

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest

from augsuite.dataset import Annotations, Categories, Dataset, Images, parallel
from augsuite.dataset.inspection import Condition, inspect, inspect_files
from augsuite.dataset.neighbours import near_pairs
from augsuite.engines.local import run as run_local


@pytest.fixture
def picture():
    """A picture with structure at all scales, 400 x 300."""
    rng = np.random.default_rng(3)
    total = np.zeros((300, 400, 3))
    for cells in (3, 6, 12, 25, 50):
        small = rng.integers(0, 256, (cells, cells, 3), np.uint8)
        total += np.asarray(PIL.Image.fromarray(small).resize((400, 300), PIL.Image.Resampling.BICUBIC)) / 5
    return PIL.Image.fromarray(total.round().astype(np.uint8))


def encoded(image, kind="jpeg", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bits(first, second):
    return int(np.unpackbits((first ^ second).view(np.uint8)).sum())


def damaged(data, how):
    middle, changed = len(data) // 2, bytearray(data)
    if how == "zeros":
        changed[middle : middle + 800] = bytes(800)
    elif how == "noise":
        changed[middle : middle + 800] = np.random.default_rng(1).bytes(800)
    elif how == "cut out":
        del changed[middle : middle + 800]
    elif how == "ends early":
        del changed[middle:]
    return bytes(changed)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("how", ["zeros", "noise", "cut out", "ends early"])
def test_damage_in_the_middle_of_a_jpeg_is_found(picture, tmp_path, how, progressive, capfd):
    pytest.importorskip("cv2")
    sound, broken = tmp_path / "sound.jpg", tmp_path / "broken.jpg"
    data = encoded(picture, quality=90, progressive=progressive)
    sound.write_bytes(data)
    broken.write_bytes(damaged(data, how))
    found = inspect_files([str(sound), str(broken)])
    assert found.conditions[0] == Condition.SOUND
    assert found.problems[0] == ""
    assert found.conditions[1] >= Condition.DAMAGED
    assert found.problems[1]
    assert capfd.readouterr().err == "", "libjpeg's words must not reach the user's terminal"


def test_a_flipped_byte_of_a_png_is_found(picture, tmp_path):
    data = bytearray(encoded(picture, "png", compress_level=0))
    (tmp_path / "a.png").write_bytes(data)
    data[len(data) // 2] ^= 0x10
    (tmp_path / "b.png").write_bytes(data)
    (tmp_path / "c.png").write_bytes(data[: len(data) // 2])
    found = inspect_files([str(tmp_path / name) for name in ("a.png", "b.png", "c.png")])
    assert found.conditions[0] == Condition.SOUND
    assert (found.conditions[1:] >= Condition.DAMAGED).all()


def test_what_is_no_image_and_what_is_not_there(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    names = ["text.jpg", "empty.jpg", "folder.jpg", "none.jpg"]
    found = inspect_files([*(str(tmp_path / name) for name in names), ""])
    wrong, gone = Condition.UNREADABLE, Condition.MISSING
    assert found.conditions.tolist() == [wrong, wrong, wrong, gone, gone]
    assert not found.comparable.any()
    assert not found.sizes.any()


def test_the_words_of_others_pass_through(picture, tmp_path, capfd):
    pytest.importorskip("cv2")
    from augsuite.dataset import inspection

    said = (tmp_path / "said").open("w+b")
    with said, inspection._stderr_into(said):
        os.write(2, b"somebody else\n")
    (tmp_path / "a.jpg").write_bytes(encoded(picture))
    os.write(2, b"after\n")
    assert (tmp_path / "said").read_bytes() == b"somebody else\n"
    assert capfd.readouterr().err == "after\n"


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_as_pillow_turns_it(picture, tmp_path, kind, orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    turned = tmp_path / f"turned.{kind}"
    turned.write_bytes(encoded(picture, kind, exif=exif))
    with PIL.Image.open(turned) as opened:
        upright = PIL.ImageOps.exif_transpose(opened)
    straight = tmp_path / "upright.png"
    straight.write_bytes(encoded(upright.convert("RGB"), "png"))
    found = inspect_files([str(turned), str(straight)])
    assert found.sizes[0].tolist() == list(upright.size)
    assert found.orientations.tolist() == [orientation, 1]
    assert bits(found.hashes[0], found.hashes[1]) <= 12


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_of_pillow_is_read(picture, tmp_path, mode):
    kind = {"CMYK": "jpeg", "F": "tiff"}.get(mode, "png")
    grey = picture.convert("L")
    image = PIL.Image.fromarray(np.asarray(grey).astype(np.uint16) << 8) if mode == "I;16" else picture.convert(mode)
    (tmp_path / "a").write_bytes(encoded(image, kind))
    (tmp_path / "b").write_bytes(encoded(grey, "png"))
    found = inspect_files([str(tmp_path / "a"), str(tmp_path / "b")])
    assert found.conditions.tolist() == [0, 0]
    assert bits(found.hashes[0], found.hashes[1]) <= (60 if mode in {"1", "P"} else 20)


def test_with_and_without_opencv_the_same(picture, tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    from augsuite.dataset import inspection

    paths = []
    for row, (side, grey) in enumerate(
        [((400, 300), False), ((1600, 1200), False), ((90, 70), True), ((401, 303), True)]
    ):
        image = picture.resize(side)
        path = tmp_path / f"{row}.jpg"
        path.write_bytes(encoded(image.convert("L") if grey else image, progressive=bool(row % 2)))
        paths.append(str(path))
    before = inspect_files(paths)
    monkeypatch.setattr(inspection, "_opencv", lambda: None)
    after = inspect_files(paths)
    assert (before.hashes == after.hashes).all()
    assert (before.sizes == after.sizes).all()


def test_any_number_of_processes_gives_the_same(picture, tmp_path):
    for row in range(70):
        picture.rotate(5 * row).save(tmp_path / f"{row}.jpg")
    names = [f"{row}.jpg" for row in range(70)]
    data = Dataset(
        Images.of([*names, "x"], files=[*names, ""]), Categories.of([]), Annotations.of([], []), root=tmp_path
    )
    one = inspect(data)
    with parallel.using(2, run_local):
        two = inspect(data)
    for name in ("conditions", "sizes", "contents", "hashes", "comparable", "problems"):
        assert (getattr(one, name) == getattr(two, name)).all(), name


def test_no_images_at_all():
    found = inspect(Dataset(Images.of([]), Categories.of([]), Annotations.of([], [])))
    assert found.sizes.shape == (0, 2)
    assert found.hashes.shape == (0, 4)


VARIANTS = {
    "recompressed": lambda image: PIL.Image.open(io.BytesIO(encoded(image, quality=30))),
    "half as large": lambda image: image.resize((image.width // 2, image.height // 2), PIL.Image.Resampling.BICUBIC),
    "larger": lambda image: image.resize((image.width * 3 // 2, image.height * 3 // 2), PIL.Image.Resampling.LANCZOS),
    "brighter": lambda image: PIL.ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: PIL.ImageEnhance.Brightness(image).enhance(0.85),
    "more contrast": lambda image: PIL.ImageEnhance.Contrast(image).enhance(1.15),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["raccoon/images", "bccd/JPEGImages"])
def test_photographs_are_known_again(real_data, tmp_path, name, variant):
    folder = real_data / name
    if not folder.is_dir():
        pytest.skip(f"needs {name} under AUGSUITE_DATA")
    originals = sorted(folder.glob("*.jpg"))[:40]
    paths = [str(path) for path in originals]
    for path in originals:
        with PIL.Image.open(path) as opened:
            changed = VARIANTS[variant](opened.convert("RGB"))
        changed.convert("RGB").save(tmp_path / path.name, quality=80)
        paths.append(str(tmp_path / path.name))
    found = inspect_files(paths)
    count = len(originals)
    differ = np.array([bits(found.hashes[row], found.hashes[row + count]) for row in range(count)])
    assert differ.max() <= 24
    first, second, _ = near_pairs(found.hashes[:count], 32)
    judged = [np.asarray(PIL.Image.open(path).convert("L").resize((48, 48)), float) for path in originals]
    for one, other in zip(first, second, strict=True):  # what is called alike is alike, pixel for pixel
        assert np.corrcoef(judged[one].ravel(), judged[other].ravel())[0, 1] > 0.9


def test_files_in_an_archive(picture, tmp_path):
    import zipfile

    from augsuite.dataset.archives import at

    data = encoded(picture)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("images/a.jpg", data)
        archive.writestr("images/b.jpg", data[: len(data) // 2])
    names = ["images/a.jpg", "images/b.jpg", "images/c.jpg"]
    table = Dataset(
        Images.of(names, files=names), Categories.of([]), Annotations.of([], []), root=at(tmp_path / "a.zip")
    )
    found = inspect(table)
    assert found.conditions.tolist() == [Condition.SOUND, Condition.UNREADABLE, Condition.MISSING]
    assert found.sizes[0].tolist() == [400, 300]
