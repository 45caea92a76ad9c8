"""Filter: conditions against what each row says by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, objects
from augsuite.errors import ConfigError, DataError

NAN = [np.nan] * 4


@pytest.fixture
def data():
    """Five images; seven annotations with ids 1 to 7, of which the last labels a whole image."""
    return Dataset(
        Images.of(
            ["a_1.jpg", "a_2.jpg", "b_1.jpg", "empty.jpg", "other empty.jpg"],
            [[100, 50], [200, 100], [100, 100], [10, 10], [10, 10]],
            ids=[5, 6, 7, 8, 9],
            splits=["train", "train", "val", "train", "val"],
            extra={"x.weather": objects(["sun", "rain", ABSENT, "sun", None])},
        ),
        Categories.of(["dog", "cat", "hot dog"], [3, 1, 9], {"coco.supercategory": objects(["pet", "pet", "food"])}),
        Annotations.of(
            [0, 0, 1, 1, 2, 2, 2],
            [0, 1, 0, 2, 1, 1, 0],
            [
                [0, 0, 50, 20],  # 1 dog, area 1000, 0.2 of its image
                [10, 5, 10, 40],  # 2 cat, area 400, 0.08
                [0, 0, 200, 100],  # 3 dog, area 20000, 1.0
                [5, 5, 32, 32],  # 4 hot dog, area 1024, 0.0512
                [1, 1, 33, 8],  # 5 cat, area 264, 0.0264
                [1, 1, 8, 33],  # 6 cat, area 264, 0.0264
                NAN,  # 7 dog
            ],
            Layout.XYWH_PX,
            ignore=[False, True, False, False, False, False, False],
            extra={
                "score": objects([0.9, 0.2, 0.5, ABSENT, None, 0.7, 0.3]),
                "csv.note": objects(["12", "x", ABSENT, "7.5", "", None, "3"]),
                "csv.two words": objects([1, 2, 3, 4, 5, 6, 7]),
                "mixed.value": objects(["a", 1, None, [1, 2], {"a": 1}, ABSENT, True]),
                "segmentation": objects([msgspec.Raw(b"[[1,2,3]]"), *[ABSENT] * 6]),
            },
        ),
    )


@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("width > 32", [1, 3, 5]),
        ("width >= 32 and height >= 32", [3, 4]),
        ("32 <= width < 60", [1, 4, 5]),
        ("not (width > 32)", [2, 4, 6, 7]),
        ("category == 'dog'", [1, 3, 7]),
        ("category in ('cat', 'hot dog')", [2, 4, 5, 6]),
        ("category not in ['cat']", [1, 3, 4, 7]),
        ("'dog' in category", [1, 3, 4, 7]),
        ("category_id in {1, 9}", [2, 4, 5, 6]),
        ("ignore", [2]),
        ("not ignore and area <= 1024", [1, 4, 5, 6]),
        ("aspect > 1", [1, 3, 5]),
        ("width * 2 == height * 5", [1]),
        ("x + width > 99 or y == 5", [2, 3, 4]),
        ("area / (image_width * image_height) > 0.1", [1, 3]),
        ("id % 2 == 0", [2, 4, 6]),
        ("id // 2 == 1", [2, 3]),
        ("-x < -4", [2, 4]),
        ("min(width, height) >= 20 and max(width, height) < 60", [1, 4]),
        ("abs(width - height) == 25", [5, 6]),
        ("score > 0.4", [1, 3, 6]),
        ("score == None", [4, 5]),
        ("score is not None and score < 0.4", [2, 7]),
        ("1 / (score - 0.5) > 0", [1, 3, 6]),  # 3: infinite
        ("csv.note == '12'", [1]),
        ("number(csv.note) > 5", [1, 4]),
        ("csv.note == None", [3, 6]),
        ("extra['csv.two words'] > 5", [6, 7]),
        ("mixed.value == 'a'", [1]),
        ("mixed.value == 1", [2, 7]),
        ("mixed.value in ('a', 1)", [1, 2, 7]),
        ("mixed.value != None", [1, 2, 4, 5, 7]),
        ("segmentation != None", [1]),
        ("coco.supercategory == 'pet' and boxes == 2", [1, 2, 3, 5, 6, 7]),
        ("width > image_width / 3 or split == 'val'", [1, 3, 5, 6, 7]),
        ("width > 32 and split == 'train'", [1, 3]),
        ("labels == 1", [5, 6, 7]),
        ("matches(name, '^a_.*[.]jpg$')", [1, 2, 3, 4]),
        ("startswith(name, 'a') and endswith(name, '2.jpg')", [3, 4]),
        ("'_1' in name", [1, 2, 5, 6, 7]),
        ("x.weather == 'rain'", [3, 4]),
        ("image_id == 6 or image_id == 7", [3, 4, 5, 6, 7]),
        ("True", [1, 2, 3, 4, 5, 6, 7]),
        ("category == 'dog' == False", [1, 2, 3, 4, 5, 6, 7][:0]),
    ],
)
def test_an_expression_keeps_the_rows_for_which_it_holds(data, expression, ids):
    if expression == "category == 'dog' == False":
        with pytest.raises(ConfigError, match="compares text with yes or no"):
            data.filter(expression)
        return
    kept = data.filter(expression, empty="keep")
    assert kept.annotations.ids.tolist() == ids
    # Whatever goes, the others still belong to the same images and categories.
    place = dict(zip(data.annotations.ids.tolist(), data.annotations.image_rows.tolist(), strict=True))
    names = [data.images.names[place[each]] for each in ids]
    assert kept.images.names[kept.annotations.image_rows].tolist() == names
    assert kept.categories is data.categories


def names(data):
    return data.images.names.tolist()


def test_a_condition_on_images_alone_chooses_images(data):
    assert names(data.filter("split == 'train'")) == ["a_1.jpg", "a_2.jpg", "empty.jpg"]
    assert names(data.filter("boxes == 0 and labels == 0")) == ["empty.jpg", "other empty.jpg"]
    # joined at the top: val's empty image goes too, train's stays
    assert names(data.filter("(split == 'train' and width > 60) and ignore == False")) == ["a_2.jpg", "empty.jpg"]


def test_what_happens_to_images_left_empty(data):
    assert names(data.filter("width > 60")) == ["a_2.jpg", "empty.jpg", "other empty.jpg"]
    assert names(data.filter("width > 60", empty="keep")) == names(data)
    with pytest.raises(ConfigError, match="expected 'keep' or 'drop', got 'maybe'"):
        data.filter("width > 60", empty="maybe")


@pytest.mark.parametrize(
    ("limits", "ids"),
    [
        ({"min_side": 20}, [1, 3, 4, 7]),
        ({"max_side": 33}, [4, 5, 6, 7]),
        ({"min_area": 400}, [1, 2, 3, 4, 7]),
        ({"max_area": 400}, [2, 5, 6, 7]),
        ({"min_area": 400, "max_area": 1000}, [1, 2, 7]),
        ({"min_area_frac": 0.08}, [1, 2, 3, 7]),
        ({"max_area_frac": 0.08}, [2, 4, 5, 6, 7]),
        ({"categories": ["cat"], "max_area": 300}, [5, 6]),
        ({"splits": ["val"], "min_side": 9}, [7]),
    ],
)
@pytest.mark.parametrize("layout", [Layout.XYWH_PX, Layout.XYXY_PX, Layout.CXCYWH_UNIT])
def test_limits_judge_boxes_in_any_layout_and_leave_labels(data, limits, ids, layout):
    table = replace(data.annotations, boxes=data.boxes(layout), layout=layout)
    if layout.unit:  # 0.3 * 100 is not 30 in float64: leave room at the limits
        limits = {key: value * (1 + 1e-9 * (1 if key.startswith("max") else -1)) if isinstance(value, float | int) else value for key, value in limits.items()}  # fmt: skip
    assert replace(data, annotations=table).filter(**limits).annotations.ids.tolist() == ids


def test_categories_leave_the_table(data):
    kept = data.filter(categories=["hot dog", "cat"])
    assert kept.categories.names.tolist() == ["cat", "hot dog"]
    assert kept.categories.ids.tolist() == [1, 9]
    assert kept.categories.names[kept.annotations.category_rows].tolist() == ["cat", "hot dog", "cat", "cat"]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("widht > 3", "unknown name 'widht' at column 1. Did you mean 'width'?"),
        ("width > 3 and scor > 1", "unknown name 'scor' at column 15. Did you mean 'score'?"),
        ("width >", "invalid syntax"),
        ("width", "`width`): is a number, not a condition"),
        ("category", "is text, not a condition"),
        ("width and height", "is a number, not a condition"),
        ("width > 'a'", "compares a number with text"),
        ("category == 3", "compares text with a number"),
        ("category in (1, 2)", "does not list texts alone"),
        ("width in ('a',)", "does not list numbers alone"),
        ("category in 'dog cat'", "neither a list"),
        ("width + category > 3", "is text, not a number; try number(...)"),
        ("csv.note > '3'", "not every row has a text or number"),
        ("width is 3", "`is` is for None alone"),
        ("width < None", "only == and != compare with None"),
        ("matches(name, '(')", "is no regular expression"),
        ("matches(name, category)", "is not a text in quotes"),
        ("matches(width, 'a')", "is a number, not a column of texts"),
        ("len(name) > 3", "there is no such function of 1 arguments"),
        ("name.startswith('a')", "cannot be part of a condition"),
        ("(lambda: True)()", "cannot be part of a condition"),
        ("[x for x in (1,)] == 1", "cannot be part of a condition"),
        ("__import__('os').system('false')", "cannot be part of a condition"),
        ("width.__class__ == 1", "unknown name 'width.__class__'"),
        ("extra['nothing'] == 1", "unknown name 'nothing'"),
        ("width ** 9 > 3", "cannot be part of a condition"),
        ("width > 1j", "neither a number nor a text"),
        (f"width > {10**30}", "larger than any number"),
        ("width > 3; height", "invalid syntax"),
        ("f'{width}' == 'a'", "cannot be part of a condition"),
        ("(x := 3) > 2", "cannot be part of a condition"),
        ("", "invalid syntax"),
        ("a\0b", "null"),
        ("(" * 500 + "1" + ")" * 500, "too many nested"),
        ("not " * 5000 + "ignore", "nested too deeply"),
        ("width" + " + 1" * 20000 + " > 3", "nested too deeply"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(data, expression, said):
    with pytest.raises(ConfigError) as error:
        data.filter(expression)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


WORDS = [
    "width",
    "category",
    "ignore",
    "'",
    "'a'",
    "and",
    "or",
    "not",
    "in",
    "==",
    "<",
    "(",
    ")",
    ",",
    "1",
    ".",
    "+",
    "[",
    "]",
]


@given(st.text(max_size=30) | st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join))
def test_any_text_is_a_condition_or_an_error(expression):
    data = Dataset(Images.of(["a"]), Categories.of(["b"]), Annotations.of([0], [0], [[0, 0, 1, 1]]))
    try:
        data.filter(expression)
    except ConfigError as error:
        assert str(error).isprintable()  # noqa: PT017 - some texts are conditions


def test_sizes_are_read_from_the_files_where_a_condition_needs_them(tmp_path, image_file):
    image_file(tmp_path / "a.png", (40, 20))
    boxes = Annotations.of([0], [0], [[0.5, 0.5, 0.5, 0.5]], Layout.CXCYWH_UNIT)
    data = Dataset(Images.of(["a.png"], files=["a.png"]), Categories.of(["c"]), boxes, root=tmp_path)
    assert len(data.filter("width == 20 and height == 10 and image_width == 40").annotations) == 1
    assert len(data.filter(min_side=10.5).annotations) == 0
    assert len(data.filter(max_area_frac=0.25).annotations) == 1
    unknown = replace(data, images=Images.of(["a.png"]))
    with pytest.raises(DataError, match=r"a\.png: the size of the image is not known"):
        unknown.filter("width > 3")
    assert len(unknown.filter("image_width > 0")) == 0
    in_pixels = replace(unknown, annotations=replace(boxes, boxes=np.array([[0, 0, 5, 5.0]]), layout=Layout.XYXY_PX))
    with pytest.raises(DataError, match=r"a\.png: the size of the image is not known"):
        in_pixels.filter(min_area_frac=0.1)


def test_a_fraction_is_one(data):
    with pytest.raises(ConfigError, match="min_area_frac: expected a fraction in"):
        data.filter(min_area_frac=5)
    with pytest.raises(ConfigError, match="max_side: expected a number"):
        data.filter(max_side=float("nan"))


def test_the_command(tmp_path, real_data):
    """Counted in the XML files: boxes of more than 100 pixels, by another reader."""
    from xml.etree import ElementTree as ET

    wide = 0
    for path in sorted((real_data / "bccd" / "Annotations").glob("*.xml")):
        for found in ET.parse(path).iter("object"):
            box = {each.tag: float(each.text) for each in found.find("bndbox")}
            wide += found.find("name").text == "RBC" and box["xmax"] - box["xmin"] + 1 > 100
    done = subprocess.run(
        [sys.executable, "-m", "augsuite", "filter", "bccd", str(tmp_path / "out"), "--where",
         "width > 100 and category == 'RBC'", "--to", "coco", "--images", "none", "--json"],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = msgspec.json.decode(done.stdout)
    assert (said["boxes"], said["boxes_before"], said["images_before"]) == (wide, 4888, 364)
    written = msgspec.json.decode((tmp_path / "out" / "annotations" / "instances_train.json").read_bytes())
    assert {each["bbox"][2] > 100 for each in written["annotations"]} == {True}
