"""The CSV plugin: files made by hand, and the real files against their own XML."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import augsuite
from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Intake
from augsuite.dataset.delimited import numbers
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite.testing.examples import example_datasets
from augsuite_csv import reader
from augsuite_csv.writer import write_parts


def put(folder, text, name="a.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "row", "layout", "box"),
    [
        ("filename,class,xmin,ymin,xmax,ymax", "i.jpg,cat,1,2,30,40", Layout.XYXY_PX, [1, 2, 30, 40]),
        ("filename,cell_type,xmin,xmax,ymin,ymax", "i.jpg,cat,1,30,2,40", Layout.XYXY_PX, [1, 2, 30, 40]),
        ("Image Name;Label;X-Min;Y-Min;X-Max;Y-Max", "i.jpg;cat;1;2;30;40", Layout.XYXY_PX, [1, 2, 30, 40]),
        ("path\tlabel\tx1\ty1\tx2\ty2", "i.jpg\tcat\t1\t2\t30\t40", Layout.XYXY_PX, [1, 2, 30, 40]),
        ("label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height", "cat,1,2,30,40,i.jpg,99,88", Layout.XYWH_PX, [1, 2, 30, 40]),
        ("image,class,x,y,width,height", "i.jpg,cat,1,2,30,40", Layout.XYWH_PX, [1, 2, 30, 40]),
        ("image,class,x_center,y_center,width,height", "i.jpg,cat,10,20,3,4", Layout.CXCYWH_PX, [10, 20, 3, 4]),
        ("image,class,xmin_norm,ymin_norm,xmax_norm,ymax_norm", "i.jpg,cat,0.1,0.2,0.3,1", Layout.XYXY_UNIT, [0.1, 0.2, 0.3, 1]),
        ("image,class,xmin_px,ymin_px,xmax_px,ymax_px", "i.jpg,cat,0,0,1,1", Layout.XYXY_PX, [0, 0, 1, 1]),
        ("ImageID,LabelName,XMin,XMax,YMin,YMax", "i,cat,0.1,0.3,0.2,1", Layout.XYXY_UNIT, [0.1, 0.2, 0.3, 1]),
    ],
)  # fmt: skip
def test_headers(tmp_path, header, row, layout, box, image_file):
    image_file(tmp_path / "images" / "i.jpg", (99, 88))
    data = augsuite.read(put(tmp_path, f"{header}\n{row}\n"))
    assert data.annotations.layout is layout
    assert data.annotations.boxes.tolist() == [box]
    assert data.categories.names.tolist() == ["cat"]
    assert data.images.sizes.tolist() == [[99, 88]]
    assert data.images.files.tolist() == ["images/i.jpg"]


def test_width_and_height_are_the_images_where_corners_say_the_box(tmp_path):
    data = augsuite.read(
        put(tmp_path, "filename,width,height,class,xmin,ymin,xmax,ymax\ni.jpg,640,480,cat,1,2,30,40\n")
    )
    assert data.images.sizes.tolist() == [[640, 480]]
    assert data.annotations.boxes.tolist() == [[1, 2, 30, 40]]


def test_rows_without_a_box_and_columns_beyond(tmp_path):
    text = (
        "filename,class,xmin,ymin,xmax,ymax,split,difficult,note\n"
        "a.jpg,cat,1,2,3,4,train,0,0.5\nb.jpg,,,,,,val,,\nc.jpg,dog,,,,,val,,\na.jpg,dog,5,6,7,8,train,1,\n"
    )
    data = augsuite.read(put(tmp_path, text))
    assert data.images.names.tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert data.images.splits.tolist() == ["train", "val", "val"]
    assert data.annotations.is_box.tolist() == [True, False, True]
    assert data.annotations.image_rows.tolist() == [0, 2, 0]
    assert data.annotations.ignore.tolist() == [False, False, True]
    assert data.annotations.extra["csv.note"].tolist() == ["0.5", ABSENT, ABSENT]


@pytest.mark.parametrize("largest", ["0.9", "1", "1.0004"])  # the last is drawn a little over the border
def test_units_are_asked_for_where_nothing_says_them(tmp_path, largest):
    file = put(tmp_path, f"filename,class,xmin,ymin,xmax,ymax\ni.jpg,cat,0.1,0.2,0.5,{largest}\n")
    with pytest.raises(DataError, match="--option units=unit or --option units=pixel"):
        augsuite.read(file)


def test_units_by_option(tmp_path, image_file):
    image_file(tmp_path / "i.jpg", (100, 50))
    file = put(tmp_path, "filename,class,xmin,ymin,xmax,ymax\ni.jpg,cat,0.1,0.2,0.5,1\n")
    with pytest.raises(DataError, match="--option units=unit or --option units=pixel"):
        augsuite.read(file)
    assert augsuite.read(file, units="unit").boxes().tolist() == [[10, 10, 50, 50]]
    assert augsuite.read(file, units="pixel").boxes().tolist() == [[0.1, 0.2, 0.5, 1]]


def test_origin_one_is_vocs(tmp_path):
    file = put(tmp_path, "filename,class,xmin,ymin,xmax,ymax\ni.jpg,cat,1,1,10,20\n")
    intake = Intake()
    assert augsuite.read(file, intake=intake).annotations.boxes.tolist() == [[1, 1, 10, 20]]
    assert [note for note in intake.notes if "--option origin=1" in note]
    for origin, boxes in (("0", [[1, 1, 10, 20]]), ("1", [[0, 0, 10, 20]])):
        intake = Intake()
        assert augsuite.read(file, intake=intake, origin=origin).annotations.boxes.tolist() == boxes
        assert not [note for note in intake.notes if "--option origin" in note]
    put(tmp_path, "filename,class,xmin,ymin,xmax,ymax\ni.jpg,cat,1,1,10,20\nj.jpg,cat,0,1,10,20\n")
    intake = Intake()
    augsuite.read(file, intake=intake)
    assert not [note for note in intake.notes if "--option origin" in note]


def test_lines_end_where_csv_says(tmp_path):
    """Not at U+2028 or a form feed within a cell; at a lone carriage return; a row of empty cells says nothing."""
    header = "filename,class,xmin,ymin,xmax,ymax"
    rows = ["a.jpg,left\u2028right\x0cend,1,2,3,4", ",,,,,", " ", '"b.jpg","two\nlines",1,2,3,4']
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "a.csv").write_bytes((end.join([header, *rows]) + end).encode())
        data = augsuite.read(tmp_path)
        assert data.images.names.tolist() == ["a.jpg", "b.jpg"]
        assert data.categories.names.tolist() == ["left\u2028right\x0cend", "two\nlines"]


def test_half_a_box_is_never_taken_for_a_label_of_the_image(tmp_path):
    put(tmp_path, "filename,class,xmin,ymin,xmax\na.jpg,cat,1,2,3\n")
    with pytest.raises(DataError, match="'xmin, ymin, xmax' speak of a box"):
        augsuite.read(tmp_path)


def test_several_files_are_splits(tmp_path):
    put(tmp_path, "filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,1,2,3,4\n", "train.csv")
    put(tmp_path, "filename,class,xmin,ymin,xmax,ymax\nb.jpg,cat,1,2,3,4\n", "val.csv")
    put(tmp_path, "when,who\n1,2\n", "log.csv")
    intake = Intake()
    data = augsuite.read(tmp_path, intake=intake)
    assert dict(zip(data.images.names, data.images.splits, strict=True)) == {"a.jpg": "train", "b.jpg": "val"}
    assert any("log.csv: left aside" in note for note in intake.notes)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("i.jpg,cat,1,2,3", "line 3: expected 6 columns as in the header, got 5. Fix the file, or pass --skip-invalid to leave out 1 of 2 rows."),
        ("i.jpg,cat,1,2,NaN,4", "line 3: box: expected a number, got 'NaN'"),
        ("i.jpg,cat,1,2,1e308,4", "line 3: box: expected a number, got '1e308'"),
        ("i.jpg,cat,1_0,2,30,4", "line 3: box: expected a number, got '1_0'"),
        ("i.jpg,cat,1,2,,4", "line 3: box: expected a number, got ''"),
        ("i.jpg,cat,9,2,3,4", "line 3: box: expected a width and height of 0 or more"),
        ("i.jpg,,1,2,3,4", "line 3: expected a class for the box"),
        (",cat,1,2,3,4", "line 3: expected the name of an image"),
        ("../../i.jpg,cat,1,2,3,4", "line 3: the name '../../i.jpg' leads outside"),
    ],
)  # fmt: skip
def test_an_invalid_row_is_named_and_can_be_left_out(tmp_path, row, line):
    file = put(tmp_path, f"filename,class,xmin,ymin,xmax,ymax\ngood.jpg,cat,1,2,30,40\n{row}\n")
    with pytest.raises(DataError) as error:
        augsuite.read(file)
    assert f"{file}: {line}" in str(error.value)
    data = augsuite.read(file, skip_invalid=True)
    assert data.images.names.tolist() == ["good.jpg"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"filename,xmin,ymin,xmax,ymax\n", "line 1: expected a header with a column for the class"),
        (b"class,xmin,ymin,xmax,ymax\n", "line 1: expected a header with a column for the image"),
        (b"filename,class,xmin,ymin,xmax\n", "line 1: 'xmin, ymin, xmax' speak of a box"),
        (b"filename,class,xmin_percent,ymin_percent,xmax_percent,ymax_percent\n", "line 1: 'xmin_percent, ymin_percent"),
        (b"filename,class,bbox\n", "line 1: 'bbox' speak of a box"),
        (b'filename,class,note\n"a.jpg,cat,1\n', "not CSV (unexpected end of data)"),
        (b"filename,class\ncaf\xe9.jpg,cat\n", "line 2, byte 18: expected UTF-8 text, got 0xe9"),
        (b"", "line 1: expected a header"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named(tmp_path, content, line):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(DataError) as error:
        augsuite.read(file)
    assert line in str(error.value)
    assert str(file) in str(error.value)


def test_the_standard_library_reads_what_we_write(tmp_path):
    source = augsuite.Dataset(
        augsuite.Images.of(["a, b.jpg", "none.jpg"], [[10, 20], [5, 5]], splits=["train", "val"]),
        augsuite.Categories.of(['the "x"']),
        augsuite.Annotations.of([0], [0], [[1.5, 2, 1 / 3 + 3, 4]]),
    )
    augsuite.write(source, tmp_path / "out", "csv")
    with (tmp_path / "out" / "annotations.csv").open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["filename"], row["class"], row["split"]) for row in rows] == [
        ("a, b.jpg", 'the "x"', "train"),
        ("none.jpg", "", "val"),
    ]
    assert [float(rows[0][key]) for key in ("xmin", "ymin", "xmax", "ymax")] == [1.5, 2, 1 / 3 + 3, 4]
    assert (rows[0]["width"], rows[0]["height"]) == ("10", "20")


@pytest.mark.parametrize("layout", list(Layout))
def test_the_same_format_is_exact_in_every_layout(tmp_path, layout):
    header = {"xyxy": "xmin,ymin,xmax,ymax", "xywh": "bbox_x,bbox_y,bbox_w,bbox_h", "cxcywh": "cx,cy,w,h"}[
        layout.corners
    ]
    rng = np.random.default_rng(3)
    boxes = np.sort(rng.random((300, 4)), axis=1) * (1 if layout.unit else 500)
    lines = [f"i.jpg,640,480,cat,{','.join(repr(value) for value in box)}" for box in boxes.tolist()]
    source = tmp_path / "in.csv"
    source.write_text("\n".join([f"filename,image_width,image_height,class,{header}", *lines]))
    data = augsuite.read(source, units="unit" if layout.unit else "pixel")
    assert data.annotations.layout is layout
    assert data.annotations.boxes.tolist() == boxes.tolist()
    augsuite.write(data, tmp_path / "out", "csv")
    back = augsuite.read(tmp_path / "out")
    assert back.annotations.layout is layout
    assert back.annotations.boxes.tolist() == boxes.tolist()


def _boxes(data):
    corners = data.boxes().tolist()
    table = data.annotations
    return Counter(
        (data.images.names[image], data.categories.names[category], *box)
        for image, category, box in zip(table.image_rows, table.category_rows, corners, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "file", "count"), [("raccoon", "data/raccoon_labels.csv", 217), ("bccd", "test.csv", 4888)]
)
def test_the_real_csv_says_what_the_real_xml_says(real_data, name, file, count):
    from_csv = augsuite.read(real_data / name / file, origin="1")
    assert len(from_csv.annotations) == count
    assert (from_csv.images.files != "").all()
    assert _boxes(from_csv) == _boxes(augsuite.read(real_data / name, "voc"))


HEADS = ("filename,class,xmin,ymin,xmax,ymax,width,height,split,note", "image;label;ignore;x;y;w;h;score")
CELLS = st.sampled_from(
    [
        "a.jpg",
        "b",
        " c ",
        "",
        "1",
        "2.5",
        "7",
        "0",
        "1e3",
        " 4 ",
        "train",
        "true",
        "-0",
        '"q"',
        '"q',
        "n\u00a0",
        "inf",
        "+3",
        "1_0",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.sampled_from(HEADS), rows=st.lists(st.lists(CELLS, min_size=8, max_size=10), max_size=8), data=st.data())
def test_columns_read_what_rows_read(tmp_path, head, rows, data):
    """The fast way and the row-by-row way, which is Python's own csv module, agree wherever the fast one does not decline."""
    mark = "," if "," in head else ";"
    plain = [
        ["a.jpg", "cat", "1", "2", "30", "40", "640", "480", "train", "x"],
        ["b.jpg", "dog", "0", "1", "2", "3", "4", "0.5"],
    ]
    for row in rows:
        if data.draw(st.booleans()):
            row[:] = plain[mark == ";"]
    file = put(tmp_path, "\n".join([head, *(mark.join(row) for row in rows)]))
    try:
        fast, layout = reader._read_columns([file], Intake(), "pixel")
    except reader.UnusualError:
        return
    slow, other = reader._read_rows([file], Intake(), "pixel")
    assert (fast.images, fast.splits, fast.files, fast.categories, layout) == (
        slow.images, slow.splits, slow.files, slow.categories, other,
    )  # fmt: skip
    for name in ("sizes", "image_rows", "category_rows", "boxes", "ignore"):
        assert np.array_equal(getattr(fast, name), getattr(slow, name), equal_nan=name == "boxes"), name
    assert {key: list(values) for key, values in fast.extra.items()} == {
        key: list(values) for key, values in slow.extra.items()
    }


def test_numbers_are_written_so_that_they_read_back(tmp_path):
    values = np.array(
        [0.0, -0.0, 5e-324, 1e-7, 0.1, 1 / 3, 12.0, 12.25, 100000.0, 2621.44, 2**53 + 2, 1e16, -1.5, 0.07, 123456.78]
    )
    text = numbers(values).to_pylist()
    assert [float(each) for each in text] == values.tolist()
    assert text[6:9] == ["12", "12.25", "100000"]
    assert numbers(np.array([np.nan, 1.0])).to_pylist() == [None, "1"]


def test_the_same_bytes_however_the_dataset_is_cut(tmp_path):
    whole = example_datasets(tmp_path / "given")["hard"]
    written = []
    for number, cuts in enumerate(([6], [1, 2, 3], [2, 4])):
        folder = tmp_path / str(number)
        folder.mkdir()
        stops = np.cumsum(cuts)
        parts = [whole.take(np.arange(stop - count, stop)) for stop, count in zip(stops, cuts, strict=True)]
        paths = [path for part in write_parts(parts, folder, Losses()) for path in part]
        written.append(((folder / "annotations.csv").read_bytes(), paths))
        assert [path.name for path in folder.iterdir()] == ["annotations.csv"]
    assert written[0] == written[1] == written[2]


def test_a_score_is_the_common_score(tmp_path):
    head = "filename,class,xmin,ymin,xmax,ymax"
    file = put(tmp_path, f"{head},confidence\na.jpg,cat,1,2,3,4,0.50\na.jpg,cat,1,2,3,5,\n")
    data = augsuite.read(file)
    assert data.annotations.extra["score"].tolist() == [0.5, ABSENT]
    augsuite.write(data, tmp_path / "out", "csv")
    assert augsuite.read(tmp_path / "out").annotations.extra["score"].tolist() == [0.5, ABSENT]
    file = put(tmp_path, f"{head},confidence\na.jpg,cat,1,2,3,4,high\n", "text.csv")
    assert augsuite.read(file).annotations.extra["csv.confidence"].tolist() == ["high"]


def test_a_folder_for_each_split_with_a_file_beside_the_images(tmp_path, image_file):
    for split, label in (("train", "dog"), ("valid", "cat")):
        image_file(tmp_path / split / "a.jpg", (64, 48))
        put(tmp_path / split, f"filename,class,xmin,ymin,xmax,ymax\na.jpg,{label},0,2,20,30\n", "_annotations.csv")
    data = augsuite.read(tmp_path)
    assert data.images.names.tolist() == ["a.jpg", "a.jpg"]
    assert data.images.splits.tolist() == ["train", "valid"]
    assert data.images.files.tolist() == ["train/a.jpg", "valid/a.jpg"]
    assert [data.categories.names[row] for row in data.annotations.category_rows] == ["dog", "cat"]
    assert data.annotations.boxes.tolist() == [[0, 2, 20, 30]] * 2
