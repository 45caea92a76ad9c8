"""The COCO plugin: hand-made files, and pycocotools and torchvision as judges."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

import augsuite
from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Intake
from augsuite.errors import DataError

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "coco"
FILE = "annotations/instances_val2017.json"


def document():
    return json.loads((GOLDEN / FILE).read_bytes())


def put(folder, content, name="instances_val2017.json"):
    (folder / "annotations").mkdir(exist_ok=True, parents=True)
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "annotations" / name).write_bytes(text)
    return folder


def test_a_file_becomes_tables():
    data = augsuite.read(GOLDEN)
    assert data.images.names.tolist() == ["000000000139.jpg", "000000000285.jpg"]
    assert data.images.ids.tolist() == [139, 285]
    assert data.images.sizes.tolist() == [[640, 426], [586, 640]]
    assert data.images.splits.tolist() == ["val2017", "val2017"]
    assert data.images.files.tolist() == ["", ""]
    assert data.categories.names.tolist() == ["potted plant", "tv", "toothbrush"]
    assert data.categories.ids.tolist() == [64, 72, 90]
    assert data.categories.extra["coco.supercategory"].tolist() == ["furniture", "electronic", ABSENT]
    table = data.annotations
    assert table.layout is Layout.XYWH_PX
    assert table.boxes.tolist() == [[236.98, 142.51, 24.7, 69.5], [7, 167.76, 149.32, 94.87]]
    assert table.ids.tolist() == [26547, 900100581904]
    assert table.ignore.tolist() == [False, True]
    assert table.category_rows.tolist() == [0, 1]
    assert table.extra["coco.area"].tolist() == [2765.1486500000005, 8.5]
    assert table.extra["coco.num_keypoints"].tolist() == [1, ABSENT]
    assert msgspec.json.decode(table.extra["segmentation"][1]) == {"counts": [272, 2, 4], "size": [426, 640]}
    assert data.extra["coco.info"] == {"description": "made by hand", "year": 2026}


def test_the_same_values_come_out(tmp_path):
    losses = augsuite.write(augsuite.read(GOLDEN), tmp_path / "out", "coco", lossless=True)
    assert not losses
    assert json.loads((tmp_path / "out" / FILE).read_bytes()) == document()


def test_keys_that_nobody_knows_come_out_again(tmp_path):
    given = document()
    given["images"][1]["camera"] = None
    given["annotations"][0]["verdict"] = [0.5, {"a": "é"}]
    given["categories"][2]["colour"] = "red"
    given["reviewed"] = True
    data = augsuite.read(put(tmp_path, given))
    assert data.images.extra["coco.camera"].tolist() == [ABSENT, None]
    augsuite.write(data, tmp_path / "out", "coco")
    assert json.loads((tmp_path / "out" / FILE).read_bytes()) == given


def test_pycocotools_reads_what_we_write(tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    source = augsuite.Dataset(
        augsuite.Images.of(["a.jpg", "b.jpg"], [[10, 20], [30, 40]]),
        augsuite.Categories.of(["x", "y"]),
        augsuite.Annotations.of([1, 0, 1], [1, 0, 0], [[1, 2, 4, 6], [0, 0, 10, 20], [5, 5, 6, 7.5]], ignore=[0, 0, 1]),
    )
    augsuite.write(source, tmp_path / "out", "coco")
    read = coco.COCO(str(tmp_path / "out" / "annotations" / "instances.json"))
    assert [read.anns[key]["bbox"] for key in (1, 2, 3)] == [[1, 2, 3, 4], [0, 0, 10, 20], [5, 5, 1, 2.5]]
    assert [read.anns[key]["area"] for key in (1, 2, 3)] == [12, 200, 2.5]
    assert [read.anns[key]["iscrowd"] for key in (1, 2, 3)] == [0, 0, 1]
    assert {image["file_name"]: (image["width"], image["height"]) for image in read.imgs.values()} == {
        "a.jpg": (10, 20),
        "b.jpg": (30, 40),
    }
    results = read.loadRes([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 20], "score": 1.0}])
    judge = evaluation.COCOeval(read, results, "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert judge.stats[0] == pytest.approx(0.5)  # one of two classes found: class y has one box and no detection
    capsys.readouterr()


def test_torchvision_finds_images_and_boxes(tmp_path, image_file):
    datasets = pytest.importorskip("torchvision.datasets")
    image_file(tmp_path / "in" / "train" / "a.jpg", (12, 8))
    given = {
        "images": [{"id": 5, "file_name": "a.jpg", "width": 12, "height": 8}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    (tmp_path / "in" / "train" / "_annotations.coco.json").write_text(json.dumps(given))
    augsuite.convert(tmp_path / "in", tmp_path / "out", "coco")
    judge = datasets.CocoDetection(tmp_path / "out/images/train", tmp_path / "out/annotations/instances_train.json")
    image, targets = judge[0]
    assert image.size == (12, 8)
    assert [target["bbox"] for target in targets] == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("place", "split"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/person_keypoints_val.json", "val"),
        ("annotations/train.json", "train"),
        ("annotations/instances.json", ""),
        ("anything.json", ""),
        ("train/_annotations.coco.json", "train"),
        ("valid/labels.json", "valid"),
    ],
)
def test_layouts_and_splits(tmp_path, place, split, image_file):
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    shutil.copy(GOLDEN / FILE, file)
    home = file.parent if file.parent.name != "annotations" else tmp_path / "images" / split
    image_file(home / "000000000139.jpg", (640, 426))
    for named in (tmp_path, file):
        data = augsuite.read(named)
        assert set(data.images.splits) == {split}
        assert data.path(0) == home / "000000000139.jpg"


def test_files_are_merged_by_category_name(tmp_path):
    first = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 5, "height": 5}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [0, 0, 1, 1]}],
    }
    second = {
        "images": [{"id": 1, "file_name": "b.jpg", "width": 5, "height": 5}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "bird"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]},
            {"id": 2, "image_id": 1, "category_id": 2, "bbox": [0, 0, 3, 3]},
        ],
    }
    put(put(tmp_path, second, "instances_val.json"), first, "instances_train.json")
    intake = Intake()
    data = augsuite.read(tmp_path, intake=intake)
    assert data.images.splits.tolist() == ["train", "val"]  # in the order of a training, not of the alphabet
    assert data.categories.names.tolist() == ["cat", "dog", "bird"]
    assert data.categories.ids.tolist() == [1, 2, 3]
    assert [data.categories.names[row] for row in data.annotations.category_rows] == ["dog", "dog", "bird"]
    assert data.images.ids.tolist() == [1, 2]
    assert data.annotations.ids.tolist() == [1, 2, 3]
    assert len(intake.notes) == 6  # two files of images without a file, ids of images, of annotations, of dog, of bird
    assert any("bird" in note for note in intake.notes)


@pytest.mark.parametrize("part", ["image", "annotation", "category"])
def test_an_id_that_cannot_be_moved_up_is_refused(tmp_path, part):
    largest = 2**63 - 1
    image = {"id": largest if part == "image" else 1, "file_name": "a.jpg", "width": 5, "height": 5}
    box = {"image_id": image["id"], "category_id": 1, "bbox": [0, 0, 1, 1]}
    for split in ("train", "val"):
        category = {"id": largest, "name": split} if part == "category" else {"id": 1, "name": "x"}
        boxes = {"image": [], "category": [], "annotation": [{**box, "id": largest}, box]}[part]
        put(
            tmp_path,
            {"images": [image], "categories": [category], "annotations": boxes},
            f"instances_{split}.json",
        )
    with pytest.raises(DataError, match="more than 64 bits hold"):
        augsuite.read(tmp_path)


def _box(value):
    return lambda given: given["annotations"][1].update(bbox=value)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (_box([1, 2, 3]), "annotations[1].bbox: expected 4 numbers, got 3. Fix the file, or pass --skip-invalid to leave out 1 of 2 rows."),
        (_box([1, 2, 3, "4"]), "annotations[1].bbox[3]: expected float, got str"),
        (_box([1, 2, -3, 4]), "annotations[1].bbox: expected a width and height of 0 or more, got -3 and 4"),
        (_box([1, 2, 1e308, 4]), "annotations[1].bbox[2]: expected float <= 1000000000000000.0"),
        (lambda given: given["annotations"][1].update(image_id=7), "annotations[1].image_id: there is no image with id 7"),
        (lambda given: given["annotations"][1].update(category_id=7), "annotations[1].category_id: there is no category with id 7"),
        (lambda given: given["annotations"][1].update(id=26547), "annotations[1].id: 26547 is the id of an earlier annotation too"),
        (lambda given: given["images"][1].update(id=139), "images[1].id: 139 is the id of an earlier image too"),
        (lambda given: given["images"][1].pop("file_name"), "images[1]: object missing required field file_name"),
        (lambda given: given["images"][1].update(file_name="../../x.jpg"), "images[1].file_name: the name '../../x.jpg' leads outside"),
        (lambda given: given["categories"][2].update(name="tv"), "categories[2].name: 'tv' is the name of an earlier category too"),
        (lambda given: given["categories"][2].update(name=" "), "categories[2].name: expected the name of a class, got ' '"),
    ],
)  # fmt: skip
def test_an_invalid_row_is_named_and_can_be_left_out(tmp_path, spoil, line):
    given = document()
    spoil(given)
    put(tmp_path, given)
    with pytest.raises(DataError) as error:
        augsuite.read(tmp_path)
    assert f"{tmp_path / FILE}: {line}" in str(error.value)
    assert "\n" not in str(error.value)
    intake = Intake(skip_invalid=True)
    data = augsuite.read(tmp_path, intake=intake)
    assert len(intake.skipped) == 1
    assert len(data.images) + len(data.categories) + len(data.annotations) == 6


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"images": [],\n"annotations": [{"id": 1, "bbox": [0', "line 2, byte 51: the file ends in the middle"),
        (b'{"images": [], "categories": [],\n\n"annotations": [{"bbox": [0, NaN, 1, 1]}]}', "line 3, byte 63: expected a JSON number, got NaN"),
        (b'{"images": [], "annotations": [{"bbox": [\n0,\nNaN,\n "x"]}]}', "line 3, byte 45: expected a JSON number, got NaN. Replace"),
        (b'{"images": [], "annotations": [], "area": -Infinity}', "line 1, byte 42: expected a JSON number, got -Infinity"),
        (b'{"images": [], "annotations": [], "file_name": "caf\xe9"}', "line 1, byte 51: expected UTF-8 text, got 0xe9"),
        (b'{"images": 3, "annotations": []}', "expected a COCO object with the lists images, annotations and categories"),
        (b'{"images": [], "annotations": ' + b"[" * 100_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_the_place(tmp_path, content, line):
    with pytest.raises(DataError) as error:
        augsuite.read(put(tmp_path, content), "coco")
    assert line in str(error.value)
    assert str(tmp_path / FILE) in str(error.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"info": {"descr', "line 1, byte 16: the file ends in the middle"),
        (b"", "line 1, byte 0: the file ends in the middle"),
        (json.dumps(document()).encode("utf-16"), "iconv -f utf-16 -t utf-8"),
    ],
)
def test_a_file_too_broken_to_be_recognised_is_named(tmp_path, content, line):
    for path in (put(tmp_path, content), tmp_path / FILE):
        with pytest.raises(DataError) as error:
            augsuite.read(path)
        assert f"{tmp_path / FILE}: line 1" in str(error.value)
        assert line in str(error.value)


def test_values_survive_at_full_precision(tmp_path):
    rng = np.random.default_rng(0)
    boxes = rng.random((200, 4)) * 1000
    source = augsuite.Dataset(
        augsuite.Images.of(["a.jpg"], [[2000, 2000]]),
        augsuite.Categories.of(["x"]),
        augsuite.Annotations.of(np.zeros(200), np.zeros(200), boxes, Layout.XYWH_PX),
    )
    augsuite.write(source, tmp_path / "out", "coco")
    written = json.loads((tmp_path / "out/annotations/instances.json").read_bytes())
    assert [row["bbox"] for row in written["annotations"]] == boxes.tolist()
