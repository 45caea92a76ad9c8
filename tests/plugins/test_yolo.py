"""YOLO: what others wrote is read, what we write others read, and what is wrong is said with file and line."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import peer_python, run_peer

from augsuite import conversion, registry
from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, UNREAD, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.parallel import using
from augsuite.engines.local import run as run_local
from augsuite.errors import DataError
from augsuite.testing.formats import read_or_refuse
from augsuite_yolo.labels import parse
from augsuite_yolo.lines import encode
from augsuite_yolo.paths import label_path

ULTRALYTICS = (
    "ultralytics==8.3.40", "ultralytics-thop==2.0.12", "py-cpuinfo", "psutil", "pandas", "matplotlib", "seaborn", "tqdm", "pytz",
    "python-dateutil", "six", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing", "packaging", "tzdata",
)  # fmt: skip
SHEET = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


@pytest.fixture
def folder(tmp_path, image_file):
    """A small dataset in the layout of Ultralytics, made by hand: images of 200 x 100."""
    root = tmp_path / "yolo"
    for name in ("train/a.jpg", "train/b.jpg", "val/a.jpg"):
        image_file(root / "images" / name, (200, 100))
    put(root, "data.yaml", SHEET)
    put(root, "labels/train/a.txt", "0 0.5 0.5 0.25 0.2\n1 0.1 0.2 0.1 0.4\n")
    put(root, "labels/train/b.txt", "")
    put(root, "labels/val/a.txt", "1 0.5 0.5 1 1")
    return root


def put(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def tables(data):
    """Name, split and boxes in pixels by class: what matters of a dataset."""
    return [
        (
            data.images.names[row],
            data.images.splits[row],
            [
                (data.categories.names[data.annotations.category_rows[at]], *data.boxes()[at].round(6).tolist())
                for at in data.rows_of(row)
            ],
        )
        for row in range(len(data))
    ]


EXPECTED = [
    ("a.jpg", "train", [("cat", 75.0, 40.0, 125.0, 60.0), ("dog", 10.0, 0.0, 30.0, 40.0)]),
    ("b.jpg", "train", []),
    ("a.jpg", "val", [("dog", 0.0, 0.0, 200.0, 100.0)]),
]


# Reading


def test_ultralytics_layout(folder):
    intake = Intake()
    data = conversion.read(folder, intake=intake)
    assert tables(data) == EXPECTED
    assert data.images.sizes.tolist() == [[200, 100]] * 3
    assert data.annotations.layout is Layout.CXCYWH_UNIT
    assert data.annotations.boxes[0].tolist() == [0.5, 0.5, 0.25, 0.2]
    assert not intake.notes
    assert tables(conversion.read(folder / "data.yaml")) == EXPECTED


@pytest.mark.parametrize(
    "sheet",
    [
        "path: .\ntrain: [images/train]\nval: ./images/val\nnc: 2\nnames:\n  0: cat\n  1: dog\n",
        "path: ../datasets/elsewhere\ntrain: ../images/train\nval: /content/data/yolo/images/val\nnames: ['cat', \"dog\"]\n",
        "train: lists/train.txt\nval: lists/val.txt\nnames: classes.txt\n",
    ],
)
def test_places_and_names_in_each_spelling(folder, sheet):
    put(folder, "lists/train.txt", f"./../images/train/a.jpg\n\n{folder}/images/train/b.jpg\r\n")
    put(folder, "lists/val.txt", "/gone/images/val/a.jpg\n")
    put(folder, "classes.txt", "cat\ndog\n\n")
    put(folder, "data.yaml", sheet)
    assert tables(conversion.read(folder, "yolo")) == EXPECTED


def test_roboflow_layout(folder):
    for split, place in (("train", "train"), ("val", "valid")):
        for kind in ("images", "labels"):
            shutil.copytree(folder / kind / split, folder / place / kind)
    shutil.rmtree(folder / "images")
    shutil.rmtree(folder / "labels")
    put(folder, "README.roboflow.txt", "Exported by hand")
    put(
        folder,
        "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"
        "roboflow:\n  version: 3\n",
    )
    intake = Intake()
    data = conversion.read(folder, intake=intake)
    assert tables(data) == EXPECTED
    assert data.extra["yolo.yaml"] == {"roboflow": {"version": 3}}
    assert ["test/images" in note for note in intake.notes] == [True]


def test_darknet_layout(folder):
    for split, place in (("train", "obj_train_data"), ("val", "obj_valid_data")):
        shutil.copytree(folder / "images" / split, folder / place)
        shutil.copytree(folder / "labels" / split, folder / place, dirs_exist_ok=True)
    for name in ("images", "labels"):
        shutil.rmtree(folder / name)
    (folder / "data.yaml").unlink()
    put(folder, "obj.names", "cat\ndog\n")
    put(
        folder,
        "obj.data",
        "classes = 2\ntrain = data/train.txt\nvalid=data/valid.txt\nnames = data/obj.names\nbackup = b/\n",
    )
    put(folder, "train.txt", "data/obj_train_data/b.jpg\ndata/obj_train_data/a.jpg\n")
    put(folder, "valid.txt", "data/obj_valid_data/a.jpg\n")
    assert tables(conversion.read(folder)) == [EXPECTED[1], EXPECTED[0], EXPECTED[2]]
    (folder / "obj.data").unlink()
    (folder / "train.txt").unlink()
    (folder / "valid.txt").unlink()
    assert tables(conversion.read(folder)) == EXPECTED


def test_labelimg_leaves_labels_images_and_classes_in_one_folder(folder):
    flat = folder / "flat"
    shutil.copytree(folder / "images/train", flat)
    shutil.copytree(folder / "labels/train", flat, dirs_exist_ok=True)
    put(flat, "notes.txt", "not a label")
    intake = Intake()
    data = conversion.read(flat, intake=intake)
    assert [(name, len(data.rows_of(row))) for row, name in enumerate(data.images.names)] == [
        ("a.jpg", 2),
        ("b.jpg", 0),
    ]
    assert data.categories.names.tolist() == ["0", "1"]
    assert any("called by their numbers" in note for note in intake.notes)
    put(flat, "classes.txt", "cat\ndog\n")
    assert tables(conversion.read(flat))[0][2] == EXPECTED[0][2]


def test_labels_without_images(folder):
    shutil.rmtree(folder / "images")
    intake = Intake()
    data = conversion.read(folder, intake=intake)
    assert data.images.names.tolist() == ["a", "b", "a"]
    assert data.images.splits.tolist() == ["train", "train", "val"]
    assert data.annotations.boxes[2].tolist() == [0.5, 0.5, 1, 1]
    assert any("have no image" in note for note in intake.notes)
    with pytest.raises(DataError, match="size of the image is not known"):
        data.boxes()


def test_polygons_and_scores(folder):
    put(folder, "labels/train/a.txt", "0 0.1 0.2 0.5 0.2 0.3 0.6 0.9\n1 0.1 0.2 0.1 0.4 0.25\n0 0 0 0.5 0 0.5 1 0 1\n")
    data = conversion.read(folder)
    shapes, scores = data.annotations.extra["segmentation"], data.annotations.extra["score"]
    np.testing.assert_allclose(shapes[0], [[20, 20, 100, 20, 60, 60]], rtol=0, atol=1e-12)
    np.testing.assert_allclose(shapes[2], [[0, 0, 100, 0, 100, 100, 0, 100]], rtol=0, atol=1e-12)
    assert shapes[1] is ABSENT
    assert scores.tolist() == [0.9, 0.25, ABSENT, ABSENT]
    np.testing.assert_allclose(data.boxes()[[0, 2]], [[20, 20, 100, 60], [0, 0, 100, 100]], rtol=0, atol=1e-12)
    unread = conversion.read(folder, intake=Intake(wants={"score"})).annotations.extra["segmentation"]
    assert unread.tolist() == [UNREAD, ABSENT, UNREAD, ABSENT]


def test_poses(folder, tmp_path):
    put(folder, "data.yaml", SHEET + "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n")
    put(folder, "labels/train/a.txt", "0 0.5 0.5 0.25 0.2 0.4 0.5 2 0.123456789012345 0.5 0\n")
    data = conversion.read(folder)
    assert data.annotations.extra["yolo.keypoints"].tolist() == [[0.4, 0.5, 2, 0.123456789012345, 0.5, 0], ABSENT]
    assert conversion.write(data, tmp_path / "out", "yolo") == {}
    assert (tmp_path / "out/labels/train/a.txt").read_text().split()[5:] == [
        "0.4",
        "0.5",
        "2.0",
        "0.123456789012345",
        "0.5",
        "0.0",
    ]
    again = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert (again["kpt_shape"], again["flip_idx"]) == ([2, 3], [1, 0])
    assert conversion.write(data, tmp_path / "dark", "yolo", layout="darknet") == {"yolo.keypoints": 1, "yolo.yaml": 1}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0 0.5 0.5 0.1", "expected a class and a box (5 columns) or a polygon (7 or more), got 4 columns"),
        ("0 0.5 x 0.1 0.1", "expected numbers, got 'x'"),
        ("0 0.5 0.5 0.1 1_0", "expected numbers, got '1_0'"),
        ("0 0.5 nan 0.1 0.1", "expected"),
        ("0 0.5 1e999 0.1 0.1", "expected"),
        ("0.5 0.5 0.5 0.1 0.1", "expected the number of a class, got 0.5"),
        ("-1 0.5 0.5 0.1 0.1", "expected the number of a class, got -1"),
        ("2 0.5 0.5 0.1 0.1", "class 2 is not one of the 2 that are named"),
        ("0 0.5 0.5 -0.1 0.1", "expected a width and height of 0 or more, got -0.1 and 0.1"),
        ("0 0.5 0.5 0.1 0.1 17", "expected a confidence from 0 to 1 at the end, got 17"),
        (b"0 0.5 0.5 0.1 \xff", "expected numbers"),
        ("0,0.5,0.5,0.1,0.1", "expected numbers, got '0,0.5,0.5,0.1,0.1'"),
    ],
)
def test_a_wrong_line_is_named_or_left_out(folder, line, problem):
    line = line if isinstance(line, bytes) else line.encode()
    put(folder, "labels/train/a.txt", b"0 0.5 0.5 0.25 0.2\r\n\r\n" + line + b"\r\n1 0.1 0.2 0.1 0.4\r\n")
    with pytest.raises(DataError) as caught:
        conversion.read(folder)
    assert f"{folder / 'labels/train/a.txt'}: line 3: {problem}" in str(caught.value)
    intake = Intake(skip_invalid=True)
    assert tables(conversion.read(folder, intake=intake)) == EXPECTED
    assert len(intake.skipped) == 1


@pytest.mark.parametrize(
    ("sheet", "problem"),
    [
        ("train: images/train\nval: images/val\nnames: [cat, cat]\n", "'cat' stands twice"),
        ("train: images/train\nval: images/val\nnames: [[cat]]\n", "expected a list of names"),
        ("train: {a: b}\nval: images/val\nnames: [cat]\n", "train: expected a folder"),
        ("train: images/train\nnames: [cat\nval: x", "line 3: not valid YAML"),
        ("train: nowhere\nval: images/nowhere\nnames: [cat]\n", "no images or labels at 'nowhere'"),
        ("train: images/train\nval: images/val\nnames: [cat, dog]\nkpt_shape: 17\n", "kpt_shape: expected"),
        ("train: images/train\nval: images/val\nnc: 99999999999999999\n", "number of a class"),
        ("train: images/train\nval: images/val\nnames: ../../secret.txt\n", "leads outside"),
    ],
)
def test_a_wrong_sheet_is_one_line(folder, sheet, problem):
    put(folder, "data.yaml", sheet)
    with pytest.raises(DataError, match=r"data\.yaml") as caught:
        conversion.read(folder, "yolo")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_list_does_not_lead_outside(folder, tmp_path, image_file):
    image_file(tmp_path / "secret/images/x.jpg", (10, 10))
    put(folder, "train.txt", "../secret/images/x.jpg\nimages/train/a.jpg\n")
    put(folder, "data.yaml", "train: train.txt\nval: images/val\nnames: [cat, dog]\n")
    with pytest.raises(DataError, match=r"train.txt: line 1: .*outside"):
        conversion.read(folder)
    assert tables(conversion.read(folder, skip_invalid=True)) == [EXPECTED[0], EXPECTED[2]]
    allowed = conversion.read(folder, intake=Intake(allow_outside=True))
    assert allowed.images.files[0] == str(tmp_path / "secret/images/x.jpg")


def test_two_keys_for_the_same_images(folder):
    put(folder, "data.yaml", "train: images/train\nval: images/train\nnames: [cat, dog]\n")
    assert conversion.read(folder).images.splits.tolist() == ["train", "train"]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.lists(st.floats(0, 1), min_size=4, max_size=4),
            st.sampled_from([" ", "  ", "\t"]),
            st.sampled_from(["\n", "\r\n", "\n\n", " \n"]),
        ),
        max_size=8,
    )
)
def test_numbers_are_read_as_python_reads_them(rows):
    text = "".join(gap.join([str(label), *map(repr, box)]) + end for label, box, gap, end in rows)
    found = parse([b"", text.encode(), b"\n"], None)
    assert found.problems == []
    assert found.classes.tolist() == [row[0] for row in rows]
    assert found.boxes.tolist() == [row[1] for row in rows]
    assert found.files.tolist() == [1] * len(rows)
    assert [
        [float(word) for word in line.split()[1:]] for line in encode([(r[0], *r[1]) for r in rows]).splitlines()
    ] == [row[1] for row in rows]


_WORDS = ["0", "1", "9", "-1", "0.5", ".5", "1e-3", "1e999", "nan", "0x1", "1_0", "\0", "\ufeff", "é", "names:", "[", "]", "{", "&a", "*a",
          "train:", "../x", "kpt_shape:", "[2, 3]", "nc:", "\t", "\r", "\n", "\n", "\n", "  ", "- ", "!!python/object", "2001-99-99"]  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["labels/train/a.txt", "data.yaml", "train.txt", "train.shapes", "obj.data", "obj.names"]),
    words=st.lists(st.sampled_from(_WORDS), max_size=14),
    skip=st.booleans(),
)
def test_any_words_are_read_or_refused(folder, name, words, skip):
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "yolo"
        shutil.copytree(folder, root)
        put(root, "train.txt", "images/train/a.jpg\n")
        put(root, "data.yaml", "train: train.txt\nval: images/val\nnames: [cat, dog]\n")
        put(root, name, " ".join(words))
        if name.startswith("obj"):
            (root / "data.yaml").unlink()
        spec = registry.default().formats()["yolo"]
        assert 0 <= spec.detect.load()(root) <= 1
        read_or_refuse(spec, root, skip_invalid=skip)


def test_samples_of_other_programs(real_data):
    for variant, split in (("labels", ["train", "val"]), ("annotations", [""]), ("strict", ["train"])):
        data = conversion.read(real_data / "format_samples/yolo_dataset" / variant)
        assert data.images.splits.tolist() == split
        assert data.categories.names.tolist() == [f"label_{number}" for number in range(10)]
        for row in range(len(data)):
            # the files say 0.133333 0.300000 0.266667 0.200000 and 0.266667 0.450000 0.133333 0.300000; the image is 15 x 10
            assert data.categories.names[data.annotations.category_rows[data.rows_of(row)]].tolist() == [
                "label_2",
                "label_4",
            ]
            np.testing.assert_allclose(data.boxes()[data.rows_of(row)], [[0, 2, 4, 4], [3, 3, 5, 6]], atol=1e-4)


# Writing


def made(image_file, root, **extra):
    """A dataset in pixels: two splits that share a name, one image without boxes."""
    for name in ("one.jpg", "two.jpg", "three.png"):
        image_file(root / name, (200, 100))
    return Dataset(
        Images.of(
            ["a.jpg", "a.jpg", "empty.png"],
            [[200, 100]] * 3,
            splits=["train", "val", "val"],
            files=["one.jpg", "two.jpg", "three.png"],
        ),
        Categories.of(["cat: 'x'", "no"]),
        Annotations.of(
            [0, 1, 0],
            [0, 1, 1],
            np.array([[75, 40, 125, 60], [10, 0, 30, 40], [1 / 3, 2 / 3, 150, 99]]),
            extra={key: objects(values) for key, values in extra.items()},
        ),
        root=root,
    )


def test_what_is_written(tmp_path, image_file):
    data = made(image_file, tmp_path / "given")
    assert conversion.write(data, tmp_path / "out", "yolo") == {}
    out = tmp_path / "out"
    assert (out / "labels/train/a.txt").read_text().splitlines()[0] == "0 0.5 0.5 0.25 0.2"
    assert (out / "labels/val/a.txt").read_text() == "1 0.1 0.2 0.1 0.4\n"
    assert (out / "labels/val/empty.txt").read_text() == ""
    assert (out / "val.txt").read_text() == "./images/val/a.jpg\n./images/val/empty.png\n"
    assert yaml.safe_load((out / "data.yaml").read_text()) == {
        "train": "train.txt",
        "val": "val.txt",
        "nc": 2,
        "names": {0: "cat: 'x'", 1: "no"},
    }
    back = conversion.read(out)
    np.testing.assert_allclose(back.boxes(), data.boxes()[[0, 2, 1]], rtol=0, atol=1e-9)


@pytest.mark.parametrize("layout", ["ultralytics", "darknet"])
def test_a_dataset_read_and_written_again_says_the_same(folder, tmp_path, layout):
    put(folder, "labels/train/a.txt", "0 0.1234567890123456 0.500000 2.5e-1 0.2 0.123\n1 0.1 0.2 0.1 0.4\n")
    put(
        folder,
        "labels/val/a.txt",
        "1 0.123457 0.7 0.333333333 0.1 0.9999999 0.123456789012345 0.1 0.2\n0 1 1 0.1 0.1 0.5\n",
    )
    data = conversion.read(folder)
    first, second = tmp_path / "first", tmp_path / "second"
    assert conversion.write(data, first, "yolo", layout=layout) == {}
    assert conversion.write(conversion.read(first), second, "yolo", layout=layout) == {}
    places = {
        "ultralytics": ["labels/train/a.txt", "labels/val/a.txt"],
        "darknet": ["obj_train_data/a.txt", "obj_val_data/a.txt"],
    }
    for given_name, written in zip(places["ultralytics"], places[layout], strict=True):
        numbers = [[float(word) for word in line.split()] for line in (folder / given_name).read_text().splitlines()]
        for place in (first, second):
            assert numbers == [
                [float(word) for word in line.split()] for line in (place / written).read_text().splitlines()
            ]


def test_one_polygon_fits_a_line(tmp_path, image_file):
    triangle, other = [20, 20, 100, 20, 60, 60], [0, 0, 10, 0, 10, 10]
    data = made(image_file, tmp_path / "given", segmentation=[[triangle], [triangle, other], ABSENT])
    data = replace(
        data,
        annotations=replace(data.annotations, boxes=np.array([[20, 20, 100, 60], [0, 0, 100, 60], [1, 2, 3, 4.0]])),
    )
    assert conversion.write(data, tmp_path / "boxes", "yolo") == {"segmentation": 2}
    assert conversion.write(data, tmp_path / "out", "yolo", task="segment") == {"segmentation": 1}
    lines = [(tmp_path / "out/labels" / name).read_text() for name in ("train/a.txt", "val/a.txt")]
    assert lines[0] == "0 0.1 0.2 0.5 0.2 0.3 0.6\n1 0.005 0.02 0.015 0.02 0.015 0.04 0.005 0.04\n"
    assert lines[1] == "1 0.0 0.0 0.5 0.0 0.5 0.6 0.0 0.6\n"
    data = replace(
        data,
        annotations=replace(data.annotations, boxes=np.array([[20, 20, 100, 61], [0, 0, 100, 60], [1, 2, 3, 4.0]])),
    )
    losses = conversion.write(data, tmp_path / "again", "yolo", task="segment")
    assert losses == {"segmentation": 1, "boxes drawn anew around their polygons": 1}


def test_what_ultralytics_refuses_is_cut_and_counted(tmp_path, image_file):
    data = made(image_file, tmp_path / "given")
    boxes = np.array([[-50, 10, 230, 50], [-4, 10, 30, 50], [190, 50, 240, 90.0]])
    data = replace(data, annotations=replace(data.annotations, boxes=boxes))
    assert conversion.write(data, tmp_path / "cut", "yolo") == {"boxes cut to the image": 2}
    found = conversion.read(tmp_path / "cut").boxes()
    np.testing.assert_allclose(found, [[0, 10, 200, 50], [190, 50, 200, 90], [-4, 10, 30, 50]], rtol=0, atol=1e-9)
    assert conversion.write(data, tmp_path / "kept", "yolo", clip="no") == {}
    np.testing.assert_allclose(conversion.read(tmp_path / "kept").boxes(), boxes[[0, 2, 1]], rtol=0, atol=1e-9)


def test_one_stem_with_two_suffixes(tmp_path, image_file):
    data = made(image_file, tmp_path / "given")
    data = replace(data, images=replace(data.images, names=objects(["a.jpg", "a.jpg", "a.png"])))
    assert conversion.write(data, tmp_path / "out", "yolo") == {"image names": 1}
    back = conversion.read(tmp_path / "out")
    assert back.images.names.tolist() == ["a.jpg", "a.jpg", "a_2.png"]
    assert np.bincount(back.annotations.image_rows, minlength=3).tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "splits", [["", "", ""], ["val", "val", "val"], ["train", "", "dev"], ["test", "test", "test"]]
)
@pytest.mark.parametrize("layout", ["ultralytics", "darknet"])
@pytest.mark.parametrize("images", ["copy", "none"])
def test_any_splits_come_back(tmp_path, image_file, splits, layout, images):
    data = made(image_file, tmp_path / "given")
    names = objects(["a.jpg", "b.jpg", "empty.png"])
    data = replace(data, images=replace(data.images, splits=objects(splits), names=names))
    assert conversion.write(data, tmp_path / "out", "yolo", layout=layout, images=images) == {}
    back = conversion.read(tmp_path / "out")
    assert dict(zip(back.images.names, back.images.splits, strict=True)) == dict(zip(names, splits, strict=True))
    assert sorted(back.images.sizes.tolist()) == [[200, 100]] * 3


def test_as_many_processes_as_allowed_write_and_read_the_same(tmp_path, image_file, monkeypatch):
    monkeypatch.setattr("augsuite_yolo.writer._BATCH", 1)
    monkeypatch.setattr("augsuite_yolo.reader._BATCH", 1)
    data = made(image_file, tmp_path / "given", score=[0.5, ABSENT, 1])
    found = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        with using(workers, run_local):
            conversion.write(data, out, "yolo")
            back = conversion.read(out)
        found.append(
            {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
            | {"boxes": back.boxes().tolist(), "score": back.annotations.extra["score"].tolist()}
        )
    assert found[0] == found[1]
    assert len(found[0]) == 13


@pytest.mark.parametrize("split", ["names", "path", "images", "a/b", " x"])
def test_a_split_that_no_sheet_can_name(tmp_path, image_file, split):
    data = made(image_file, tmp_path / "given")
    data = replace(
        data, images=replace(data.images, splits=objects([split] * 3), names=objects(["a.jpg", "b.jpg", "c.jpg"]))
    )
    with pytest.raises(DataError, match="split"):
        conversion.write(data, tmp_path / "out", "yolo")


def test_label_path_as_ultralytics_says_it():
    assert label_path("images/train/a.b.jpg") == "labels/train/a.b.txt"
    assert label_path("x/images/y/images/a.jpg") == "x/images/y/labels/a.txt"
    assert label_path("train/a.jpg") == "train/a.txt"


# Judges

_CHECK = """
import json, sys
from pathlib import Path
import numpy as np
from ultralytics.data.utils import check_det_dataset, verify_image_label, img2label_paths
from ultralytics.data.base import BaseDataset
found = check_det_dataset(sys.argv[1], autodownload=False)
result = {"names": found["names"], "nc": found["nc"]}
for split in ("train", "val"):
    rows = []
    files = BaseDataset.get_img_files(type("D", (), {"prefix": "", "fraction": 1.0})(), found[split])
    for image, label in zip(files, img2label_paths(files)):
        checked = verify_image_label((image, label, "", False, found["nc"], 0, 0))
        assert checked[0], checked[-1]
        assert Path(label).is_file() and not checked[-1], checked[-1]
        rows.append([Path(image).name, checked[1].tolist(), [part.tolist() for part in checked[3]], list(checked[2])])
    result[split] = rows
print("RESULT", json.dumps(result))
"""


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_ultralytics_accepts_what_we_write(tmp_path, image_file, task):
    pytest.importorskip("torch")
    python = peer_python("ultralytics", *ULTRALYTICS, borrow=True)
    triangle = [20, 20, 100, 20, 60, 60]
    data = made(image_file, tmp_path / "given", segmentation=[[triangle], ABSENT, ABSENT])
    boxes = np.array([[20, 20, 100, 60], [-60, -1, 300, 40], [1 / 3, 2 / 3, 150, 99]])
    data = replace(data, annotations=replace(data.annotations, boxes=boxes))
    conversion.write(data, tmp_path / "out", "yolo", task=task)
    said = run_peer(python, _CHECK, tmp_path / "out/data.yaml", home=tmp_path)
    found = json.loads(said.partition("RESULT ")[2])
    assert found["names"] == {"0": "cat: 'x'", "1": "no"}
    (train,), val = found["train"], sorted(found["val"])
    np.testing.assert_allclose(
        train[1], [[0, 0.3, 0.4, 0.4, 0.4], [1, 0.37583333, 0.49833333, 0.74833333, 0.98333333]], atol=1e-6
    )
    np.testing.assert_allclose(val[0][1], [[1, 0.5, 0.2, 1, 0.4]], atol=1e-6)
    assert [row[0] for row in val] == ["a.jpg", "empty.png"]
    assert val[1][1] == []
    if task == "segment":
        np.testing.assert_allclose(train[2][0], [[0.1, 0.2], [0.5, 0.2], [0.3, 0.6]], atol=1e-6)


_SUPERVISION = """
import json, sys
from pathlib import Path
import supervision
root = Path(sys.argv[1])
found = supervision.DetectionDataset.from_yolo(str(root / "images/train"), str(root / "labels/train"), str(root / "data.yaml"))
rows = {Path(path).name: [d.xyxy.tolist(), d.class_id.tolist()] for path, _, d in found}
found.as_yolo(sys.argv[2] + "/images", sys.argv[2] + "/labels", sys.argv[2] + "/data.yaml")
print("RESULT", json.dumps([found.classes, rows]))
"""


def test_supervision_reads_what_we_write_and_we_read_what_it_writes(tmp_path, image_file):
    python = peer_python("supervision", "supervision==0.25.1")
    data = made(image_file, tmp_path / "given")
    names = objects(["a.jpg", "b.jpg", "empty.png"])
    data = replace(data, images=replace(data.images, splits=objects(["train"] * 3), names=names))
    data = replace(data, categories=Categories.of(["cat", "dog"]))
    conversion.write(data, tmp_path / "out", "yolo")
    said = run_peer(python, _SUPERVISION, tmp_path / "out", tmp_path / "theirs", home=tmp_path)
    classes, rows = json.loads(said.partition("RESULT ")[2])
    assert classes == ["cat", "dog"]
    np.testing.assert_allclose(rows["a.jpg"][0], [[75, 40, 125, 60], [1 / 3, 2 / 3, 150, 99]], atol=1e-3)
    np.testing.assert_allclose(rows["b.jpg"][0], [[10, 0, 30, 40]], atol=1e-3)
    assert (rows["a.jpg"][1], rows["b.jpg"][1], rows["empty.png"][1]) == ([0, 1], [1], [])
    back = conversion.read(tmp_path / "theirs")
    assert back.categories.names.tolist() == ["cat", "dog"]
    order = np.argsort(back.images.names[back.annotations.image_rows], kind="stable")
    # it writes five decimals
    np.testing.assert_allclose(back.boxes()[order], data.boxes()[[0, 2, 1]], atol=3e-3)


def test_predictions_as_ultralytics_leaves_them(tmp_path, image_file):
    image_file(tmp_path / "a b.jpg", (64, 48))
    put(tmp_path, "labels/a b.txt", "1 0.5 0.5 0.25 0.5 0.91\n")
    data = conversion.read(tmp_path)
    assert data.images.files.tolist() == ["a b.jpg"]
    assert data.annotations.boxes.tolist() == [[0.5, 0.5, 0.25, 0.5]]
    assert data.annotations.extra["score"].tolist() == [0.91]


def test_a_byte_order_mark_is_no_part_of_the_first_number(tmp_path, image_file):
    image_file(tmp_path / "images" / "a.jpg", (64, 48))
    put(tmp_path, "labels/a.txt", "\ufeff1\t0.5\t0.5\t0.25\t0.5\r\n")
    data = conversion.read(tmp_path)
    assert data.annotations.boxes.tolist() == [[0.5, 0.5, 0.25, 0.5]]
