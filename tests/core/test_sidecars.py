"""What a format cannot hold, kept beside it: exact on the way back, and never stronger than an edit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from cocokit import of_folder, write_odd

import augsuite
from augsuite import conversion, registry
from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Intake, objects
from augsuite.dataset.sidecar_document import NAME
from augsuite.errors import ConfigError, DataError

THERE_AND_BACK = ["voc", "csv", "yolo", "cvat", "labelme", "openimages", "imagefolder", "parquet", "webdataset"]


@pytest.mark.parametrize("images", ["copy", "none"])
@pytest.mark.parametrize("name", THERE_AND_BACK)
def test_coco_comes_back_to_the_letter(tmp_path, name, images):
    source = write_odd(tmp_path / "source")
    if (name, images) == ("imagefolder", "none"):
        with pytest.raises(DataError, match="can hold none of the images"):
            conversion.convert(source, tmp_path / "there", name, images=images, sidecar=True)
        return
    conversion.convert(source, tmp_path / "there", name, images=images, sidecar=True)
    result = conversion.convert(tmp_path / "there", tmp_path / "back", "coco", images=images)
    assert of_folder(tmp_path / "back") == of_folder(source)
    assert not result.losses
    assert not [note for note in result.notes if NAME in note]


def test_every_format_that_holds_boxes_is_tried():
    able = {
        name
        for name, spec in registry.default().formats().items()
        if spec.writable and not spec.scheme and "boxes" in spec.keeps
    }
    assert able == {*THERE_AND_BACK, "coco"}


def test_labels_of_whole_images_come_back_from_a_folder_per_class(tmp_path, image_file):
    for name in ("a b.jpg", "ü.jpg", "none.jpg"):
        image_file(tmp_path / name, (30, 20))
    data = augsuite.Dataset(
        augsuite.Images.of(
            ["a b.jpg", "ü.jpg", "none.jpg"], [[30, 20]] * 3, [7, 3, 900], ["train", "", "val"], ["a b.jpg", "ü.jpg", "none.jpg"],
            {"stranger.weather": objects(["sun", ABSENT, None])},
        ),
        augsuite.Categories.of(["dog & cat", "z"], [18, 2]),
        augsuite.Annotations.of([1, 0, 0], [1, 0, 1], ids=[5, 9, 1], extra={"score": objects([0.5, ABSENT, 1])}),
        root=tmp_path,
        extra={"stranger.note": {"deep": [1.5, None]}},
    )  # fmt: skip
    augsuite.write(data, tmp_path / "out", "folder", sidecar=True)
    back = augsuite.read(tmp_path / "out")
    assert back.images.names.tolist() == data.images.names.tolist()
    assert back.images.ids.tolist() == [7, 3, 900]
    assert back.images.splits.tolist() == ["train", "", "val"]
    assert back.images.extra["stranger.weather"].tolist() == ["sun", ABSENT, None]
    assert back.categories.ids.tolist() == [18, 2]
    assert back.annotations.ids.tolist() == [5, 9, 1]
    assert back.annotations.image_rows.tolist() == [1, 0, 0]
    assert back.annotations.category_rows.tolist() == [1, 0, 1]
    assert back.annotations.extra["score"].tolist() == [0.5, ABSENT, 1]
    assert back.extra == data.extra


# What was edited


@pytest.fixture
def written(tmp_path, image_file):
    """Two images in CSV, with ids and an extra in the sidecar."""
    for name in ("a.jpg", "b.jpg"):
        image_file(tmp_path / "in" / name, (30, 20))
    data = augsuite.Dataset(
        augsuite.Images.of(["a.jpg", "b.jpg"], [[30, 20]] * 2, [10, 20], files=["a.jpg", "b.jpg"]),
        augsuite.Categories.of(["x", "y"], [5, 9]),
        augsuite.Annotations.of(
            [0, 0, 1], [0, 1, 1], [[1, 2, 5, 6], [1, 2, 7, 8], [0, 0, 9, 9]], ids=[100, 50, 70],
            extra={"coco.verdict": objects(["first", "second", "third"]), "score": objects([0.25, ABSENT, 0.75])},
        ),
        root=tmp_path / "in",
    )  # fmt: skip
    augsuite.write(data, tmp_path / "out", "csv", sidecar=True)
    (file,) = (tmp_path / "out").glob("*.csv")
    return file


def edit(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def table(folder, intake=None):
    """Id -> image, category, box and verdict of each annotation."""
    data = augsuite.read(folder, intake=intake)
    rows = data.annotations
    verdict = rows.extra.get("coco.verdict", np.full(len(rows), ABSENT, object))
    return {
        int(number): (data.images.names[image], data.categories.names[category], box, said)
        for number, image, category, box, said in zip(
            rows.ids, rows.image_rows, rows.category_rows, data.boxes(Layout.XYXY_PX).tolist(), verdict, strict=True
        )
    }


FIRST = ("a.jpg", "x", [1, 2, 5, 6], "first")
SECOND = ("a.jpg", "y", [1, 2, 7, 8], "second")
THIRD = ("b.jpg", "y", [0, 0, 9, 9], "third")


def test_what_is_as_written_comes_back(written):
    assert table(written.parent) == {100: FIRST, 50: SECOND, 70: THIRD}


def line_of(file, ending):
    (line,) = [line for line in file.read_text().splitlines(keepends=True) if ending in line]
    return line


def test_a_box_that_was_moved_is_a_new_one(written):
    line = line_of(written, "7,8")
    edit(written, line, line.replace("7,8", "7,12"))
    intake = Intake()
    assert table(written.parent, intake) == {100: FIRST, 70: THIRD, 101: ("a.jpg", "y", [1, 2, 7, 12], ABSENT)}
    assert any("1 annotations are no longer as they were written and 1 are new" in note for note in intake.notes)


def test_a_class_that_was_changed_is_a_new_one(written):
    line = line_of(written, "7,8")
    edit(written, line, line.replace("y", "x"))
    assert table(written.parent) == {100: FIRST, 70: THIRD, 101: ("a.jpg", "x", [1, 2, 7, 8], ABSENT)}


def test_an_object_that_was_deleted_stays_deleted(written):
    edit(written, line_of(written, "7,8"), "")
    assert table(written.parent) == {100: FIRST, 70: THIRD}


def test_an_image_that_was_deleted_stays_deleted(written):
    edit(written, line_of(written, "b.jpg"), "")
    data = augsuite.read(written.parent)
    assert data.images.ids.tolist() == [10]
    assert table(written.parent) == {100: FIRST, 50: SECOND}


def test_an_image_that_was_added_gets_a_new_id(written, image_file):
    image_file(next(written.parent.rglob("b.jpg")).with_name("c.jpg"), (30, 20))
    line = line_of(written, "b.jpg")
    edit(written, line, line + line.replace("b.jpg", "c.jpg"))
    data = augsuite.read(written.parent)
    assert dict(zip(data.images.names, data.images.ids.tolist(), strict=True)) == {
        "a.jpg": 10,
        "b.jpg": 20,
        "c.jpg": 21,
    }
    assert table(written.parent)[101] == ("c.jpg", "y", [0, 0, 9, 9], ABSENT)


def test_a_value_that_was_edited_wins(written):
    edit(written, "0.75", "0.5")
    scores = augsuite.read(written.parent).annotations.extra["score"].tolist()
    assert scores == [0.25, ABSENT, 0.5]


def test_an_edit_of_a_box_that_the_format_had_cut(tmp_path, image_file):
    """YOLO takes no box beyond the image: the whole one comes back, unless the line was edited."""
    image_file(tmp_path / "in" / "a.jpg", (40, 20))
    data = augsuite.Dataset(
        augsuite.Images.of(["a.jpg"], [[40, 20]], files=["a.jpg"]),
        augsuite.Categories.of(["x"]),
        augsuite.Annotations.of([0], [0], [[-30, 5, 200, 15]]),
        root=tmp_path / "in",
    )
    losses = augsuite.write(data, tmp_path / "out", "yolo", sidecar=True)
    assert losses["boxes cut to the image"] == 1
    assert augsuite.read(tmp_path / "out").boxes().tolist() == [[-30, 5, 200, 15]]
    (label,) = (tmp_path / "out" / "labels").rglob("*.txt")
    label.write_text("0 0.5 0.5 0.5 0.5\n")
    assert augsuite.read(tmp_path / "out").boxes().tolist() == [[10, 5, 30, 15]]


# What is wrong


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: "[]",
        lambda text: text.replace('"image_rows":[0', '"image_rows":[7'),
        lambda text: text.replace('"boxes":[[1', '"boxes":[["1"'),
        lambda text: text.replace('"unwritten":[]', '"unwritten":[99]'),
        lambda text: text.replace('"rows":[0,1,2]', '"rows":[0,1]'),
        lambda text: text.replace('"rows":[0,1,2]', '"rows":[0,1,-3]'),
        lambda text: text.replace('"layout":"', '"layout":"no'),
        lambda text: text.replace('"coco.verdict":', '"coco._verdict":').replace(
            '["first","second","third"]', '[{"a":1},2,3]'
        ),
    ],
)
def test_a_damaged_sidecar_is_one_clear_line(written, spoil):
    sidecar = written.parent / NAME
    text = sidecar.read_text()
    assert spoil(text) != text
    sidecar.write_text(spoil(text))
    with pytest.raises(DataError, match=r"augsuite\.sidecar: the sidecar is damaged .* remove it") as error:
        augsuite.read(written.parent)
    assert "\n" not in str(error.value)


def test_another_version_is_named(written):
    sidecar = written.parent / NAME
    sidecar.write_text(sidecar.read_text().replace('"augsuite_sidecar":2', '"augsuite_sidecar":99'))
    with pytest.raises(DataError, match=r"has version 99, expected 2\."):
        augsuite.read(written.parent)


def test_a_sidecar_of_another_format_is_left_aside_with_a_note(written, tmp_path):
    shutil.rmtree(tmp_path / "in")
    (tmp_path / "other" / "annotations").mkdir(parents=True)
    document = {"images": [{"id": 3, "file_name": "a.jpg"}], "annotations": [], "categories": []}
    (tmp_path / "other" / "annotations" / "instances.json").write_text(json.dumps(document))
    shutil.copy(written.parent / NAME, tmp_path / "other")
    intake = Intake()
    assert augsuite.read(tmp_path / "other", intake=intake).images.ids.tolist() == [3]
    assert any("belongs to a dataset in the format csv, and was left aside" in note for note in intake.notes)


def test_a_sidecar_cannot_be_streamed(written, tmp_path):
    conversion.convert(written.parent, tmp_path / "x", "parquet", sidecar=True)
    with pytest.raises(ConfigError, match=r"has a sidecar, which cannot be streamed"):
        conversion.convert(tmp_path / "x", tmp_path / "y", "csv", stream=True)
    (tmp_path / "x" / NAME).unlink()
    with pytest.raises(ConfigError, match="a sidecar holds the whole dataset"):
        conversion.convert(tmp_path / "x", tmp_path / "y", "csv", sidecar=True, stream=True)


def test_a_large_one_comes_back_whole(tmp_path):
    """2,000 images and 20,000 boxes, of which each tenth twice in the same place."""
    rng = np.random.default_rng(1)
    corners = np.sort(rng.integers(0, 400, (20_000, 2, 2)), axis=1).reshape(-1, 4)
    corners[1::10] = corners[::10]
    data = augsuite.Dataset(
        augsuite.Images.of([f"{row}.jpg" for row in range(2000)], [[640, 480]] * 2000, np.arange(2000) * 7 + 3),
        augsuite.Categories.of([f"class {row}" for row in range(80)], np.arange(80) * 2 + 1),
        augsuite.Annotations.of(
            np.repeat(rng.permutation(2000), 10), np.repeat(rng.integers(0, 80, 4000), 5), corners, ids=rng.permutation(20_000) + 1,
            extra={"coco.area": objects(rng.random(20_000).tolist())},
        ),
    )  # fmt: skip
    augsuite.write(data, tmp_path / "out", "voc", sidecar=True, images="none")
    back = augsuite.read(tmp_path / "out")
    assert (back.annotations.ids == data.annotations.ids).all()
    assert (back.annotations.image_rows == data.annotations.image_rows).all()
    assert back.annotations.extra["coco.area"].tolist() == data.annotations.extra["coco.area"].tolist()
    assert (back.boxes() == data.boxes()).all()
    assert replace(back.images, extra={}).ids.tolist() == data.images.ids.tolist()


@pytest.mark.parametrize("name", ["coco", *(name for name in THERE_AND_BACK if name != "imagefolder")])
def test_images_of_one_name_and_without_files_come_back_each_as_it_was(tmp_path, name):
    data = augsuite.Dataset(
        augsuite.Images.of(["a.jpg", "a.jpg", "a.jpg"], [[30, 20]] * 3, [7, 3, 5], ["train", "train", "val"]),
        augsuite.Categories.of(["cat"]),
        augsuite.Annotations.of([0, 1, 2], [0, 0, 0], [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]], ids=[9, 8, 4]),
        root=tmp_path,
    )
    augsuite.write(data, tmp_path / "out", name, sidecar=True)
    back = augsuite.read(tmp_path / "out")
    assert back.images.names.tolist() == ["a.jpg", "a.jpg", "a.jpg"]
    assert back.images.splits.tolist() == ["train", "train", "val"]
    assert back.images.ids.tolist() == [7, 3, 5]
    assert back.annotations.ids.tolist() == [9, 8, 4]
    assert back.annotations.image_rows.tolist() == [0, 1, 2]
    assert back.boxes().round(6).tolist() == [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]]
