"""The VOC plugin: hand-made files, torchvision as judge, and the real datasets' own surprises."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import augsuite
from augsuite.dataset import ABSENT, Intake
from augsuite.errors import DataError

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "voc"
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


def one(folder, objects, *, head="", name="a"):
    (folder / "Annotations").mkdir(exist_ok=True)
    size = "<size><width>50</width><height>40</height><depth>3</depth></size>"
    text = f"{head}<annotation><filename>{name}.jpg</filename>{size}{objects}</annotation>"
    (folder / "Annotations" / f"{name}.xml").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def test_a_folder_becomes_tables():
    intake = Intake()
    data = augsuite.read(GOLDEN, intake=intake)
    assert data.images.names.tolist() == ["000001.jpg", "somewhere else.png"]
    assert data.images.sizes.tolist() == [[353, 500], [10, 20]]
    assert data.images.splits.tolist() == ["train", "trainval"]
    assert data.categories.names.tolist() == ["dog", "person"]
    # 1-based inclusive: xmin - 1 and ymin - 1 by hand
    assert data.annotations.boxes.tolist() == [[47, 239, 195, 371], [7, 11, 352, 498.5]]
    assert data.annotations.ignore.tolist() == [False, True]
    assert data.annotations.extra["voc.pose"].tolist() == ["Left", "Left"]
    assert data.annotations.extra["voc.part"][0] is ABSENT
    assert [part["name"] for part in data.annotations.extra["voc.part"][1]] == ["head", "hand"]
    assert data.images.extra["voc.source"][0] == {"database": "The VOC2007 Database", "flickrid": "341012865"}
    assert any("filename" in note for note in intake.notes)


def _values(element):
    """An XML element as nested lists, without white space and without regard to the order of children."""
    return [element.tag, (element.text or "").strip(), sorted(_values(child) for child in element)]


def test_the_same_elements_come_out(tmp_path):
    augsuite.write(augsuite.read(GOLDEN), tmp_path / "out", "voc", lossless=True)
    given = ET.parse(GOLDEN / "Annotations" / "000001.xml").getroot()
    written = ET.parse(tmp_path / "out" / "Annotations" / "000001.xml").getroot()
    assert _values(written) == _values(given)
    assert (tmp_path / "out/ImageSets/Main/train.txt").read_text() == "000001\n"


def test_torchvision_reads_what_we_write(tmp_path, image_file):
    datasets = pytest.importorskip("torchvision.datasets")
    image_file(tmp_path / "in" / "a.jpg", (50, 40))
    source = augsuite.Dataset(
        augsuite.Images.of(["a.jpg"], [[50, 40]], splits=["train"], files=["a.jpg"]),
        augsuite.Categories.of(["cat & dog"]),
        augsuite.Annotations.of([0], [0], [[0, 10, 50, 40]]),
        root=tmp_path / "in",
    )
    augsuite.write(source, tmp_path / "VOCdevkit" / "VOC2012", "voc")
    image, target = datasets.VOCDetection(tmp_path, image_set="train")[0]
    found = target["annotation"]["object"][0]
    assert image.size == (50, 40)
    assert found["name"] == "cat & dog"
    assert found["bndbox"] == {"xmin": "1", "ymin": "11", "xmax": "50", "ymax": "40"}
    assert target["annotation"]["size"]["width"] == "50"


@pytest.mark.parametrize("layout", [("Annotations", "JPEGImages"), ("annotations", "images"), ("", "")])
def test_layouts(tmp_path, layout, image_file):
    annotations, images = (tmp_path / name for name in layout)
    annotations.mkdir(exist_ok=True)
    shutil.copy(GOLDEN / "Annotations" / "000001.xml", annotations)
    image_file(images / "000001.jpg", (353, 500))
    data = augsuite.read(tmp_path)
    assert data.path(0) == images / "000001.jpg"


def test_the_image_of_the_files_own_name_wins_over_filename(tmp_path, image_file):
    one(tmp_path, "", name="b")
    text = (tmp_path / "Annotations" / "b.xml").read_text().replace("b.jpg", "renamed.jpg")
    (tmp_path / "Annotations" / "b.xml").write_text(text)
    image_file(tmp_path / "JPEGImages" / "b.png", (50, 40))
    intake = Intake()
    data = augsuite.read(tmp_path, intake=intake)
    assert data.images.files.tolist() == ["JPEGImages/b.png"]
    assert len(intake.notes) == 1


def test_zero_based_files_are_noticed_and_can_be_said(tmp_path):
    one(tmp_path, f"<object><name>x</name>{BOX.format(0, 3, 9, 9)}</object>")
    intake = Intake()
    assert augsuite.read(tmp_path, intake=intake).annotations.boxes.tolist() == [[-1, 2, 9, 9]]
    assert any("origin=0" in note for note in intake.notes)
    assert augsuite.read(tmp_path, origin="0").annotations.boxes.tolist() == [[0, 3, 9, 9]]


@pytest.mark.parametrize(
    ("objects", "line"),
    [
        (f"<object>{BOX.format(1, 2, 3, 4)}</object>", "object[0].name: expected the name of a class"),
        ("<object><name>x</name></object>", "object[0].bndbox: expected a box"),
        (f"<object><name>x</name>{BOX.format(1, 'NaN', 3, 4)}</object>", "object[0].bndbox.ymin: expected a number, got 'NaN'"),
        (f"<object><name>x</name>{BOX.format(1, 2, '1e308', 4)}</object>", "object[0].bndbox.xmax: expected a number, got '1e308'"),
        (f"<object><name>x</name>{BOX.format('1_0', 2, 30, 4)}</object>", "object[0].bndbox.xmin: expected a number, got '1_0'"),
        (f"<object><name>x</name>{BOX.format(1, '', 3, 4)}</object>", "object[0].bndbox.ymin: expected a number, got"),
        (f"<object><name>x</name>{BOX.format(9, 2, 3, 4)}</object>", "object[0].bndbox: expected xmin <= xmax"),
    ],
)  # fmt: skip
def test_an_invalid_object_is_named_and_can_be_left_out(tmp_path, objects, line):
    good = f"<object><name>x</name>{BOX.format(1, 2, 3, 4)}</object>"
    one(tmp_path, objects + good)
    with pytest.raises(DataError) as error:
        augsuite.read(tmp_path)
    assert line in str(error.value)
    assert str(tmp_path / "Annotations/a.xml") in str(error.value)
    data = augsuite.read(tmp_path, skip_invalid=True)
    assert data.annotations.boxes.tolist() == [[0, 1, 3, 4]]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"<annotation><filename>", "malformed XML"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><annotation><object><name>&x;</name></object></annotation>', "XML entity"),
        (b"<annotation><filename>caf\xe9.jpg</filename></annotation>", "malformed XML (not well-formed"),
        (b"<root><filename/></root>", "expected the root element <annotation>, got <root>"),
        (b"<annotation><filename>../../x.jpg</filename></annotation>", "leads outside the dataset's folder"),
        (b"<annotation><size><width>ten</width></size></annotation>", "size.width: expected a whole number of pixels, got 'ten'"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named(tmp_path, content, line):
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_bytes(content)
    with pytest.raises(DataError) as error:
        augsuite.read(tmp_path, "voc")
    assert line in str(error.value)
    assert str(tmp_path / "Annotations/a.xml") in str(error.value)


def test_xml_in_utf16_is_recognised(tmp_path):
    text = (
        f"<annotation><filename>a.jpg</filename><object><name>猫</name>{BOX.format(1, 2, 3, 4)}</object></annotation>"
    )
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_bytes(text.encode("utf-16"))
    assert augsuite.read(tmp_path).categories.names.tolist() == ["猫"]


@pytest.mark.parametrize(
    ("lists", "split"),
    [
        ({"train.txt": "a.jpg\n"}, "train"),  # with the image's suffix
        ({"train.txt": "a  1\n"}, "train"),  # with a class's mark, in a list of no class
        ({"cat_train.txt": "a  1\n", "val.txt": "a\n"}, "val"),
        ({"cat_train.txt": "a -1\n"}, ""),
    ],
)
def test_lists_of_splits_as_tools_write_them(tmp_path, lists, split):
    one(tmp_path, "")
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for name, text in lists.items():
        (tmp_path / "ImageSets" / "Main" / name).write_text(text)
    data = augsuite.read(tmp_path)
    assert data.images.names.tolist() == ["a.jpg"]
    assert data.images.splits.tolist() == [split]


def test_a_name_that_no_path_can_be_is_a_loss(tmp_path):
    data = augsuite.Dataset(
        augsuite.Images.of(["https://host/a.jpg", "b.jpg"]),
        augsuite.Categories.of([]),
        augsuite.Annotations.of([], []),
    )
    assert augsuite.write(data, tmp_path / "out", "voc")["image names"] == 1
    assert augsuite.read(tmp_path / "out").images.names.tolist() == ["b.jpg", "https:/host/a.jpg"]


def test_text_that_xml_cannot_hold_is_counted(tmp_path):
    source = augsuite.Dataset(
        augsuite.Images.of(["a.jpg"], [[5, 5]]),
        augsuite.Categories.of(["bell\x07"]),
        augsuite.Annotations.of([0], [0], [[0, 0, 1, 1]]),
    )
    losses = augsuite.write(source, tmp_path / "out", "voc")
    assert losses["characters that XML cannot hold"] == 1
    assert ET.parse(tmp_path / "out/Annotations/a.xml").findtext("object/name") == "bell\ufffd"


@pytest.mark.parametrize(("name", "images", "boxes"), [("raccoon", 200, 217), ("bccd", 364, 4888)])
def test_real_datasets(real_data, name, images, boxes):
    data = augsuite.read(real_data / name)
    assert (len(data.images), len(data.annotations)) == (images, boxes)
    assert (data.images.files != "").all()
    for row in range(0, images, 20):
        file = next((real_data / name).glob(f"[Aa]nnotations/{Path(data.images.names[row]).stem}.xml"))
        corners = [
            [float(box.findtext(tag)) for tag in ("xmin", "ymin", "xmax", "ymax")]
            for box in ET.parse(file).iter("bndbox")
        ]
        expected = [[x0 - 1, y0 - 1, x1, y1] for x0, y0, x1, y1 in corners]
        assert data.annotations.boxes[data.rows_of(row)].tolist() == expected


@pytest.mark.parametrize(("notes", "pictures"), [("", ""), ("Annotations/", "JPEGImages/")])
def test_a_folder_for_each_split(notes, pictures, tmp_path, image_file):
    box = "<name>{}</name><bndbox><xmin>1</xmin><xmax>20</xmax><ymin>3</ymin><ymax>30</ymax></bndbox>"
    for split, name in (("train", "dog"), ("valid", "cat")):
        image_file(tmp_path / split / pictures / "a.jpg", (64, 48))
        (tmp_path / split / notes).mkdir(exist_ok=True)
        text = f"<annotation><filename>a.jpg</filename><object>{box.format(name)}</object></annotation>"
        (tmp_path / split / notes / "a.xml").write_text(text)
    data = augsuite.read(tmp_path)
    assert data.categories.names.tolist() == ["cat", "dog"]
    assert data.images.names.tolist() == ["a.jpg", "a.jpg"]
    assert data.images.splits.tolist() == ["train", "valid"]
    assert data.images.files.tolist() == [f"train/{pictures}a.jpg", f"valid/{pictures}a.jpg"]
    assert [data.categories.names[row] for row in data.annotations.category_rows] == ["dog", "cat"]
    assert data.annotations.boxes.tolist() == [[0, 2, 20, 30]] * 2
