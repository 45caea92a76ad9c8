"""Merge: every column of small datasets, put together by hand; real ones against their counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

import augsuite
from augsuite.boxes import Layout
from augsuite.commands.merge import merge as command
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, checked, objects
from augsuite.errors import ConfigError


@pytest.fixture
def first():
    return Dataset(
        Images.of(["a.jpg", "b.jpg"], [[10, 20], [30, 40]], [1, 2], ["train", "val"], ["a.jpg", "sub/b.jpg"],
                  {"x.when": objects(["noon", None])}),
        Categories.of(["cat", "dog"], [1, 5], {"x.super": objects(["pet", ABSENT])}),
        Annotations.of([0, 1], [0, 1], [[1, 2, 3, 4], [0.1, 0.2, 5, 6]], Layout.XYWH_PX, [1, 2], [False, True],
                       {"score": objects([0.5, ABSENT])}),
        root=Path("/data/first"), extra={"x.note": "same", "x.info": {"by": "A"}, "x.own": 1},
    )  # fmt: skip


@pytest.fixture
def second():
    return Dataset(
        Images.of(["a.jpg", "a.jpg", "c.png"], [[1, 1], [2, 2], [3, 3]], [7, 9, 8], ["train", "val", ""], ["a.jpg", "", "/abs/c.png"],
                  {"y.tag": objects([1, 2, ABSENT])}),
        Categories.of(["dog", "bird", "cat"], [3, 1, 6], {"x.super": objects(["canine", "avian", "beast"])}),
        Annotations.of([2, 0, 1], [1, 0, 2], [[1, 1, 2, 2], [3, 3, 4, 4], [5, 5, 6, 6]], Layout.XYWH_PX, [10, 20, 30]),
        root=Path("/data/second"), extra={"x.note": "same", "x.info": {"by": "B"}},
    )  # fmt: skip


def test_every_column(first, second):
    intake = Intake()
    data = checked(augsuite.merge([first, second], intake=intake), "merged")
    images, table = data.images, data.annotations
    assert images.names.tolist() == ["a.jpg", "b.jpg", "a_2.jpg", "a.jpg", "c.png"]
    assert images.sizes.tolist() == [[10, 20], [30, 40], [1, 1], [2, 2], [3, 3]]
    assert images.ids.tolist() == [1, 2, 7, 9, 8]  # none is taken twice: none moves
    assert images.splits.tolist() == ["train", "val", "train", "val", ""]
    assert images.extra["x.when"].tolist() == ["noon", None, ABSENT, ABSENT, ABSENT]
    assert images.extra["y.tag"].tolist() == [ABSENT, ABSENT, 1, 2, ABSENT]
    # bird's id 1 is cat's; 6 is an id of the second dataset itself
    assert dict(zip(data.categories.names, data.categories.ids, strict=True)) == {"cat": 1, "dog": 5, "bird": 7}
    assert data.categories.extra["x.super"].tolist() == ["pet", "canine", "avian"]
    assert table.image_rows.tolist() == [0, 1, 4, 2, 3]
    assert data.categories.names[table.category_rows].tolist() == ["cat", "dog", "bird", "dog", "cat"]
    assert table.layout is Layout.XYWH_PX
    assert table.boxes.tolist() == [[1, 2, 3, 4], [0.1, 0.2, 5, 6], [1, 1, 2, 2], [3, 3, 4, 4], [5, 5, 6, 6]]
    assert table.ids.tolist() == [1, 2, 10, 20, 30]
    assert table.ignore.tolist() == [False, True, False, False, False]
    assert table.extra["score"].tolist() == [0.5, ABSENT, ABSENT, ABSENT, ABSENT]
    assert data.extra == {"x.note": "same", "x.own": 1, "x.info@first": {"by": "A"}, "x.info@second": {"by": "B"}}
    assert [str(data.path(row)) for row in (0, 1, 2, 4)] == ["/data/first/a.jpg", "/data/first/sub/b.jpg", "/data/second/a.jpg", "/abs/c.png"]  # fmt: skip
    assert images.files[3] == ""
    said = " | ".join(intake.notes)
    assert "second: category 'bird': id 1 is another's; now 7" in said
    assert "second: category 'cat' says another x.super than before; the first stays" in said
    assert (
        "second: 1 images have the name of an earlier dataset's and were renamed, such as 'a.jpg' to 'a_2.jpg'" in said
    )
    assert "x.info is not the same for all datasets" in said


def test_ids_that_collide_move_together(first):
    intake = Intake()
    other = replace(first, root=Path("/data/other"), images=replace(first.images, ids=np.array([2, 12])))
    data = checked(augsuite.merge([first, other], intake=intake), "merged")
    assert data.images.ids.tolist() == [1, 2, 3, 13]  # 2, 12 moved by 1, so that 2 becomes the first that is free
    assert data.annotations.ids.tolist() == [1, 2, 3, 4]
    assert intake.notes["other: image ids stand in an earlier dataset too; 1 was added to each"] == 1
    largest = replace(first, images=replace(first.images, ids=np.array([2, 2**63 - 1])))
    data = checked(augsuite.merge([largest, largest], intake=intake), "merged")
    assert data.images.ids.tolist() == [1, 2, 3, 4]


def test_the_same_dataset_twice_keeps_everything_twice(first):
    intake = Intake()
    data = checked(augsuite.merge([first, first, first], intake=intake), "merged")
    assert data.images.names.tolist() == ["a.jpg", "b.jpg", "a_2.jpg", "b_2.jpg", "a_3.jpg", "b_3.jpg"]
    assert data.extra == first.extra
    assert data.root == first.root
    assert data.images.files.tolist() == ["a.jpg", "sub/b.jpg"] * 3
    assert intake.notes["4 images are files that an earlier image has too"] == 1


def test_a_free_name_is_looked_for(first):
    taken = replace(first, images=Images.of(["a_2.jpg", "a.jpg"], splits=["train", "train"]))
    data = augsuite.merge([first, taken])
    assert data.images.names.tolist() == ["a.jpg", "b.jpg", "a_2.jpg", "a_3.jpg"]
    dotted = replace(first, images=Images.of(["v1.5 frame", "x/y.jpeg"]))
    assert augsuite.merge([dotted, dotted]).images.names.tolist()[2:] == ["v1.5 frame_2", "x/y_2.jpeg"]
    double = replace(first, images=Images.of(["d.jpg", "d.jpg"]))  # its own affair
    assert augsuite.merge([double, first]).images.names.tolist()[:2] == ["d.jpg", "d.jpg"]


def test_a_split_for_each(first, second):
    data = augsuite.merge([first, second], splits=["train", None])
    assert data.images.splits.tolist() == ["train", "train", "train", "val", ""]
    parts = [replace(part, extra={"coco.info@old": part.extra["x.info"]}) for part in (first, second)]
    merged = augsuite.merge(parts, splits=["train", "val"])
    # what was said of the one split that a dataset had is said of the split that it became
    assert merged.extra == {"coco.info@train": {"by": "A"}, "coco.info@val": {"by": "B"}}


@pytest.mark.parametrize("layout", [Layout.XYXY_PX, Layout.CXCYWH_UNIT])
def test_layouts_that_differ_become_pixels(first, second, layout):
    other = replace(second, annotations=replace(second.annotations, boxes=second.boxes(layout), layout=layout))
    data = augsuite.merge([other, first])  # three boxes against two
    wanted = Layout.XYWH_PX if layout.unit else layout
    assert data.annotations.layout is wanted
    by_hand = {
        Layout.XYWH_PX: [[1, 1, 2, 2], [3, 3, 4, 4], [5, 5, 6, 6], [1, 2, 3, 4], [0.1, 0.2, 5, 6]],
        Layout.XYXY_PX: [[1, 1, 3, 3], [3, 3, 7, 7], [5, 5, 11, 11], [1, 2, 4, 6], [0.1, 0.2, 5.1, 6.2]],
    }
    assert data.annotations.boxes == pytest.approx(np.array(by_hand[wanted]), abs=1e-12)


def test_fractions_stay_fractions_and_labels_have_no_say(first):
    unit = replace(first, annotations=Annotations.of([0], [0], [[0.5, 0.5, 1 / 3, 0.1]], Layout.CXCYWH_UNIT))
    labels = replace(first, annotations=Annotations.of([0, 1], [0, 1]))
    data = augsuite.merge([labels, unit, unit])
    assert data.annotations.layout is Layout.CXCYWH_UNIT
    assert data.annotations.boxes[2:].tolist() == [[0.5, 0.5, 1 / 3, 0.1]] * 2
    assert np.isnan(data.annotations.boxes[:2]).all()


def test_one_is_itself(first):
    data = augsuite.merge([first])
    assert data.images.names.tolist() == first.images.names.tolist()
    assert (data.root, data.extra) == (first.root, first.extra)


@pytest.mark.parametrize(("given", "said"), [({}, "nothing to merge"), ({"splits": ["a"]}, "1 splits for 2 datasets")])
def test_what_makes_no_sense_is_refused(first, second, given, said):
    with pytest.raises(ConfigError, match=said):
        augsuite.merge([first, second] if given else [], **given)


def test_real_datasets_of_three_formats(tmp_path, real_data):
    """Read back by pycocotools: as many images and boxes of each class as its own reader finds in the sources."""
    pycocotools = pytest.importorskip("pycocotools.coco")
    sources = [str(real_data / name) for name in ("bccd", "raccoon", "bccd_coco")]
    done = CliRunner().invoke(command, [*sources, str(tmp_path / "out"), "--to", "coco", "--splits", ",,all", "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    wanted = Counter()
    for path in (real_data / "bccd_coco").glob("*/_annotations.coco.json"):
        document = msgspec.json.decode(path.read_bytes())
        names = {each["id"]: each["name"] for each in document["categories"]}
        wanted.update(names[each["category_id"]] for each in document["annotations"])
    for name in ("bccd/Annotations", "raccoon/annotations"):
        for path in (real_data / name).glob("*.xml"):
            text = path.read_text(encoding="utf-8")
            wanted.update(piece.split("</name>")[0] for piece in text.split("<name>")[1:])
    found = Counter()
    for path in (tmp_path / "out" / "annotations").glob("*.json"):
        coco = pycocotools.COCO(str(path))
        for each in coco.anns.values():
            found[coco.cats[each["category_id"]]["name"]] += 1
        for image in coco.imgs.values():
            split = path.stem.removeprefix("instances_").removeprefix("instances")
            assert (tmp_path / "out" / "images" / split / image["file_name"]).is_file()
    assert found == {name: count for name, count in wanted.items() if count}
