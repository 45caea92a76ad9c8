"""Corrections come back: files are written by our writers and edited as the tools would; what was not edited must stay, bit by bit."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import msgspec
import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite.boxes import Layout
from augsuite.cli import cli
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, objects
from augsuite.errors import ConfigError, DataError

NAMES = ("a.jpg", "b.jpg", "c.jpg")
ROWS = (
    (0, 0, 10.123456, 10.654321, 20.111111, 30.222222),
    (0, 1, 60, 40, 15.5, 20.25),
    (1, 0, 5, 5, 40, 40),
    (1, 0, 50, 50, 30, 25),
    (2, 1, 1, 2, 3, 4),
)
OUTLINE = [12.0, 12.0, 28.0, 12.0, 28.0, 38.0]
TWO_PARTS = [[50.0, 50.0, 60.0, 50.0, 60.0, 60.0], [70.0, 60.0, 80.0, 60.0, 80.0, 75.0]]


@pytest.fixture
def data():
    """Three images, boxes as COCO has them, ids with gaps, extras that CVAT and LabelMe know nothing of, two outlines."""
    rows = np.array(ROWS)
    shapes = objects([ABSENT, ABSENT, ABSENT, TWO_PARTS, ABSENT])
    extra = {
        "coco.area": objects([111.0, 222, 333, 444, 555]),
        "coco.note": objects(["p", ABSENT, "q", None, {"deep": [1]}]),
        "segmentation": shapes,
    }
    table = Annotations.of(
        rows[:, 0].astype(int), rows[:, 1].astype(int), rows[:, 2:], Layout.XYWH_PX, [11, 7, 90, 91, 5], extra=extra
    )
    images = Images.of(NAMES, [[100, 80]] * 3, [3, 8, 9], extra={"coco.license": objects([1, ABSENT, 2])})
    return Dataset(images, Categories.of(("cat", "dog"), [4, 17]), table, extra={"coco.info": {"year": 2026}})


def cvat(data, folder):
    """What CVAT would be given, parsed: tree and shapes of each image."""
    augsuite.write(data, folder, "cvat", images="none")
    tree = ET.parse(folder / "annotations.xml")
    return tree, {image.get("name"): image for image in tree.iter("image")}


def export(tree, folder):
    """As CVAT exports: two decimals, its own bookkeeping, nothing that it does not know."""
    for image in tree.iter("image"):
        for shape in image:
            shape.set("source", "manual")
            shape.set("occluded", shape.get("occluded", "0"))
            shape.set("z_order", "0")
            shape.attrib.pop("parts", None)
            if shape.tag != "box":
                for key in ("xtl", "ytl", "xbr", "ybr"):
                    shape.attrib.pop(key, None)
            for key in ("xtl", "ytl", "xbr", "ybr"):
                if key in shape.attrib:
                    shape.set(key, f"{float(shape.get(key)):.2f}")
            if "points" in shape.attrib:
                shape.set("points", re.sub(r"[\d.]+", lambda number: f"{float(number[0]):.2f}", shape.get("points")))
    tree.write(folder / "annotations.xml")
    return folder


def same_but(before, after, rows):
    """Every row but `rows` is as it was, in every column."""
    old, new = before.annotations, after.annotations
    place = {number: row for row, number in enumerate(new.ids.tolist())}
    for row, number in enumerate(old.ids.tolist()):
        if row in rows:
            continue
        at = place[number]
        assert new.boxes[at].tolist() == old.boxes[row].tolist()
        assert (new.image_rows[at], new.category_rows[at]) == (old.image_rows[row], old.category_rows[row])
        for key, values in old.extra.items():
            assert new.extra[key][at] == values[row], (key, row)
        for key in set(new.extra) - set(old.extra):
            assert new.extra[key][at] is ABSENT, key
    assert after.images.ids.tolist() == before.images.ids.tolist()
    assert after.categories.ids.tolist()[: len(before.categories)] == before.categories.ids.tolist()
    assert after.extra == before.extra


def test_what_nobody_touched_comes_back_bit_by_bit(data, tmp_path):
    tree, _ = cvat(data, tmp_path / "work")
    after, found = augsuite.correct(data, export(tree, tmp_path / "work"))
    assert (found.edits, found.same, found.images, found.images_left) == ([], 5, 3, 0)
    same_but(data, after, ())
    assert augsuite.diff(data, after).equal


def test_every_edit_in_cvat(data, tmp_path):
    tree, images = cvat(data, tmp_path / "work")
    first, second = list(images["a.jpg"])
    second.set("xbr", "80.25")  # from 75.5: one edge
    first.set("label", "dog")
    attribute = ET.SubElement(first, "attribute", name="pose")
    attribute.text = "lying"
    images["b.jpg"].remove(next(iter(images["b.jpg"])))
    ET.SubElement(
        images["c.jpg"], "box", label="cat", source="manual", occluded="1", xtl="50", ytl="60", xbr="70.5", ybr="79"
    )
    after, found = augsuite.correct(data, export(tree, tmp_path / "work"))
    assert found.counts() == {
        "moved": 1, "reshaped": 0, "relabelled": 1, "attributes": 1, "deleted": 1, "added": 1,
    }  # fmt: skip
    same_but(data, after, (0, 1, 2))
    table = after.annotations
    assert table.ids.tolist() == [11, 7, 91, 5, 92]
    assert table.boxes[1].tolist() == [60, 40, 20.25, 20.25]  # left and top as they were
    assert table.extra["coco.area"][1] is ABSENT  # it was the old box's
    assert table.boxes[0].tolist() == list(ROWS[0][2:])
    assert after.categories.names[table.category_rows[0]] == "dog"
    assert table.extra["cvat.attributes"][0] == {"pose": "lying"}
    assert table.extra["coco.area"][0] == 111.0
    assert table.boxes[-1].tolist() == [50, 60, 20.5, 19]
    assert (table.image_rows[-1], table.extra["cvat.occluded"][-1]) == (2, 1)
    by_id = {edit.id: edit for edit in found.edits}
    assert by_id[7].kinds == ("moved",)
    assert by_id[7].px == 4.75
    assert by_id[7].iou == pytest.approx(15.5 / 20.25)
    assert (by_id[11].kinds, by_id[11].category, by_id[11].category_now) == (("relabelled", "attributes"), "cat", "dog")
    assert by_id[90].kinds == ("deleted",)
    assert by_id[92].box is None
    assert (found.images_changed, found.same) == (3, 2)


def test_the_parts_of_an_object_stay_one_object(data, tmp_path):
    tree, images = cvat(data, tmp_path / "work")
    parts = [shape for shape in images["b.jpg"] if shape.tag == "polygon"]
    assert len(parts) == 2
    parts[1].set("points", "70,60;80,60;80,79")
    after, found = augsuite.correct(data, export(tree, tmp_path / "work"))
    assert found.counts()["moved"] == 1
    assert len(after.annotations) == 5
    row = after.annotations.ids.tolist().index(91)
    assert msgspec.json.decode(after.annotations.extra["segmentation"][row]) == [
        TWO_PARTS[0],
        [70, 60, 80, 60, 80, 79],
    ]
    assert after.annotations.boxes[row].tolist() == [50, 50, 30, 29]
    same_but(data, after, (3,))


def test_an_outline_that_changed_within_its_box(data, tmp_path):
    shapes = objects([[OUTLINE], *[ABSENT] * 4])
    table = replace(data.annotations, extra={**data.annotations.extra, "segmentation": shapes})
    table.boxes[0] = [12, 12, 16, 26]
    data = replace(data, annotations=table)
    tree, images = cvat(data, tmp_path / "work")
    next(iter(images["a.jpg"])).set("points", "12,12;28,12;28,38;12,38")
    after, found = augsuite.correct(data, export(tree, tmp_path / "work"))
    assert [edit.kinds for edit in found.edits] == [("reshaped",)]
    assert after.annotations.boxes[0].tolist() == [12, 12, 16, 26]
    assert msgspec.json.decode(after.annotations.extra["segmentation"][0]) == [[12, 12, 28, 12, 28, 38, 12, 38]]
    assert after.annotations.extra["coco.area"][0] is ABSENT
    same_but(data, after, (0,))


def test_every_edit_in_labelme(data, tmp_path):
    folder = tmp_path / "work"
    augsuite.write(data, folder, "labelme", images="none")
    file = folder / "a.json"
    content = json.loads(file.read_bytes())
    content["shapes"][0]["points"][0] = [12.5, content["shapes"][0]["points"][0][1]]
    content["shapes"][1]["label"] = "cat"
    content["shapes"][1]["description"] = "half hidden"
    content["shapes"].append(
        {"label": "dog", "points": [[1, 1], [9, 1], [5, 9]], "shape_type": "polygon", "flags": {}, "group_id": None}
    )
    file.write_text(json.dumps(content))
    after, found = augsuite.correct(data, folder)
    counts = found.counts()
    assert (counts["moved"], counts["relabelled"], counts["attributes"], counts["added"]) == (1, 1, 1, 1)
    same_but(data, after, (0, 1))
    table = after.annotations
    x, y, w, h = ROWS[0][2:]
    assert table.boxes[0].tolist() == pytest.approx([12.5, y, x + w - 12.5, h], abs=1e-9)
    assert (table.ids[1], table.category_rows[1], table.extra["labelme.description"][1]) == (7, 0, "half hidden")
    assert table.boxes[-1].tolist() == [1, 1, 8, 8]
    assert msgspec.json.decode(table.extra["segmentation"][-1]) == [[1, 1, 9, 1, 5, 9]]


def test_images_that_were_not_given_out_stay(data, tmp_path):
    tree, images = cvat(data.take([1]), tmp_path / "work")
    images["b.jpg"].remove(next(iter(images["b.jpg"])))
    after, found = augsuite.correct(data, export(tree, tmp_path / "work"))
    assert (found.images, found.images_left, [edit.id for edit in found.edits]) == (1, 2, [90])
    same_but(data, after, (2,))


def test_an_image_that_came_back_empty_is_told(data, tmp_path):
    """Nobody may have looked at it."""
    tree, images = cvat(data, tmp_path / "work")
    images["c.jpg"].clear()
    images["c.jpg"].attrib.update(id="2", name="c.jpg", width="100", height="80")
    _, found = augsuite.correct(data, export(tree, tmp_path / "work"))
    assert [(edit.kinds, edit.id) for edit in found.edits] == [(("deleted",), 5)]
    ((note, times),) = found.notes.items()
    assert (note.startswith("images came back without any object"), times) == (True, 1)


def test_a_renamed_image_is_known_by_its_bytes(tmp_path):
    rng = np.random.default_rng(0)
    for name in NAMES:
        (tmp_path / "own").mkdir(exist_ok=True)
        PIL.Image.fromarray(rng.integers(0, 255, (80, 100, 3), np.uint8)).save(tmp_path / "own" / f"{name[0]}.png")
    rows = np.array(ROWS)
    table = Annotations.of(rows[:, 0].astype(int), rows[:, 1].astype(int), rows[:, 2:], Layout.XYWH_PX)
    names = [f"{name[0]}.png" for name in NAMES]
    data = Dataset(
        Images.of(names, [[100, 80]] * 3, files=names), Categories.of(("cat", "dog")), table, root=tmp_path / "own"
    )
    augsuite.write(data, tmp_path / "work", "labelme")
    (tmp_path / "work" / "b.png").rename(tmp_path / "work" / "other.png")
    (tmp_path / "work" / "b.json").rename(tmp_path / "work" / "other.json")
    content = json.loads((tmp_path / "work" / "other.json").read_bytes())
    content["imagePath"] = "other.png"
    del content["shapes"][0]
    (tmp_path / "work" / "other.json").write_text(json.dumps(content))
    _, found = augsuite.correct(data, tmp_path / "work")
    assert [(edit.image, edit.kinds) for edit in found.edits] == [("b.png", ("deleted",))]


def test_unknown_labels_and_images_are_errors_with_the_nearest_name(data, tmp_path):
    tree, images = cvat(data, tmp_path / "work")
    next(iter(images["a.jpg"])).set("label", "catt")
    export(tree, tmp_path / "work")
    with pytest.raises(ConfigError, match=r"'catt'.*Did you mean 'cat'\?.*--new-categories"):
        augsuite.correct(data, tmp_path / "work")
    after, found = augsuite.correct(data, tmp_path / "work", new_categories=True)
    assert (found.categories_added, after.categories.ids.tolist()) == (["catt"], [4, 17, 18])
    assert after.annotations.category_rows[0] == 2
    images["c.jpg"].set("name", "cc.jpg")
    export(tree, tmp_path / "work")
    with pytest.raises(DataError, match=r"'cc.jpg' came back.*Did you mean 'c.jpg'\?"):
        augsuite.correct(data, tmp_path / "work")


def test_an_image_of_another_size_is_refused(data, tmp_path):
    tree, images = cvat(data, tmp_path / "work")
    images["a.jpg"].set("width", "50")
    with pytest.raises(DataError, match="100 x 80 pixels, and came back with 50 x 80"):
        augsuite.correct(data, export(tree, tmp_path / "work"))


def test_an_image_that_came_back_twice_is_refused(data, tmp_path):
    tree, images = cvat(data, tmp_path / "w")
    tree.getroot().append(images["a.jpg"])
    with pytest.raises(DataError, match=r"'a\.jpg' came back twice"):
        augsuite.correct(data, export(tree, tmp_path / "w"))


def test_what_a_format_cannot_hold_is_no_edit(data, tmp_path):
    """Crowds are ignored objects; CVAT cannot say so, and YOLO knows fractions alone."""
    table = replace(data.annotations, ignore=np.array([False, True, False, False, False]))
    data = replace(data, annotations=table)
    tree, _ = cvat(data, tmp_path / "work")
    after, found = augsuite.correct(data, export(tree, tmp_path / "work"))
    assert found.edits == []
    assert after.annotations.ignore.tolist() == [False, True, False, False, False]


def test_a_dataset_in_memory(data):
    table = data.annotations.take(np.array([0, 2, 3, 4]))
    after, found = augsuite.correct(data, replace(data, annotations=table))
    assert [(edit.kinds, edit.id) for edit in found.edits] == [(("deleted",), 7)]
    same_but(data, after, (1,))


def test_two_things_at_one_place_are_told_apart_by_their_class(data, tmp_path):
    rows = np.array([(0, 0, 10, 10, 20, 20), (0, 1, 10, 10, 20, 20)], float)
    table = Annotations.of([0, 0], [0, 1], rows[:, 2:], Layout.XYWH_PX)
    data = Dataset(Images.of(["a.jpg"], [[100, 80]]), Categories.of(("cat", "dog")), table)
    tree, images = cvat(data, tmp_path / "work")
    shapes = list(images["a.jpg"])
    images["a.jpg"].remove(shapes[0])
    _, found = augsuite.correct(data, export(tree, tmp_path / "work"))
    assert [(edit.kinds, edit.category) for edit in found.edits] == [(("deleted",), "cat")]


def test_real_boxes_rounded_by_cvat(real_data, tmp_path):
    data = augsuite.read(real_data / "bccd_coco")
    tree, images = cvat(data, tmp_path / "work")
    image = next(each for each in images.values() if len(each) > 3)
    gone = list(image)[2]
    image.remove(gone)
    after, found = augsuite.correct(data, export(tree, next((tmp_path / "work").glob("*.xml")).parent))
    assert [edit.kinds for edit in found.edits] == [("deleted",)]
    difference = augsuite.diff(data, after)
    assert (difference.removed.count, difference.same) == (1, len(data.annotations) - 1)
    assert difference.values == {}


@pytest.fixture
def written(data, tmp_path):
    augsuite.write(data, tmp_path / "own", "coco", images="none")
    tree, images = cvat(data, tmp_path / "work")
    list(images["a.jpg"])[1].set("xbr", "80.25")
    images["b.jpg"].remove(next(iter(images["b.jpg"])))
    export(tree, tmp_path / "work")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)


def test_the_command(written):
    done = run("correct", written / "own", written / "work", written / "out", "--images", "none")
    assert done.exit_code == 0, done.output
    assert re.search(r"^moved +1$", done.output, re.MULTILINE)
    assert re.search(r"^deleted +1$", done.output, re.MULTILINE)
    assert "2 of 3 images that came back changed   3 objects as they were   0 images were not given out" in done.output
    assert "a.jpg  annotation 7  dog  moved by 4.75 px, IoU 0.765" in done.output
    before, after = (json.loads(next((written / name).rglob("*.json")).read_bytes()) for name in ("own", "out"))
    boxes = [{row["id"]: row["bbox"] for row in document["annotations"]} for document in (before, after)]
    assert boxes[1].pop(7) == [60, 40, 20.25, 20.25]
    boxes[0].pop(7), boxes[0].pop(90)
    assert boxes[0] == boxes[1]
    assert after["info"] == before["info"]


def test_the_command_as_json(written):
    done = run("correct", written / "own", written / "work", written / "out", "--images", "none", "--json")
    said = json.loads(done.stdout)["corrections"]
    assert said["counts"]["deleted"] == 1
    assert {edit["id"] for edit in said["edits"]} == {7, 90}


def test_invalid_rows_that_are_skipped_are_told(written):
    file = written / "work" / "annotations.xml"
    file.write_text(re.sub('xtl="[^"]*"', 'xtl="nan"', file.read_text("utf-8"), count=1), "utf-8")
    words = ("correct", written / "own", written / "work", written / "out", "--images", "none", "--skip-invalid")
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert re.search(r"^deleted +2$", done.output, re.MULTILINE)
    assert "expected a number, got 'nan'" in done.output
    assert "so their objects count as deleted" in done.output


def test_a_target_in_the_work_is_refused(written):
    with pytest.raises(ConfigError, match="would become part"):
        run("correct", written / "own", written / "work", written / "work" / "out")


def test_the_page_shows_both_sides_of_each_edit(written):
    done = run(
        "correct", written / "own", written / "work", written / "out", "--images", "none", "--html", written / "p.html"
    )
    assert done.exit_code == 0, done.output
    page = (written / "p.html").read_text()
    # a.jpg: two boxes on both sides, one of them moved; b.jpg: two before, one after. c.jpg did not change.
    assert page.count("<rect") == 2 + 2 + 2 + 1
    assert page.count("stroke:#e8910c") == 2
    assert page.count("stroke:#d0342c") == 1
    assert "c.jpg" not in page
    assert "http" not in page


EVERY_SHAPE = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
  <meta><task><labels><label><name>cat</name></label><label><name>dog</name></label></labels></task></meta>
  <image id="0" name="a.jpg" width="100" height="80">
    <box label="cat" source="manual" occluded="0" xtl="10.00" ytl="20.00" xbr="30.00" ybr="40.00" rotation="30.00" z_order="0"/>
    <ellipse label="dog" source="manual" occluded="0" cx="50.00" cy="40.00" rx="8.00" ry="12.00" z_order="0"/>
    <mask label="cat" source="manual" occluded="0" rle="2, 4, 2" left="70" top="10" width="4" height="2" z_order="0"/>
    <polyline label="dog" source="manual" occluded="0" points="1.00,2.00;30.00,4.00;5.00,60.00" z_order="0"/>
    <tag label="dog" source="manual"/>
    <box label="dog" source="manual" occluded="1" xtl="60.00" ytl="50.00" xbr="90.00" ybr="70.00" z_order="0"/>
  </image>
</annotations>
"""


def test_every_shape_of_cvat(tmp_path):
    """Turned boxes, ellipses, masks, lines and labels of images: untouched, then each edited."""
    for name in ("own", "work"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "annotations.xml").write_text(EVERY_SHAPE)
    data = augsuite.read(tmp_path / "own")
    after, found = augsuite.correct(data, tmp_path / "work")
    assert (found.edits, augsuite.diff(data, after).equal) == ([], True)
    edited = (
        EVERY_SHAPE.replace('rotation="30.00"', 'rotation="45.00"')
        .replace('rle="2, 4, 2"', 'rle="1, 6, 1"')
        .replace("5.00,60.00", "5.00,70.00")
        .replace('<tag label="dog"', '<tag label="cat"')
        .replace('ry="12.00"', 'ry="14.00"')
        .replace('occluded="1" xtl="60.00"', 'occluded="0" xtl="60.00"')
    )
    (tmp_path / "work" / "annotations.xml").write_text(edited)
    after, found = augsuite.correct(data, tmp_path / "work")
    assert [edit.kinds for edit in found.edits] == [
        ("moved",),
        ("moved",),
        ("reshaped",),
        ("relabelled",),
        ("attributes",),
    ]
    assert found.notes == {"cvat.shapes of images changed": 1}
    augsuite.write(after, tmp_path / "out", "cvat", images="none")

    def shapes(text):
        image = next(ET.fromstring(text).iter("image"))
        return [(shape.tag, sorted(shape.attrib.items())) for shape in image]

    assert shapes((tmp_path / "out" / "annotations.xml").read_text()) == shapes(edited)


def test_pixels_of_masks_are_compared_in_labelme_too(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "annotations.xml").write_text(EVERY_SHAPE)
    data = augsuite.read(tmp_path / "own")
    augsuite.write(data, tmp_path / "work", "labelme", images="none")
    after, found = augsuite.correct(data, tmp_path / "work")
    assert (found.edits, augsuite.diff(data, after).equal) == ([], True)
