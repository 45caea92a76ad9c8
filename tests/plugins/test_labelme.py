"""The LabelMe plugin: hand-made files, and LabelMe itself as judge."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import replace

import msgspec
import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import peer_python, run_peer

import augsuite
from augsuite import registry
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.parallel import using
from augsuite.dataset.shapes import polygons
from augsuite.engines.local import run as run_local
from augsuite.errors import DataError
from augsuite.testing.formats import read_or_refuse

FORMAT = registry.default().formats()["labelme"]


def shape(points, kind="rectangle", label="cat", **others):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | others


def document(*shapes, **others):
    head = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": "a.png", "imageData": None}
    return head | {"imageHeight": 30, "imageWidth": 40} | others


def put(folder, content, name="a.json", image=None):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    if image:
        picture(path.parent / image)
    return folder


def picture(path, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, (len(str(path)) % 255, 3, 9)).save(path)


def png(pixels):
    out = io.BytesIO()
    PIL.Image.fromarray(np.array(pixels, np.uint8) * 255).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def extras(table, row=0):
    return {key: values[row] for key, values in table.extra.items() if values[row] is not ABSENT}


def contents(folder):
    return {path.relative_to(folder).as_posix(): json.loads(path.read_text("utf-8")) for path in folder.rglob("*.json")}


# Reading


def test_a_folder_becomes_tables(tmp_path):
    corners = [[10.5, 20], [1, 2.25]]
    put(
        tmp_path, document(shape(corners), shape([[1, 1], [5, 2], [3, 9]], "polygon", "dog", group_id=3)), image="a.png"
    )
    data = augsuite.read(tmp_path)
    assert (data.images.names.tolist(), data.images.files.tolist()) == (["a.png"], ["a.png"])
    assert data.images.sizes.tolist() == [[40, 30]]
    assert data.categories.names.tolist() == ["cat", "dog"]
    assert data.annotations.boxes.tolist() == [[1, 2.25, 10.5, 20], [1, 1, 5, 9]]
    assert extras(data.annotations, 0)["labelme.points"] == [[10.5, 20], [1, 2.25]]  # not top left to bottom right
    assert polygons(data.annotations.extra["segmentation"][1]) == [[1, 1, 5, 2, 3, 9]]
    assert extras(data.annotations, 1)["labelme.group_id"] == 3


def test_circles_and_turned_rectangles_are_the_boxes_around_them(tmp_path):
    circle = shape([[10, 12], [13, 16]], "circle")  # radius 5
    turned = shape([[10, 5], [15, 10], [10, 15], [5, 10]], "oriented_rectangle")
    data = augsuite.read(put(tmp_path, document(circle, turned)))
    assert data.annotations.boxes.tolist() == [[5, 7, 15, 17], [5, 5, 15, 15]]


def test_a_mask_is_inclusive_of_its_last_pixel(tmp_path):
    content = document(shape([[5, 4], [7, 5]], "mask", mask=png([[1, 0, 1], [1, 1, 0]])))
    data = augsuite.read(put(tmp_path, content))
    assert data.annotations.boxes.tolist() == [[5, 4, 8, 6]]
    # down the columns of the 40 x 30 image; column 5 begins at pixel 150
    assert data.annotations.extra["segmentation"][0] == {"size": [30, 40], "counts": [154, 2, 29, 1, 28, 1, 985]}


def test_lines_and_points_stay_with_their_image(tmp_path):
    line = shape([[1, 2], [3, 4]], "line")
    point = shape([[1, 2]], "point")
    intake = Intake()
    content = document(line, shape([[1, 2], [3, 4]]), point)
    data = augsuite.read(put(tmp_path / "in", content), intake=intake)
    assert len(data.annotations) == 1
    assert any("2 lines, points" in note for note in intake.notes)
    augsuite.write(data, tmp_path / "out", "labelme", lossless=True)
    assert contents(tmp_path / "out")["a.json"] == content


def test_flags_that_are_set_label_the_image(tmp_path):
    content = document(flags={"cat": True, "blurry": False})
    data = augsuite.read(put(tmp_path / "in", content))
    assert data.categories.names.tolist() == ["cat"]
    assert data.annotations.is_box.tolist() == [False]
    augsuite.write(data, tmp_path / "out", "labelme", lossless=True)
    assert contents(tmp_path / "out")["a.json"] == content
    assert (tmp_path / "out" / "flags.txt").read_text() == "cat\n"
    without = replace(data, annotations=data.annotations.take(np.zeros(1, bool)))
    augsuite.write(without, tmp_path / "again", "labelme")
    assert contents(tmp_path / "again")["a.json"]["flags"] == {"cat": False, "blurry": False}


def test_polygons_of_one_group_are_the_parts_of_one_object(tmp_path):
    parts = [
        shape([[1, 1], [5, 2], [3, 9]], "polygon", group_id=1),
        shape([[20, 1], [25, 2], [23, 9]], "polygon", group_id=1),
    ]
    other = shape([[20, 1], [25, 2], [23, 9]], "polygon", "dog", group_id=1)
    alone = [shape([[1, 1], [5, 2], [3, 9]], "polygon"), shape([[1, 1], [5, 2], [3, 9]], "polygon")]
    content = document(*parts, other, *alone)
    data = augsuite.read(put(tmp_path / "in", content))
    assert data.annotations.boxes.tolist() == [[1, 1, 25, 9], [20, 1, 25, 9], [1, 1, 5, 9], [1, 1, 5, 9]]
    assert len(polygons(data.annotations.extra["segmentation"][0])) == 2
    augsuite.write(data, tmp_path / "out", "labelme", lossless=True)
    assert contents(tmp_path / "out")["a.json"] == content


def test_splits_are_folders_and_images_without_a_file_count(tmp_path):
    put(tmp_path, document(shape([[1, 2], [3, 4]]), imagePath="2.png"), "train/2.json", image="2.png")
    put(tmp_path, document(imagePath="b.png"), "val/sub/b.json", image="b.png")
    picture(tmp_path / "train" / "10.png")
    picture(tmp_path / "elsewhere" / "x.png")
    intake = Intake()
    data = augsuite.read(tmp_path, intake=intake)
    assert data.images.names.tolist() == ["2.png", "10.png", "sub/b.png"]
    assert data.images.splits.tolist() == ["train", "train", "val"]
    assert data.annotations.image_rows.tolist() == [0]
    assert any("1 images beside the JSON files have none" in note for note in intake.notes)


@pytest.mark.parametrize(
    "said", ["..\\pics\\a.png", "../pics/a.png", "C:\\Users\\me\\a.png", "/home/me/a.png", "../../../a.png"]
)
def test_an_image_is_found_by_its_path_or_beside_the_file(said, tmp_path):
    folder = "pics" if "pics" in said else "json"
    put(tmp_path, document(imagePath=said), "json/a.json")
    picture(tmp_path / folder / "a.png")
    data = augsuite.read(tmp_path)
    assert data.images.files.tolist() == [f"{folder}/a.png"]


@pytest.mark.parametrize("said", ["/etc/passwd.png", "../../x.png", "C:\\x.png"])
def test_a_path_that_leads_outside_is_refused_where_no_image_is_beside(said, tmp_path):
    put(tmp_path, document(imagePath=said))
    with pytest.raises(DataError, match=r"a.json: imagePath: .*outside"):
        augsuite.read(tmp_path)
    assert len(augsuite.read(put(tmp_path, document(), "b.json"), skip_invalid=True)) == 1


def test_pixels_that_the_file_alone_holds_are_carried_along(tmp_path):
    put(tmp_path / "in", document(imageData="aGVsbG8="))
    intake = Intake()
    data = augsuite.read(tmp_path / "in", intake=intake)
    assert data.images.extra["labelme.imageData"][0] == "aGVsbG8="
    assert any("labelme_export_json" in note for note in intake.notes)
    augsuite.write(data, tmp_path / "out", "labelme", lossless=True)
    assert contents(tmp_path / "out")["a.json"]["imageData"] == "aGVsbG8="
    picture(tmp_path / "in" / "a.png")
    assert "labelme.imageData" not in augsuite.read(tmp_path / "in").images.extra


def test_coordinates_belong_to_the_upright_image(tmp_path):
    turned = PIL.Image.new("RGB", (30, 40))
    exif = turned.getexif()
    exif[0x0112] = 6
    put(tmp_path, document(shape([[1, 2], [39, 29]]), imagePath="a.jpg", imageWidth=None, imageHeight=None))
    turned.save(tmp_path / "a.jpg", exif=exif)
    data = augsuite.read(tmp_path)
    assert data.sample(0).source.decode().shape == (30, 40, 3)
    augsuite.write(data, tmp_path / "out", "labelme")
    written = contents(tmp_path / "out")["a.json"]
    assert (written["imageWidth"], written["imageHeight"]) == (40, 30)


def test_several_processes_read_and_write_the_same(tmp_path):
    for number in range(7):
        put(
            tmp_path / "in",
            document(shape([[number, 2], [30, 4]], description="x"), imagePath=f"{number}.png"),
            f"{number}.json",
            f"{number}.png",
        )
    one = augsuite.read(tmp_path / "in")
    augsuite.write(one, tmp_path / "one", "labelme")
    with using(2, run_local):
        two = augsuite.read(tmp_path / "in")
        augsuite.write(two, tmp_path / "two", "labelme")
    assert one.annotations.boxes.tolist() == two.annotations.boxes.tolist()
    assert {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()
    }


# Round trips


def test_a_round_trip_keeps_every_key(tmp_path):
    content = document(
        shape([[1, 2], [3.5, 4]], description="", flags={"hard": True}, mask=None),
        shape([[3, 4], [1, 2]], difficult=False, attributes={"a": [1, None]}),
        shape([[1.123456789, 1], [5, 2], [3, 9]], "polygon", group_id=7, score=0.25, box_note=1),
        shape([[10, 12], [13, 16]], "circle", score=None),
        shape([[5, 4], [7, 5]], "mask", mask=png([[1, 0, 1], [1, 1, 0]])),
        shape([[1, 2], [3, 4], [5, 6]], "linestrip", order=3),
        {"label": "old", "points": [[1, 2], [3, 4], [5, 1]], "line_color": None},
        text="hello", lineColor=[0, 255, 0, 128], checked=True,
    )  # fmt: skip
    put(tmp_path / "in", content, "train/a.json", image="a.png")
    (tmp_path / "in" / "labels.txt").write_text("__ignore__\n_background_\nzebra\ncat\nold\n")
    data = augsuite.read(tmp_path / "in")
    assert data.categories.names.tolist() == ["zebra", "cat", "old"]
    assert data.annotations.extra["score"].tolist()[2] == 0.25
    augsuite.write(data, tmp_path / "out", "labelme", lossless=True)
    written = contents(tmp_path / "out")["train/a.json"]
    pixels = [
        np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(said["shapes"][4].pop("mask"))))) > 0
        for said in (written, content)
    ]
    assert (pixels[0] == pixels[1]).all()
    assert written["shapes"][6].pop("shape_type") == "polygon"
    assert written == content
    assert (tmp_path / "out" / "labels.txt").read_text() == "__ignore__\n_background_\nzebra\ncat\nold\n"


def drawn(folder):
    """A dataset with all that LabelMe draws, and images."""
    picture(folder / "a.png")
    picture(folder / "b.png")
    rings = [[1.5, 2, 9.5, 4, 3, 12.5], [20, 20, 30, 20, 30, 29.25]]
    rle = {"size": [30, 40], "counts": [154, 2, 29, 1, 28, 1, 985]}
    return Dataset(
        Images.of(["a.png", "sub/b.png"], [[40, 30]] * 2, splits=["train", "val"], files=["a.png", "b.png"]),
        Categories.of(["cat", "dog"]),
        Annotations.of(
            [0, 0, 0, 0, 1, 1],
            [0, 1, 0, 0, 0, 1],
            [
                [1.5, 2, 9.5, 12.5],
                [1.5, 2, 30, 29.25],
                [5, 4, 8, 6],
                [4.5, 4, 8, 6],
                [1 / 3, 2, 39.999, 30],
                [math.nan] * 4,
            ],
            extra={"segmentation": objects([[rings[0]], rings, rle, rle, ABSENT, ABSENT])},
        ),
        root=folder,
    )


def test_shapes_of_another_format_come_back(tmp_path):
    data = drawn(tmp_path / "in")
    assert not augsuite.write(data, tmp_path / "out", "labelme")
    back = augsuite.read(tmp_path / "out")
    assert np.array_equal(back.annotations.boxes, data.annotations.boxes, equal_nan=True)
    theirs = [
        msgspec.json.decode(msgspec.json.encode(value)) for value in back.annotations.extra["segmentation"].tolist()[:4]
    ]
    assert theirs == data.annotations.extra["segmentation"].tolist()[:4]


def test_a_shape_whose_box_was_edited_is_written_as_a_rectangle(tmp_path):
    data = augsuite.read(put(tmp_path / "in", document(shape([[10, 12], [13, 16]], "circle"))))
    boxes = data.annotations.boxes + 1.0
    losses = augsuite.write(
        replace(data, annotations=replace(data.annotations, boxes=boxes)), tmp_path / "out", "labelme"
    )
    assert losses["labelme.shape_type"] == 1
    assert augsuite.read(tmp_path / "out").annotations.boxes.tolist() == boxes.tolist()


def test_what_folders_cannot_say_is_counted(tmp_path):
    data = drawn(tmp_path / "in")
    odd = replace(data, images=Images.of(["train/a.png", ".b.png"], splits=["", "mine"], files=["a.png", "b.png"]))
    losses = augsuite.write(odd, tmp_path / "out", "labelme")
    assert (losses["splits"], losses["image names"]) == (2, 2)
    assert len(augsuite.read(tmp_path / "out")) == 2


# Judges


# LabelMe is a program with windows: what only those need is left out of its environment; the reader of files is its own.
JUDGE = """
import json, sys, pathlib, unittest.mock
for name in ("onnxruntime", "PyQt5", "imgviz", "imgviz.io"):
    sys.modules[name] = unittest.mock.MagicMock()
from labelme._label_file import read_label_file
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.json")):
    file = read_label_file(str(path))
    found[path.name] = [file.image_path, file.flags, len(file.image_data) > 0, [
        [s["label"], s["shape_type"], s["points"], s["group_id"], None if s["mask"] is None else s["mask"].tolist()] for s in file.shapes
    ]]
print("FOUND " + json.dumps(found))
"""


@pytest.mark.timeout(580)
def test_labelme_reads_what_we_write(tmp_path):
    python = peer_python("labelme", "labelme==6.3.1", "loguru", "tifffile", borrow=True)
    augsuite.write(drawn(tmp_path / "in"), tmp_path / "out", "labelme")
    said = run_peer(python, JUDGE, tmp_path / "out", home=tmp_path)
    found = json.loads(said.split("FOUND ")[1])
    first, second = [[1.5, 2], [9.5, 4], [3, 12.5]], [[20, 20], [30, 20], [30, 29.25]]
    pixels = [[True, False, True], [True, True, False]]
    assert found["a.json"] == ["a.png", {}, True, [
        ["cat", "polygon", first, None, None],
        ["dog", "polygon", first, 1, None],
        ["dog", "polygon", second, 1, None],
        ["cat", "mask", [[5, 4], [7, 5]], None, pixels],
        ["cat", "mask", [[5, 4], [7, 5]], None, pixels],
    ]]  # fmt: skip
    assert found["b.json"] == [
        "b.png",
        {"dog": True},
        True,
        [["cat", "rectangle", [[1 / 3, 2], [39.999, 30]], None, None]],
    ]


# Bad input


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (shape([[1, 2]]), "shapes[1]: points: expected 2 corners of a rectangle, got 1"),
        (shape([], "polygon"), "got none"),
        (shape([[1, 2]], "circle"), "expected 2 points of a circle"),
        (shape([[1, "x"], [3, 4]]), "shapes[1].points"),
        (shape([[1, 1e300], [3, 4]]), "shapes[1].points"),
        (shape([[1, 2, 3], [3, 4]]), "shapes[1].points"),
        (shape([[1, 2], [3, 4]], label=3), "shapes[1].label"),
        ({"points": [[1, 2], [3, 4]]}, "label"),
        (7, "shapes[1]: expected an object, got 7"),
        (shape([[5, 4], [7, 5]], "mask", mask="x"), "expected a PNG in base64"),
        (shape([[5, 4], [8, 5]], "mask", mask=png([[1, 0, 1], [1, 1, 0]])), "expected 4 x 2 pixels, got 3 x 2"),
        (shape([[5.5, 4], [7.5, 5]], "mask", mask=png([[1, 0, 1], [1, 1, 0]])), "whole pixels inside"),
    ],
)  # fmt: skip
def test_an_invalid_shape_is_named_or_left_out(bad, said, tmp_path):
    put(tmp_path, document(shape([[1, 2], [3, 4]]), bad))
    with pytest.raises(DataError) as caught:
        augsuite.read(tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    intake = Intake(skip_invalid=True)
    assert len(augsuite.read(tmp_path, intake=intake).annotations) == 1
    assert len(intake.skipped) == 1


def test_a_broken_file_is_named_or_left_out(tmp_path):
    put(tmp_path, document())
    (tmp_path / "b.json").write_text('{"shapes": [}')
    (tmp_path / "c.json").write_text("[1, 2]")
    (tmp_path / "d.json").write_text('{"shapes": 3}')
    with pytest.raises(DataError, match=r"b.json: line 1, byte 12: malformed JSON"):
        augsuite.read(tmp_path)
    intake = Intake(skip_invalid=True)
    assert len(augsuite.read(tmp_path, intake=intake)) == 1
    assert [line.rpartition("/")[2][:6] for line in intake.skipped] == ["b.json", "c.json", "d.json"]


def test_coco_is_not_taken_for_labelme(tmp_path):
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert FORMAT.detect.load()(tmp_path) == 0


SCALARS = st.sampled_from(
    [None, True, 0, 1, -1, 2.5, 1e300, "", "cat", "polygon", "mask", "circle", "a.png", "../x.png", "iVBORw0KGgo="]
)
POINTS = st.lists(st.lists(st.sampled_from([0, 1, 2.5, -3, 40, 1e16, None, "x"]), min_size=2, max_size=2), max_size=4)
SHAPES = st.dictionaries(
    st.sampled_from(
        ["label", "points", "group_id", "shape_type", "flags", "description", "mask", "score", "other", "(others)"]
    ),
    st.one_of(SCALARS, POINTS, st.dictionaries(st.sampled_from(["a", "b"]), SCALARS, max_size=2)),
)
SOUND = st.builds(
    lambda points, kind, group, more: shape(points, kind, group_id=group) | more,
    st.lists(st.lists(st.integers(0, 30), min_size=2, max_size=2), min_size=1, max_size=4),
    st.sampled_from(["rectangle", "polygon", "circle", "line", "mask", "other", None]),
    st.sampled_from([None, 1, 2, "x"]),
    SHAPES.map(
        lambda more: {key: value for key, value in more.items() if key not in {"points", "label", "shape_type"}}
    ),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    shapes=st.lists(st.one_of(SOUND, SHAPES), max_size=5),
    more=st.dictionaries(
        st.sampled_from(["flags", "imagePath", "imageData", "imageWidth", "imageHeight", "version", "x"]),
        st.one_of(SCALARS, SHAPES),
    ),
    skip=st.booleans(),
)
def test_any_shapes_are_read_or_refused_and_come_back(shapes, more, skip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    data = read_or_refuse(FORMAT, put(folder / "in", document(*shapes) | more), skip_invalid=skip)
    if data is not None and len(data):
        losses = augsuite.write(data, folder / "out", "labelme")
        back = augsuite.read(folder / "out", "labelme")
        if not losses["boxes"]:
            assert back.annotations.boxes == pytest.approx(data.annotations.boxes, nan_ok=True)


@pytest.mark.parametrize("target", ["parquet", "webdataset", "imagefolder"])
def test_the_version_of_the_tool_goes_through_formats_that_keep_everything(target, tmp_path, image_file):
    image_file(tmp_path / "in" / "a.jpg", (64, 48))
    shape = {"label": "cat", "points": [[1, 2], [30, 40]], "shape_type": "rectangle"}
    content = {"version": "2.3.0", "shapes": [shape], "imagePath": "a.jpg", "imageHeight": 48, "imageWidth": 64}
    (tmp_path / "in" / "a.json").write_text(json.dumps(content))
    augsuite.convert(tmp_path / "in", tmp_path / "out", target)
    augsuite.convert(tmp_path / "out", tmp_path / "back", "labelme")
    assert json.loads((tmp_path / "back" / "a.json").read_text())["version"] == "2.3.0"
