"""The CVAT plugin: hand-made files, real exports, and Datumaro as judge."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import peer_python, run_peer

import augsuite
from augsuite import registry
from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.shapes import polygons
from augsuite.errors import ConfigError, DataError
from augsuite.testing.formats import read_or_refuse

SAMPLES = Path(os.environ.get("AUGSUITE_DATA", "")) / "format_samples" / "cvat_dataset" / "for_images"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="AUGSUITE_DATA has no format_samples/cvat_dataset")
META = (
    "<meta><task><id>3</id><name>job</name><labels>"
    "<label><name>car</name><color>#ff0000</color><attributes><attribute><name>wet</name></attribute></attributes></label>"
    "<label><name>unused</name></label>"
    "<label><name>body</name><type>skeleton</type><svg>&lt;line/&gt;</svg></label>"
    "<label><name>1</name><type>points</type><parent>body</parent></label>"
    "</labels></task><dumped>now</dumped></meta>"
)


def export(folder, inside, *, head="", meta=META, name="annotations.xml", size='width="40" height="30"'):
    folder.mkdir(exist_ok=True)
    image = f'<image id="7" name="a.png" {size}>{inside}</image>'
    text = f"{head}<annotations><version>1.1</version>{meta}{image}</annotations>"
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def one(folder, inside, **how):
    """The only annotation of such an export."""
    data = augsuite.read(export(folder, inside, **how))
    assert len(data.annotations) == 1
    extra = {key: values[0] for key, values in data.annotations.extra.items() if values[0] is not ABSENT}
    return data.annotations.boxes[0].tolist(), extra


def same(first, second):
    """Whether two datasets are equal in everything but their place."""
    for part in ("images", "categories", "annotations"):
        mine, theirs = getattr(first, part), getattr(second, part)
        for name in mine.__dataclass_fields__:
            if name in {"extra", "files"}:
                continue
            left, right = getattr(mine, name), getattr(theirs, name)
            assert np.array_equal(left, right, equal_nan=name == "boxes") if name != "layout" else left == right, name
        assert plain(mine.extra) == plain(theirs.extra)
    assert dict(first.extra) == dict(second.extra)


def plain(extra):
    def value(said):
        return "absent" if said is ABSENT else msgspec.json.decode(msgspec.json.encode(said))

    return {key: [value(said) for said in column] for key, column in extra.items()}


# Reading


def test_a_task_becomes_tables(tmp_path):
    inside = (
        '<box label="car" source="manual" occluded="1" xtl="1.25" ytl="2.00" xbr="11.50" ybr="22.00" z_order="-2" group_id="4">'
        '<attribute name="wet">true</attribute><attribute name="speed">2.40</attribute></box>'
        '<tag label="tram" source="file"/>'
    )
    intake = Intake()
    data = augsuite.read(export(tmp_path / "x", inside), intake=intake)
    assert data.images.names.tolist() == ["a.png"]
    assert (data.images.ids.tolist(), data.images.sizes.tolist()) == ([7], [[40, 30]])
    assert data.categories.names.tolist() == ["car", "unused", "body", "tram"]
    assert data.annotations.boxes[0].tolist() == [1.25, 2, 11.5, 22]
    assert data.annotations.is_box.tolist() == [True, False]
    assert data.categories.names[data.annotations.category_rows].tolist() == ["car", "tram"]
    extra = data.annotations.extra
    assert extra["cvat.occluded"].tolist() == [1, ABSENT]
    assert extra["cvat.source"].tolist() == ["manual", "file"]
    assert (extra["cvat.z_order"][0], extra["cvat.group_id"][0]) == (-2, 4)
    assert extra["cvat.attributes"][0] == {"wet": "true", "speed": "2.40"}
    assert data.categories.extra["cvat.color"].tolist() == ["#ff0000", ABSENT, ABSENT, ABSENT]
    assert data.categories.extra["cvat.sublabels"][2] == [{"name": "1", "type": "points", "parent": "body"}]
    assert data.extra["cvat.meta"]["task"] == {"id": "3", "name": "job", "labels": None}
    assert any("1 labels of shapes are not declared" in note and "tram" in note for note in intake.notes)


def test_a_polygon_is_a_segmentation_with_its_extent_as_box(tmp_path):
    box, extra = one(tmp_path / "x", '<polygon label="car" points="1.00,2.00;9.50,4;3,12.5"/>')
    assert box == [1, 2, 9.5, 12.5]
    assert polygons(extra["segmentation"]) == [[1, 2, 9.5, 4, 3, 12.5]]
    assert bytes(extra["segmentation"]) == b"[[1.00,2.00,9.50,4,3,12.5]]"


def test_a_mask_goes_along_the_rows_in_cvat_and_down_the_columns_in_coco(tmp_path):
    # A window of 3 x 2 at (5, 4), in it x.x / xx. ; the image has 30 rows, so column 5 begins at pixel 150.
    box, extra = one(tmp_path / "x", '<mask label="car" rle="0, 1, 1, 3, 1" left="5" top="4" width="3" height="2"/>')
    assert box == [5, 4, 8, 6]
    # column 5: rows 4, 5; column 6: row 5; column 7: row 4
    assert extra["segmentation"] == {"size": [30, 40], "counts": [154, 2, 29, 1, 28, 1, 985]}
    assert sum(extra["segmentation"]["counts"]) == 1200


def test_a_turned_box_is_the_box_around_it(tmp_path):
    # 20 x 10 around (15, 10), by 90 degrees: 10 x 20
    box, extra = one(tmp_path / "x", '<box label="car" xtl="5" ytl="5" xbr="25" ybr="15" rotation="90.0"/>')
    assert box == pytest.approx([10, 0, 20, 20])
    assert extra["cvat.geometry"]["rotation"] == "90.0"
    box, _ = one(tmp_path / "y", '<box label="car" xtl="5" ytl="5" xbr="25" ybr="15" rotation="45.0"/>')
    half = (10 + 5) / math.sqrt(2)
    assert box == pytest.approx([15 - half, 10 - half, 15 + half, 10 + half])


def test_ellipses_cuboids_and_skeletons_are_the_boxes_around_them(tmp_path):
    box, extra = one(tmp_path / "a", '<ellipse label="car" cx="20" cy="15" rx="8" ry="2" rotation="90"/>')
    assert box == pytest.approx([18, 7, 22, 23])
    assert extra["cvat.shape"] == "ellipse"
    names = [f"{axis}{corner}{face}" for face in "12" for corner in ("tl", "bl", "tr", "br") for axis in "xy"]
    numbers = " ".join(f'{name}="{number}"' for number, name in enumerate(names, start=3))
    assert one(tmp_path / "b", f'<cuboid label="car" {numbers}/>')[0] == [3, 4, 17, 18]
    points = (
        '<points label="1" points="3,4"/><points label="2" points="9,1"/><points label="3" outside="1" points="0,0"/>'
    )
    box, extra = one(tmp_path / "c", f'<skeleton label="body" z_order="0">{points}</skeleton>')
    assert box == [3, 1, 9, 4]
    assert len(extra["cvat.points"]) == 3


def test_what_has_no_box_or_no_label_stays_with_its_image(tmp_path):
    inside = '<polyline label="car" points="1,2;3,4"/><box label="car" xtl="1" ytl="2" xbr="3" ybr="4"/><box label="" xtl="0" ytl="0" xbr="1" ybr="1"/>'
    intake = Intake()
    data = augsuite.read(export(tmp_path / "x", inside), intake=intake)
    assert len(data.annotations) == 1
    assert [kept["at"] for kept in data.images.extra["cvat.shapes"][0]] == [0, 2]
    assert any("have no label" in note for note in intake.notes)
    augsuite.write(data, tmp_path / "out", "cvat")
    text = (tmp_path / "out" / "annotations.xml").read_text()
    assert text.index("<polyline") < text.index("<box") < text.rindex("<box")
    same(data, augsuite.read(tmp_path / "out"))


def test_files_of_several_splits_are_one_dataset(tmp_path):
    export(tmp_path, '<box label="car" xtl="1" ytl="2" xbr="3" ybr="4"/>', name="train.xml")
    export(tmp_path, '<box label="van" xtl="1" ytl="2" xbr="3" ybr="4"/>', name="val.xml", meta="")
    data = augsuite.read(tmp_path)
    assert data.images.splits.tolist() == ["train", "val"]
    assert data.images.ids.tolist() == [7, 8]
    assert data.images.extra["cvat.id"].tolist() == [ABSENT, 7]
    assert data.categories.names.tolist() == ["car", "unused", "body", "van"]


# Round trips


SHAPES = [
    '<box label="car" occluded="0" xtl="1.00" ytl="2.10" xbr="3.123456" ybr="4.00" z_order="0">\n      <attribute name="wet">a &lt; b &amp; "c"</attribute>\n    </box>',
    '<box label="car" xtl="5.00" ytl="5.00" xbr="25.00" ybr="15.00" rotation="31.5"/>',
    '<polygon label="car" points="1.00,2.00;9.50,4.00;3.00,12.50" z_order="1"/>',
    '<mask label="car" rle="0, 1, 1, 3, 1" left="5" top="4" width="3" height="2" z_order="0"/>',
    '<mask label="car" rle="1, 1, 4" left="5" top="4" width="3" height="2"/>',
    '<ellipse label="car" cx="20.00" cy="15.00" rx="8.00" ry="2.00" rotation="12.0" z_order="0"/>',
    '<tag label="car" source="manual"/>',
    '<points label="car" points="1.00,2.00;3.00,4.00"/>',
    '<skeleton label="body" z_order="0">\n      <points label="1" outside="0" points="3.00,4.00"/>\n    </skeleton>',
    '<box label="car" xtl="1.00" ytl="2.00" xbr="3.00" ybr="4.00" note="&#10; &quot; é"/>',
]


def test_a_round_trip_gives_back_each_shape_as_it_was_written(tmp_path):
    data = augsuite.read(export(tmp_path / "in", "".join(SHAPES)))
    assert not augsuite.write(data, tmp_path / "out", "cvat", lossless=True)
    text = (tmp_path / "out" / "annotations.xml").read_text(encoding="utf-8")
    for shape in SHAPES:
        assert shape.replace(' "c"', ' "c"') in text, shape
    same(data, augsuite.read(tmp_path / "out"))


@needs_samples
@pytest.mark.parametrize("name", ["export_task", "export_project"])
def test_real_exports_come_back_whole(name, tmp_path):
    data = augsuite.read(SAMPLES / name)
    assert len(data) == {"export_task": 2, "export_project": 6}[name]
    assert data.categories.names.tolist() == ["label1", "label2"]
    assert all(data.images.files)
    augsuite.write(data, tmp_path / "out", "cvat", lossless=True)
    same(data, augsuite.read(tmp_path / "out"))


def test_a_project_repeats_its_ids_and_keeps_them(tmp_path):
    images = "".join(
        f'<image id="{number}" name="{number}.png" subset="{split}"/>' for split in ("A", "B") for number in (0, 1)
    )
    (tmp_path / "x.xml").write_text(f"<annotations><meta><project><labels/></project></meta>{images}</annotations>")
    data = augsuite.read(tmp_path)
    assert data.images.ids.tolist() == [0, 1, 2, 3]
    augsuite.write(data, tmp_path / "out", "cvat", lossless=True)
    assert (tmp_path / "out" / "annotations.xml").read_text().count('<image id="1"') == 2


def shapes_of(folder):
    """A dataset with all that CVAT draws, and images."""
    folder.mkdir()
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (40, 30)).save(folder / name)
    rings = [[1.5, 2, 9.5, 4, 3, 12.5], [20, 20, 30, 20, 30, 29.25]]
    return Dataset(
        Images.of(["a.png", "b.png"], [[40, 30]] * 2, splits=["train", "val"], files=["a.png", "b.png"]),
        Categories.of(["cat", "d & g"]),
        Annotations.of(
            [0, 0, 0, 1, 1],
            [0, 1, 0, 0, 1],
            [[1.5, 2, 9.5, 12.5], [1.5, 2, 30, 29.25], [5, 4, 8, 6], [1 / 3, 2, 39.999, 30], [math.nan] * 4],
            extra={
                "segmentation": objects(
                    [[rings[0]], rings, {"size": [30, 40], "counts": [154, 2, 29, 1, 28, 1, 985]}, ABSENT, ABSENT]
                )
            },
        ),
        root=folder,
    )


def test_the_parts_of_an_object_are_polygons_of_one_group(tmp_path):
    data = shapes_of(tmp_path / "in")
    losses = augsuite.write(data, tmp_path / "out", "cvat")
    assert not losses
    back = augsuite.read(tmp_path / "out")
    assert polygons(back.annotations.extra["segmentation"][1]) == data.annotations.extra["segmentation"][1]
    assert back.annotations.boxes[:4].tolist() == data.annotations.boxes[:4].tolist()
    text = (tmp_path / "out" / "annotations.xml").read_text()
    assert text.count('group_id="1"') == 2


def test_a_shape_whose_box_was_edited_is_written_as_a_box(tmp_path):
    data = augsuite.read(export(tmp_path / "in", SHAPES[5]))
    boxes = data.annotations.boxes + 1.0
    losses = augsuite.write(replace(data, annotations=replace(data.annotations, boxes=boxes)), tmp_path / "out", "cvat")
    assert losses["cvat.shape"] == 1
    assert augsuite.read(tmp_path / "out").annotations.boxes.tolist() == boxes.tolist()


def test_a_task_that_was_split_becomes_a_project(tmp_path):
    data = shapes_of(tmp_path / "in")
    task = replace(data, extra={"cvat.meta": {"task": {"id": "3", "labels": None}}})
    losses = augsuite.write(task, tmp_path / "out", "cvat")
    assert losses["cvat.meta"] == 1
    back = augsuite.read(tmp_path / "out")
    assert [said["subset"] for said in back.extra["cvat.meta"]["project"]["tasks"]["task"]] == ["train", "val"]
    assert back.images.splits.tolist() == ["train", "val"]


def test_a_box_in_another_layout_is_written_in_corners(tmp_path):
    data = shapes_of(tmp_path / "in")
    table = Annotations.of([0], [0], [[1, 2, 3.5, 4]], Layout.XYWH_PX)
    augsuite.write(replace(data, annotations=table), tmp_path / "out", "cvat")
    assert 'xtl="1.00" ytl="2.00" xbr="4.50" ybr="6.00"' in (tmp_path / "out" / "annotations.xml").read_text()


# Judges


JUDGE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import datumaro, numpy
data = datumaro.Dataset.import_from(sys.argv[1], "cvat")
labels = data.categories()[datumaro.AnnotationType.label]
found = []
for item in data:
    for shape in item.annotations:
        kind, points = type(shape).__name__, getattr(shape, "points", [])
        if kind == "Mask":
            points = numpy.argwhere(shape.image).tolist()
        found.append([item.id, item.subset, kind, labels[shape.label].name, [list(p) if isinstance(p, list) else float(p) for p in points]])
print("FOUND " + json.dumps(found))
"""


@pytest.mark.timeout(580)
def test_datumaro_reads_what_we_write(tmp_path):
    python = peer_python("datumaro", "datumaro==1.13.12")
    data = shapes_of(tmp_path / "in")
    augsuite.write(data, tmp_path / "out", "cvat")
    said = run_peer(python, JUDGE, tmp_path / "out", home=tmp_path)
    found = sorted(json.loads(said.split("FOUND ")[1]), key=lambda row: (row[0], row[2], row[4]))
    assert [row[:4] for row in found] == [
        ["a", "train", "Mask", "cat"],
        ["a", "train", "Polygon", "cat"],
        ["a", "train", "Polygon", "d & g"],
        ["a", "train", "Polygon", "d & g"],
        ["b", "val", "Bbox", "cat"],
        ["b", "val", "Label", "d & g"],
    ]
    assert sorted(found[0][4]) == [[4, 5], [4, 7], [5, 5], [5, 6]]  # row, column of the pixels by hand
    assert found[1][4] == [1.5, 2, 9.5, 4, 3, 12.5]
    assert found[4][4] == pytest.approx([1 / 3, 2, 39.999, 30], abs=0.01)  # Datumaro rounds to 2 decimals


# Bad input


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ('<box label="car" xtl="1" ytl="2" xbr="x" ybr="4"/>', "line 1: box: xbr: expected a number, got 'x'"),
        ('<box label="car" xtl="1" ytl="2" xbr="nan" ybr="4"/>', "box: xbr"),
        ('<box label="car" xtl="1" ytl="2" ybr="4"/>', "box: xbr: expected a number, got None"),
        ('<box label="car" xtl="9" ytl="2" xbr="1" ybr="4"/>', "expected xtl <= xbr"),
        ('<polygon label="car" points="1,2;3,4"/>', "expected 3 points or more, got 2"),
        ('<polygon label="car" points="1,2;3,4;5"/>', "expected 'x,y;x,y'"),
        ('<polygon label="car" points="1,2;3,4;5,inf"/>', "expected 'x,y;x,y'"),
        ('<polygon label="car"/>', "expected 'x,y;x,y'"),
        ('<mask label="car" rle="1,2" left="0" top="0" width="2" height="2"/>', "add up to 2 x 2"),
        ('<mask label="car" rle="4" left="39" top="0" width="2" height="2"/>', "inside the image of 40 x 30"),
        ('<mask label="car" rle="0,4" left="-1" top="0" width="2" height="2"/>', "whole numbers left"),
        ('<ellipse label="car" cx="1" cy="1" rx="-1" ry="1"/>', "radii of 0 or more"),
        ('<cuboid label="car" xtl1="1"/>', "cuboid: ytl1"),
    ],
)  # fmt: skip
def test_an_invalid_shape_is_named_or_left_out(inside, said, tmp_path):
    export(tmp_path, inside + '<tag label="car"/>')
    with pytest.raises(DataError) as caught:
        augsuite.read(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    intake = Intake(skip_invalid=True)
    assert len(augsuite.read(tmp_path, intake=intake).annotations) == 1
    assert len(intake.skipped) == 1


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"head": '<!DOCTYPE a [<!ENTITY x "y">]>'}, "declares a document type"),
        ({"head": '<!DOCTYPE a SYSTEM "http://example.org/a.dtd">'}, "declares a document type"),
        ({"meta": '<track id="0" label="car"/>'}, "CVAT for video"),
        ({"meta": "<meta>"}, "malformed XML"),
        ({"meta": "<a>" * 100 + "</a>" * 100}, "nested too deeply"),
        ({"size": 'width="40.5"'}, "width: expected a whole number"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(how, said, tmp_path):
    export(tmp_path, "", **how)
    with pytest.raises(DataError) as caught:
        augsuite.read(tmp_path, "cvat")
    assert said in str(caught.value)


def test_a_video_is_detected_so_that_the_reader_can_say_so(tmp_path):
    (tmp_path / "annotations.xml").write_text('<annotations><meta/><track id="0" label="car"/></annotations>')
    with pytest.raises(DataError, match="CVAT for video"):
        augsuite.read(tmp_path)


def test_a_name_that_leads_outside_is_refused(tmp_path):
    (tmp_path / "annotations.xml").write_text('<annotations><image id="0" name="../../x.jpg"/></annotations>')
    with pytest.raises(DataError, match="outside"):
        augsuite.read(tmp_path, "cvat")


def test_voc_is_not_taken_for_cvat(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation><filename>a.jpg</filename></annotation>")
    assert registry.default().formats()["cvat"].detect.load()(tmp_path) == 0
    with pytest.raises(ConfigError, match="no dataset format"):
        augsuite.read(export(tmp_path / "sub", "", name="x.txt"))


def test_a_mask_is_bounded_by_its_image_whatever_it_claims(tmp_path):
    size = 'width="999999999" height="999999999"'
    inside = '<mask label="car" rle="0,999999998000000001" left="0" top="0" width="999999999" height="999999999"/>'
    with pytest.raises(DataError, match="expected a mask of 1 to"):
        augsuite.read(export(tmp_path, inside, size=size))


NAMES = [
    "label",
    "xtl",
    "ytl",
    "xbr",
    "ybr",
    "points",
    "rle",
    "left",
    "top",
    "width",
    "height",
    "rotation",
    "cx",
    "rx",
    "parts",
    "name",
    "z",
]
VALUES = [
    "",
    "0",
    "1",
    "-1",
    "2.5",
    "nan",
    "1e999",
    "car",
    "1,2;3,4;5,6",
    "1,2",
    ",",
    ";",
    "0,1",
    "9" * 30,
    "2",
    "é",
    "../x",
]
TAGS = [
    "box",
    "polygon",
    "polyline",
    "points",
    "mask",
    "ellipse",
    "cuboid",
    "skeleton",
    "tag",
    "attribute",
    "image",
    "track",
    "label",
    "meta",
]
ELEMENTS = st.recursive(
    st.just(""),
    lambda inner: st.builds(
        lambda tag, said, body: "<{0}{1}>{2}</{0}>".format(
            tag, "".join(f' {k}="{v}"' for k, v in said.items()), "".join(body)
        ),
        st.sampled_from(TAGS),
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=8),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    inside=st.lists(st.one_of(st.sampled_from(SHAPES), ELEMENTS), max_size=5),
    meta=st.one_of(st.just(META), ELEMENTS),
    skip=st.booleans(),
)
def test_any_elements_are_read_or_refused_and_come_back(inside, meta, skip, tmp_path_factory):
    folder = export(tmp_path_factory.mktemp("any"), "".join(inside), meta=meta)
    data = read_or_refuse(registry.default().formats()["cvat"], folder, skip_invalid=skip)
    if data is not None:
        augsuite.write(data, folder / "out", "cvat")
        back = augsuite.read(folder / "out", "cvat")
        assert back.annotations.boxes == pytest.approx(data.annotations.boxes, nan_ok=True)
