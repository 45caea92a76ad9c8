import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, objects
from augsuite.errors import DataError
from augsuite.evaluation import (
    COCO_NAMES,
    Detections,
    evaluate_detections,
    evaluate_labels,
    write_results,
)

# Written by hand as COCO has it: ids with gaps, a crowd, an area that is not the box's, an image without boxes.
TRUTH = {
    "images": [
        {"id": 7, "width": 300, "height": 300},
        {"id": 9, "width": 300, "height": 300},
        {"id": 12, "width": 300, "height": 300},
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}, {"id": 8, "name": "emu"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [100, 100, 120, 120], "area": 14400, "iscrowd": 0},
        {"id": 3, "image_id": 7, "category_id": 5, "bbox": [50, 60, 40, 50], "area": 900, "iscrowd": 0},
        {"id": 4, "image_id": 9, "category_id": 3, "bbox": [0, 0, 150, 150], "area": 22500, "iscrowd": 1},
        {"id": 5, "image_id": 9, "category_id": 5, "bbox": [200, 200, 60, 60], "area": 3600, "iscrowd": 0},
    ],
}
FOUND = [
    {"image_id": 7, "category_id": 3, "bbox": [11, 10, 20, 20], "score": 0.9},
    {"image_id": 7, "category_id": 3, "bbox": [95, 110, 120, 110], "score": 0.8},
    {"image_id": 7, "category_id": 5, "bbox": [50, 60, 44, 40], "score": 0.7},
    {"image_id": 7, "category_id": 5, "bbox": [0, 0, 30, 30], "score": 0.75},
    {"image_id": 9, "category_id": 3, "bbox": [10, 10, 40, 40], "score": 0.95},
    {"image_id": 9, "category_id": 3, "bbox": [20, 20, 40, 40], "score": 0.85},
    {"image_id": 9, "category_id": 5, "bbox": [200, 200, 60, 60], "score": 0.3},
    {"image_id": 12, "category_id": 8, "bbox": [5, 5, 10, 10], "score": 0.2},
]


@pytest.fixture
def data():
    rows = TRUTH["annotations"]
    images, categories = [7, 9, 12], [3, 5, 8]
    return Dataset(
        Images.of(["a.jpg", "b.jpg", "c.jpg"], [[300, 300]] * 3, ids=images),
        Categories.of(["cat", "dog", "emu"], ids=categories),
        Annotations.of(
            [images.index(row["image_id"]) for row in rows],
            [categories.index(row["category_id"]) for row in rows],
            [row["bbox"] for row in rows],
            Layout.XYWH_PX,
            ignore=[bool(row["iscrowd"]) for row in rows],
            extra={"coco.area": objects([ABSENT if row["id"] == 1 else row["area"] for row in rows])},
        ),
    )


@pytest.fixture
def detections():
    boxes = np.array([row["bbox"] for row in FOUND], np.float64)
    boxes[:, 2:] += boxes[:, :2]
    return Detections(
        np.array([[7, 9, 12].index(row["image_id"]) for row in FOUND]),
        np.array([[3, 5, 8].index(row["category_id"]) for row in FOUND]),
        boxes,
        np.array([row["score"] for row in FOUND]),
    )


def judged(path, results):
    """What pycocotools says of the hand-written files."""
    path.write_text(json.dumps(TRUTH))
    truth = COCO(str(path))
    judge = COCOeval(truth, truth.loadRes(results), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return judge


def test_the_twelve_numbers_are_those_of_pycocotools(data, detections, tmp_path):
    expected = judged(tmp_path / "truth.json", FOUND)
    measured = evaluate_detections(data, detections)
    for name, value in zip(COCO_NAMES, expected.stats, strict=True):
        if value < 0:
            assert name not in measured
        else:
            assert measured[name] == pytest.approx(100 * value, abs=1e-9)
    for row, name in enumerate(("cat", "dog")):
        precision = expected.eval["precision"][:, :, row, 0, 2]
        assert measured[f"AP/{name}"] == pytest.approx(100 * precision.mean(), abs=1e-9)
    assert "AP/emu" not in measured, "there is no emu to be found"
    assert 0 < measured["AP"] < 100


def test_results_on_disk_are_coco_results(data, detections, tmp_path):
    write_results(tmp_path / "found.json", data, detections)
    written = judged(tmp_path / "truth.json", str(tmp_path / "found.json"))
    assert written.stats == pytest.approx(judged(tmp_path / "truth.json", FOUND).stats, abs=1e-12)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_average_precision_by_hand():
    # Two boxes, one found exactly: precision 1 up to recall 0.5, which is 51 of the 101 recall levels.
    data = Dataset(
        Images.of(["a"], [[100, 100]]),
        Categories.of(["x"]),
        Annotations.of([0, 0], [0, 0], [[0, 0, 10, 10], [50, 50, 90, 90]]),
    )
    found = Detections(np.array([0]), np.array([0]), np.array([[50.0, 50, 90, 90]]), np.array([0.5]))
    measured = evaluate_detections(data, found)
    assert measured["AP"] == pytest.approx(100 * 51 / 101)
    assert measured["AR100"] == pytest.approx(50)
    assert measured["APs"] == 0
    assert measured["APm"] == pytest.approx(100)
    assert "APl" not in measured


def test_nothing_found_is_zero_not_an_error(data):
    none = np.zeros(0, np.int64)
    measured = evaluate_detections(data, Detections(none, none, np.zeros((0, 4)), np.zeros(0)))
    assert measured["AP"] == measured["AP/cat"] == 0


def test_nothing_to_find_measures_nothing():
    data = Dataset(Images.of(["a"], [[9, 9]]), Categories.of(["x"]), Annotations.of([], [], np.zeros((0, 4))))
    found = Detections(np.array([0]), np.array([0]), np.array([[0.0, 0, 5, 5]]), np.array([0.5]))
    assert evaluate_detections(data, found) == {}


@pytest.mark.parametrize(
    ("image", "box", "said"),
    [(3, [0, 0, 1, 1], r"image_rows: expected rows from 0 to 2, got 3"), (0, [0, 0, np.nan, 1], "not a finite number")],
)
def test_what_cannot_be_judged_is_refused(data, image, box, said):
    bad = Detections(np.array([image]), np.array([0]), np.array([box], np.float64), np.array([0.5]))
    with pytest.raises(DataError, match=said):
        evaluate_detections(data, bad)


def labelled(rows, labels, names, images, ignore=None):
    return Dataset(
        Images.of([f"{row}.png" for row in range(images)]),
        Categories.of(names),
        Annotations.of(rows, labels, ignore=ignore),
    )


def test_top1_and_top5_by_hand():
    data = labelled([0, 1, 2, 3], [0, 1, 6, 2], list("abcdefg"), 6, ignore=[False, False, False, True])
    scores = np.zeros((6, 7))
    scores[0] = [0.9, 0, 0, 0, 0, 0, 0.1]  # a: first
    scores[1] = [0.5, 0.4, 0, 0, 0, 0, 0.1]  # b: second
    scores[2] = [0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05]  # g: of the two last the first counts as surer, so g is seventh
    scores[3] = [0, 0, 1, 0, 0, 0, 0]  # ignored; 4 and 5 have no label
    assert evaluate_labels(data, scores) == pytest.approx(
        {"top1": 100 / 3, "top5": 200 / 3, "top1/a": 100, "top1/b": 0, "top1/g": 0}
    )


def test_with_few_categories_there_is_no_top5():
    data = labelled([0, 0], [0, 2], ["a", "b", "c"], 1)
    assert evaluate_labels(data, np.array([[0.1, 0.2, 0.7]])) == {"top1": 100, "top1/a": 100, "top1/c": 100}


def test_scores_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"expected \(1, 2\)"):
        evaluate_labels(labelled([0], [0], ["a", "b"], 1), np.zeros((2, 1)))
