"""The OpenImages plugin: files made by hand, Datumaro's samples, and the CSV that comes out, read by Python's csv module."""

from __future__ import annotations

import csv

import pytest

import augsuite
from augsuite.dataset import ABSENT
from augsuite.errors import DataError

HEAD = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"


@pytest.fixture
def folder(tmp_path, image_file):
    home = tmp_path / "annotations"
    home.mkdir()
    (home / "class-descriptions-boxable.csv").write_text("/m/1,Cat\n/m/2,Dog\n")
    (home / "train-annotations-bbox.csv").write_text(
        f"{HEAD}\na,xclick,/m/2,1,0.1,0.5,0.2,1,1,0,1,0,-1\nb,activemil,/m/1,0.75,0,0.25,0,0.5,-1,-1,-1,-1,-1\n"
    )
    (home / "train-annotations-human-imagelabels.csv").write_text(
        "ImageID,Source,LabelName,Confidence\na,verification,/m/1,1\nb,verification,/m/2,0\n"
    )
    image_file(tmp_path / "images" / "train" / "a.jpg", (100, 50))
    image_file(tmp_path / "images" / "train" / "b.jpg", (80, 40))
    return tmp_path


def test_what_a_file_says(folder):
    data = augsuite.read(folder)  # detected as OpenImages, not as any CSV
    table = data.annotations
    assert data.images.names.tolist() == ["a.jpg", "b.jpg"]
    assert data.images.splits.tolist() == ["train", "train"]
    assert data.categories.names.tolist() == ["Cat", "Dog"]
    assert table.category_rows.tolist() == [1, 0, 0]
    assert table.boxes[:2].tolist() == [[0.1, 0.2, 0.5, 1], [0, 0, 0.25, 0.5]]
    assert table.is_box.tolist() == [True, True, False]
    assert table.ignore.tolist() == [True, False, False]
    assert table.extra["score"].tolist() == [ABSENT, 0.75, ABSENT]
    assert table.extra["openimages.IsOccluded"].tolist() == ["1", ABSENT, ABSENT]
    assert data.images.extra["openimages.absent"].tolist() == [ABSENT, [["/m/2", "verification"]]]


def test_the_rows_come_out_as_they_went_in(folder, tmp_path):
    augsuite.write(augsuite.read(folder), tmp_path / "out", "openimages")
    for name in ("train-annotations-bbox.csv", "train-annotations-human-imagelabels.csv"):
        rows = []
        for place in (folder, tmp_path / "out"):
            with (place / "annotations" / name).open(newline="") as opened:
                rows.append(list(csv.DictReader(opened)))
        assert rows[0] == rows[1]
    described = (tmp_path / "out" / "annotations" / "class-descriptions-boxable.csv").read_text()
    assert described == "/m/1,Cat\n/m/2,Dog\n"
    assert (tmp_path / "out" / "images" / "train" / "a.jpg").is_file()


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("a,x,/m/1,1,0.5,0.1,0,1,0,0,0,0,0", "line 2: expected an image, a label and corners"),
        ("a,x,/m/1,1,0.1,oops,0,1,0,0,0,0,0", "line 2: expected an image, a label and corners"),
        ("a,x,/m/1,1,0.1,0.2", "line 2: expected 13 columns, got 6"),
        ("a,x,/m/1,very,0.1,0.2,0,1,0,0,0,0,0", "line 2: expected an image, a label and corners"),
    ],
)
def test_an_invalid_row_is_named_and_can_be_left_out(tmp_path, row, line):
    file = tmp_path / "train-annotations-bbox.csv"
    file.write_text(f"{HEAD}\n{row}\nb,x,/m/1,1,0.1,0.2,0,1,0,0,0,0,0\n")
    with pytest.raises(DataError, match=line):
        augsuite.read(tmp_path)
    assert augsuite.read(tmp_path, skip_invalid=True).images.names.tolist() == ["b"]


def test_the_samples_of_datumaro(real_data):
    data = augsuite.read(real_data / "format_samples" / "open_images_dataset" / "v6")
    assert dict(zip(data.images.names, data.images.splits, strict=True)) == {
        "a.jpg": "train", "b.jpg": "train", "c.jpg": "test", "d.png": "validation",
    }  # fmt: skip
    assert data.annotations.is_box.sum() == 2
    assert data.categories.names.tolist() == [f"Generic label #{number}" for number in range(4)]
    older = augsuite.read(real_data / "format_samples" / "open_images_dataset" / "v5")
    assert sorted(older.images.names) == ["aa.jpg", "cc.jpg"]
