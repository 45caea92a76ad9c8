"""What leads out of a dataset's folder is refused unless allowed; what is written is whole, whoever dies."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import PIL.Image
import pytest

import augsuite
from augsuite.dataset import Annotations, Categories, Dataset, Images, Intake
from augsuite.dataset.disk import entries, read_bytes, walk
from augsuite.dataset.fence import current, fenced
from augsuite.dataset.finder import Finder, tamed
from augsuite.dataset.output import fresh_folder
from augsuite.dataset.placing import place_images
from augsuite.dataset.xml import parse
from augsuite.errors import ConfigError, DataError, PluginError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs links and signals")


def picture(path: Path, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, (9, 8, 7)).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    """A dataset's folder, and beside it a file that is none of its business."""
    picture(tmp_path / "secret" / "s.png")
    picture(tmp_path / "set" / "images" / "a.png")
    return tmp_path / "set"


# Names


@pytest.mark.parametrize(
    "name",
    ["../secret/s.png", "images/../../secret/s.png", "{}/secret/s.png", "..\\secret\\s.png", "x/../../secret/s.png"],
)
def test_a_name_that_leads_outside_is_refused_unless_allowed(name, root):
    name = name.format(root.parent)
    with pytest.raises(DataError, match=r"leads outside the dataset's folder .* pass --allow-outside"):
        Finder(root, ("",)).find(name)
    found = Finder(root, ("",), allow_outside=True).find(name)
    assert Path(found) == root.parent / "secret" / "s.png"
    assert Finder(root, ("",), allow_outside=True).find("../secret/none.png") == ""


@pytest.mark.parametrize("name", ["C:/secret/s.png", "C:s.png", "\\\\host\\share\\s.png"])
def test_a_drive_is_outside(name, root):
    with pytest.raises(DataError, match="leads outside"):
        Finder(root, ("",)).find(name)


def test_a_link_that_leads_outside_is_refused_unless_allowed(root):
    (root / "images" / "link.png").symlink_to(root.parent / "secret" / "s.png")
    (root / "images" / "inner.png").symlink_to("a.png")
    (root / "linked").symlink_to(root.parent / "secret")
    (root / "alias").symlink_to("images")
    finder = Finder(root, ("images", "", "linked"))
    assert finder.find("a.png") == "images/a.png"
    assert finder.find("inner.png") == "images/inner.png"
    assert finder.find("alias/a.png") == "alias/a.png"
    for name in ("link.png", "linked/s.png", "s.png", "images/link.png"):
        with pytest.raises(DataError, match="leads by a link outside"):
            finder.find(name)
        assert finder.look(name) is None
    with pytest.raises(DataError, match="leads by a link outside"):
        finder.find("link", stem=True)
    allowed = Finder(root, ("images", "", "linked"), allow_outside=True)
    assert [allowed.find(name) for name in ("link.png", "linked/s.png", "s.png")] == [
        "images/link.png", "linked/s.png", "linked/s.png",
    ]  # fmt: skip


def test_the_users_own_link_to_a_dataset_is_no_way_out(root, tmp_path):
    (tmp_path / "mine").symlink_to(root)
    assert Finder(tmp_path / "mine", ("images",)).find("a.png") == "images/a.png"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../pics/a.jpg", "pics/a.jpg"),
        ("/pics/a.jpg", "pics/a.jpg"),
        ("C:\\pics\\a.jpg", "pics/a.jpg"),
        ("a/../b", "a/b"),
    ],
)
def test_a_name_from_outside_becomes_one_that_can_be_written(name, expected):
    assert tamed(name) == expected


def test_annotation_files_that_are_links_stay_inside(root):
    (root / "notes").mkdir()
    (root.parent / "secret" / "key.txt").write_text("secret")
    (root / "notes" / "own.txt").write_text("own")
    (root / "notes" / "inner.txt").symlink_to("own.txt")
    with fenced(root, allow_outside=False):
        assert read_bytes(root / "notes" / "inner.txt") == b"own"
        assert [path.name for path in entries(root / "notes")] == ["inner.txt", "own.txt"]
    (root / "notes" / "link.txt").symlink_to(root.parent / "secret" / "key.txt")
    (root / "linked").symlink_to(root.parent / "secret")
    for read in (
        lambda: read_bytes(root / "notes" / "link.txt"),
        lambda: read_bytes(str(root / "linked" / "key.txt")),
        lambda: entries(root / "notes"),
        lambda: entries(root / "linked"),
        lambda: list(walk(root)),
    ):
        read()
        with fenced(root, allow_outside=True):
            read()
        with fenced(root, allow_outside=False), pytest.raises(DataError, match="--allow-outside if you trust it"):
            read()
    assert current() is None


def _classes(root: Path) -> None:
    shutil.rmtree(root / "images")
    picture(root / "cat" / "1.png")
    picture(root / "dog" / "2.png")
    (root / "dog" / "s.png").symlink_to(root.parent / "secret" / "s.png")


def _coco(root: Path) -> None:
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").symlink_to(root.parent / "c.json")
    (root.parent / "c.json").write_text('{"images": [], "annotations": [], "categories": []}')


def _coco_image(root: Path) -> None:
    (root / "images" / "s.png").symlink_to(root.parent / "secret" / "s.png")
    (root / "instances.json").write_text(
        '{"images": [{"id": 1, "file_name": "s.png", "width": 8, "height": 6}], "annotations": [], "categories": []}'
    )


def _coco_name(root: Path) -> None:
    (root / "instances.json").write_text(
        '{"images": [{"id": 1, "file_name": "../secret/s.png", "width": 8, "height": 6}], "annotations": [], "categories": []}'
    )


def _voc(root: Path) -> None:
    (root / "Annotations").mkdir()
    (root / "images").rename(root / "JPEGImages")
    (root / "JPEGImages" / "s.png").symlink_to(root.parent / "secret" / "s.png")
    (root / "Annotations" / "s.xml").write_text(
        "<annotation><filename>s.png</filename><size><width>8</width><height>6</height></size></annotation>"
    )


def _voc_file(root: Path) -> None:
    (root / "Annotations").mkdir()
    (root.parent / "s.xml").write_text("<annotation><filename>a.png</filename></annotation>")
    (root / "Annotations" / "s.xml").symlink_to(root.parent / "s.xml")


def _csv(root: Path) -> None:
    (root / "labels.csv").write_text("image,label,xmin,ymin,xmax,ymax\n../secret/s.png,cat,1,1,5,5\n")


def _yolo(root: Path) -> None:
    (root / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [cat]\n")
    picture(root / "images" / "train" / "b.png")
    (root / "images" / "train" / "s.png").symlink_to(root.parent / "secret" / "s.png")
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "s.txt").write_text("0 0.5 0.5 0.1 0.1\n")


def _yolo_label(root: Path) -> None:
    (root / "data.yaml").write_text("train: images/train\nval: images/train\nnames: [cat]\n")
    picture(root / "images" / "train" / "b.png")
    (root.parent / "b.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (root / "labels" / "train").mkdir(parents=True)
    (root / "labels" / "train" / "b.txt").symlink_to(root.parent / "b.txt")


@pytest.mark.parametrize(
    "make",
    [_classes, _coco, _coco_image, _coco_name, _voc, _voc_file, _csv, _yolo, _yolo_label],
    ids=lambda make: make.__name__,
)
def test_readers_stay_inside_unless_allowed(make, root, tmp_path):
    make(root)
    with pytest.raises(DataError, match="--allow-outside"):
        augsuite.read(root)
    data = augsuite.read(root, allow_outside=True)
    assert all(data.path(row).is_file() for row in range(len(data)) if data.images.files[row])
    if len(data):
        augsuite.write(data, tmp_path / "out", "coco")  # what came from outside is called so that it can be written
        assert all(augsuite.read(tmp_path / "out").images.files)


# XML


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE a [<!ENTITY x "y">]>',
        '<!DOCTYPE a SYSTEM "http://localhost/x.dtd">',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a PUBLIC "p" "x.dtd">',
        '<!DOCTYPE a [<!ENTITY % x SYSTEM "x.dtd"> %x;]>',
    ],
)
def test_document_types_and_entities_are_refused(head, tmp_path):
    with pytest.raises(DataError, match="declares a document type or an XML entity") as caught:
        parse(f"{head}<a/>".encode(), tmp_path / "a.xml")
    assert "\n" not in str(caught.value)
    assert parse(b"<a>1 &lt; 2</a>", tmp_path / "a.xml").text == "1 < 2"


# Placing


def images(root: Path, names: list[str], files: list[str] | None = None) -> Dataset:
    return Dataset(Images.of(names, files=files), Categories.of([]), Annotations.of([], []), root=root)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "", "C:/x", "a\0b", "..", "."])
@pytest.mark.parametrize("how", ["none", "copy"])
def test_a_path_outside_is_refused_whether_or_not_there_are_files(path, how, tmp_path):
    with pytest.raises(DataError, match="outside the output"):
        place_images(images(tmp_path, ["fine", path]), ["fine", path], tmp_path / "out", how, Intake())


@pytest.mark.parametrize("paths", [["a", "a"], ["a/b", "a//b"], ["a", "./a"], ["x/../a", "a"]])
def test_one_place_for_two_images_is_refused(paths, tmp_path):
    with pytest.raises(PluginError, match="1 different paths for 2 images"):
        place_images(images(tmp_path, ["1", "2"]), paths, tmp_path, "none", Intake())


def test_names_that_differ_in_capitals_are_noted(tmp_path):
    intake = Intake()
    place_images(images(tmp_path, ["A.png", "a.png", "b.png"]), ["A.png", "a.png", "b.png"], tmp_path, "none", intake)
    (note,) = intake.notes
    assert note.startswith("1 image names differ from others in capitals alone")


def test_an_image_that_the_writer_placed_is_left_alone(root, tmp_path):
    (tmp_path / "out").mkdir()
    data = images(root, ["a.png", "b.png"], ["images/a.png", ""])
    assert place_images(data, ["", ""], tmp_path / "out", "copy", Intake()) == 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("how", ["copy", "hardlink", "symlink"])
def test_files_of_any_name_are_placed_byte_by_byte(how, tmp_path):
    names = [
        "a b.jpg",
        "ü&<'\">,;.jpg",
        "new\nline.jpg",
        "-x.jpg",
        "日本.jpg",
        "..c.jpg",
        "%00.jpg",
        "back\\slash.jpg",
        os.fsdecode(b"\xff.jpg"),
    ]
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    for name in names:
        (tmp_path / "in").mkdir(exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 255, (6, 8, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / "in" / name, exif=exif)
    data = images(tmp_path / "in", names, names)
    paths = [f"sub {row % 2}/{name}" for row, name in enumerate(names)]
    assert place_images(data, paths, tmp_path / "out", how, Intake()) == 0
    for name, path in zip(names, paths, strict=True):
        placed = tmp_path / "out" / path
        assert placed.read_bytes() == (tmp_path / "in" / name).read_bytes()
        assert placed.is_symlink() == (how == "symlink")
        assert placed.samefile(tmp_path / "in" / name) == (how != "copy")
        with PIL.Image.open(placed) as opened:
            assert opened.getexif()[0x0112] == 6


# The folder

WRITER = """
import sys, time
from pathlib import Path
from augsuite.dataset.output import fresh_folder
with fresh_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    """Another process in the middle of writing."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "out"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def write(target: Path, text: str) -> None:
    with fresh_folder(target) as folder:
        (folder / "file").write_text(text)


def test_what_a_killed_writer_left_is_removed_by_the_next(writer, tmp_path):
    other = tmp_path / ".out.other.partial"  # of a target called `out.other`, or somebody's own
    other.mkdir()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(list(tmp_path.glob(".out.????????.partial"))) == 1
    write(tmp_path / "out", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.other.partial", "out"]
    assert (tmp_path / "out" / "file").read_text() == "new"


def test_a_living_writer_is_left_alone(writer, tmp_path):
    with pytest.raises(ConfigError, match="being written by another process"):
        write(tmp_path / "out", "new")
    write(tmp_path / "out2", "new")
    assert len(list(tmp_path.glob(".out.????????.partial"))) == 1
    assert writer.poll() is None


def test_an_interrupted_writer_cleans_up(writer, tmp_path):
    writer.send_signal(signal.SIGINT)
    writer.wait(timeout=30)
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_the_greatest_length_can_be_written(tmp_path):
    target = tmp_path / ("ü" * 127)  # 254 of 255 bytes
    write(target, "1")
    write(target, "2")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert (target / "file").read_text() == "2"


def fill(target: Path) -> None:
    with fresh_folder(target) as folder:
        (folder / "file").symlink_to("/dev/full")  # Linux answers each write there with ENOSPC
        (folder / "file").write_text("new")


def test_a_full_disk_is_one_line_and_leaves_the_old(tmp_path):
    write(tmp_path / "out", "old")
    with pytest.raises(ConfigError, match="No space left on device") as caught:
        fill(tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


CONVERT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from augsuite.cli import main
main(sys.argv[1:])
"""


def test_a_conversion_that_cannot_be_written_leaves_the_old(root, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    PIL.Image.fromarray(noise).save(root / "images" / "a.png")
    (root / "instances.json").write_text(
        '{"images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}], "annotations": [], "categories": []}'
    )
    augsuite.convert(root, tmp_path / "out", "csv")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    command = [sys.executable, "-c", CONVERT, "convert", root, tmp_path / "out", "--to", "csv", "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert os.strerror(errno.EFBIG) in done.stderr
    assert done.stderr.count("\n") == 1
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}


def test_the_lock_is_gone_when_the_work_is_done(tmp_path):
    start = time.monotonic()
    write(tmp_path / "out", "1")
    with filelock.FileLock(tmp_path / ".out.lock", timeout=0):  # anybody may have it now
        pass
    assert time.monotonic() >= start
    (tmp_path / ".out.lock").unlink(missing_ok=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
