"""pycocotools is the judge of every number, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from evalkit import dataset, detections, judged, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.evaluation import COCO_NAMES, Detections, Evaluator, evaluate_detections


def assert_equal(truth, found):
    """Both of pycocotools' tables, bit for bit."""
    judge = judged(truth, found)
    own = Evaluator(dataset(truth), detections(truth, found))
    np.testing.assert_array_equal(own.scores.precision, judge.eval["precision"][..., 2])
    np.testing.assert_array_equal(own.scores.recall, judge.eval["recall"])
    for name, value in zip(COCO_NAMES, judge.stats, strict=True):
        assert own.metrics().get(name, -100.0) == 100.0 * value, name


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 6),
    categories=st.integers(1, 4),
    truths=st.integers(0, 40),
    founds=st.integers(0, 80),
    grid=st.sampled_from([0, 1, 8, 16, 32]),
    levels=st.sampled_from([0, 1, 4, 20]),
)
def test_any_scene_with_ties_crowds_and_empty_classes(seed, images, categories, truths, founds, grid, levels):
    rng = np.random.default_rng(seed)
    assert_equal(*scene(rng, images, categories, truths, founds, grid=grid, levels=levels))


@pytest.mark.parametrize("levels", [0, 5])
def test_more_than_a_hundred_detections_of_one_image(levels):
    truth, found = scene(np.random.default_rng(3), 2, 2, 60, 700, levels=levels)
    assert max(np.bincount([row["image_id"] for row in found])) > 250
    assert_equal(truth, found)


def test_a_larger_scene():
    assert_equal(*scene(np.random.default_rng(8), 80, 6, 900, 4000, levels=500))


def test_areas_on_the_bounds_belong_to_both_sizes():
    truth, _ = scene(np.random.default_rng(0), 1, 1, 0, 0)
    image, category = truth["images"][0]["id"], truth["categories"][0]["id"]
    sides = [31, 32, 96, 97]
    truth["annotations"] = [
        {
            "id": n + 1,
            "image_id": image,
            "category_id": category,
            "bbox": [100 * n, 0, side, side],
            "area": side**2,
            "iscrowd": 0,
        }
        for n, side in enumerate(sides)
    ]
    found = [
        {"image_id": image, "category_id": category, "bbox": [100 * n, 3, side, side], "score": 0.5}
        for n, side in enumerate(sides)
    ]
    assert_equal(truth, found)


def repeated(truth, found, times):
    """The dataset with copies of its images beside each other, by id."""
    copies = {}
    images, annotations, results = [], [], []
    ordered = sorted(truth["images"], key=lambda row: row["id"])
    number = {row["id"]: int(count) for row, count in zip(truth["images"], times, strict=True)}
    for row in ordered:
        copies[row["id"]] = [len(images) + 1 + n for n in range(number[row["id"]])]
        images += [row | {"id": each} for each in copies[row["id"]]]
    for row in truth["annotations"]:
        annotations += [row | {"image_id": each} for each in copies[row["image_id"]]]
    for row in found:
        results += [row | {"image_id": each} for each in copies[row["image_id"]]]
    for n, row in enumerate(annotations, 1):
        row["id"] = n
    return {**truth, "images": images, "annotations": annotations}, results


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), levels=st.sampled_from([0, 3]), grid=st.sampled_from([0, 16]))
def test_a_resampled_dataset_is_measured_as_if_it_were_there(seed, levels, grid):
    rng = np.random.default_rng(seed)
    truth, found = scene(rng, 8, 3, 40, 100, levels=levels, grid=grid)
    times = np.bincount(rng.integers(0, 8, 8), minlength=8)
    own = Evaluator(dataset(truth), detections(truth, found))
    judge = judged(*repeated(truth, found, times))
    np.testing.assert_array_equal(own.scores_of(times).precision, judge.eval["precision"][..., 2])
    np.testing.assert_array_equal(own.scores_of(times).recall, judge.eval["recall"])
    assert own.ap_of(times) == (None if judge.stats[0] < 0 else 100 * judge.stats[0])


def test_once_each_is_the_dataset_itself():
    truth, found = scene(np.random.default_rng(2), 9, 3, 60, 150)
    own = Evaluator(dataset(truth), detections(truth, found))
    assert own.ap_of(np.ones(9, np.int64)) == own.metrics()["AP"]
    assert own.ap_of(np.zeros(9, np.int64)) is None


def test_numbers_of_a_category_and_a_size():
    truth, found = scene(np.random.default_rng(5), 30, 3, 300, 900)
    judge = judged(truth, found)
    ids = sorted(row["id"] for row in truth["categories"])
    for each in Evaluator(dataset(truth), detections(truth, found)).by_category():
        row = ids.index(int(each.name[1:]))
        precision = judge.eval["precision"][:, :, row, :, 2]
        for size, value in enumerate((each.ap, each.small, each.medium, each.large)):
            assert value == 100 * np.mean(precision[:, :, size])
        assert each.ap50 == 100 * np.mean(precision[0, :, 0])
        assert each.ap75 == 100 * np.mean(precision[5, :, 0])
        assert each.recall == 100 * np.mean(judge.eval["recall"][:, row, 0, 2])
        own = [a for a in truth["annotations"] if a["category_id"] == ids[row] and not a["iscrowd"]]
        assert each.objects == len(own)


def test_an_annotation_with_id_zero_can_be_found():
    # pycocotools takes the id of a match for a truth value, and calls this find a false alarm.
    data = Dataset(
        Images.of(["a"], [[100, 100]]),
        Categories.of(["x"]),
        Annotations.of([0], [0], [[0, 0, 10, 10]], Layout.XYWH_PX, ids=[0]),
    )
    found = Detections(np.array([0]), np.array([0]), np.array([[0.0, 0, 10, 10]]), np.array([0.5]))
    assert evaluate_detections(data, found)["AP"] == pytest.approx(100)
