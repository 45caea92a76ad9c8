"""Where a detector errs, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from evalkit import dataset, detections, judged, scene

from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.evaluation import Detections, Evaluator, best_threshold, confusion, mistakes, per_image
from augsuite.evaluation.mistakes import errors_per_image


def square(x, y, side=10):
    return [x, y, x + side, y + side]


@pytest.fixture
def data():
    return Dataset(
        Images.of(["a", "b", "c", "d"], [[200, 200]] * 4),
        Categories.of(["cat", "dog"]),
        Annotations.of(
            [0, 0, 1, 1, 3],
            [0, 1, 0, 1, 0],
            [square(0, 0), square(50, 0), square(0, 0), square(50, 0), square(0, 0)],
            ignore=[False, False, False, False, True],
        ),
    )


@pytest.fixture
def found():
    rows = [
        (0, 0, square(0, 1), 0.9),  # 0: hit
        (0, 0, square(51, 0), 0.8),  # 1: the dog taken for a cat
        (1, 1, square(150, 150), 0.7),  # 2: false
        (1, 1, square(50, 0), 0.6),  # 3: hit
        (3, 0, square(0, 0), 0.95),  # 4: on the ignored cat
        (2, 0, square(0, 0), 0.2),  # 5: false, in an image without objects
        (1, 0, square(0, 0), 0.1),  # 6: hit, with a low score
    ]
    return Detections(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows], np.float64),
        np.array([row[3] for row in rows]),
    )


def test_the_threshold_of_the_best_f1(data, found):
    # Hits, detections and F1 with four objects: 1/1 0.4; 1/2 1/3; 1/3 2/7; 2/4 0.5; 2/5 4/9; 3/6 0.6.
    assert best_threshold(Evaluator(data, found)) == 0.1
    fewer = Detections(*(values[:6] for values in (found.image_rows, found.category_rows, found.boxes, found.scores)))
    assert best_threshold(Evaluator(data, fewer)) == 0.6


def test_equal_scores_come_together_or_not_at_all(data, found):
    tied = Detections(
        found.image_rows[:3], found.category_rows[:3], found.boxes[:3], np.full(3, 0.5)
    )  # one hit, two alarms
    assert best_threshold(Evaluator(data, tied)) == 0.5
    assert len(mistakes(Evaluator(data, tied)).alarms) == 2


def test_hits_alarms_misses_and_what_is_confused(data, found):
    made = mistakes(Evaluator(data, found), 0.5)
    assert made.hits.tolist() == [[0, 0], [3, 3]]
    assert made.confused.tolist() == [[1, 1]]
    assert made.alarms.tolist() == [1, 2]
    assert made.missed.tolist() == [1, 2]
    assert (made.precision, made.recall) == (0.5, 0.5)
    assert errors_per_image(Evaluator(data, found), made).tolist() == [2, 2, 0, 0]


def test_the_confusion_matrix(data, found):
    judged_ = Evaluator(data, found)
    assert confusion(judged_, mistakes(judged_, 0.5)).tolist() == [
        [1, 0, 1],  # cats: one found, one missed
        [1, 1, 0],  # dogs: one taken for a cat, one found
        [0, 1, 0],  # background: one dog seen where nothing is
    ]
    assert confusion(judged_, mistakes(judged_, 0.05)).tolist() == [[2, 0, 0], [1, 1, 0], [1, 1, 0]]


def test_of_two_that_could_be_confused_the_larger_overlap_is():
    data = Dataset(Images.of(["a"], [[99, 99]]), Categories.of(["x", "y"]), Annotations.of([0], [0], [square(0, 0)]))
    found = Detections(
        np.array([0, 0]),
        np.array([1, 1]),
        np.array([square(2, 0), square(1, 0)], np.float64),
        np.array([0.9, 0.8]),
    )
    assert mistakes(Evaluator(data, found), 0.0).confused.tolist() == [[1, 0]]


def test_every_object_and_every_detection_is_counted_once():
    truth, results = scene(np.random.default_rng(4), 20, 4, 200, 500, grid=8)
    evaluator = Evaluator(dataset(truth), detections(truth, results))
    made = mistakes(evaluator, 0.3)
    counts = confusion(evaluator, made)
    assert counts[:-1].sum() == len(made.hits) + len(made.missed) == len(evaluator.wanted)
    assert counts[:, :-1].sum() == len(made.hits) + len(made.alarms)
    assert len(set(made.hits[:, 1].tolist())) == len(made.hits)


def test_per_image_is_the_ap_of_the_image_alone():
    truth, results = scene(np.random.default_rng(6), 12, 1, 60, 150)
    values = per_image(dataset(truth), detections(truth, results))
    for row, image in enumerate(truth["images"]):
        own = {
            **truth,
            "images": [image],
            "annotations": [each for each in truth["annotations"] if each["image_id"] == image["id"]],
        }
        expected = judged(own, [each for each in results if each["image_id"] == image["id"]]).stats[1]
        if expected < 0:
            assert np.isnan(values[row])
        else:
            assert values[row] == pytest.approx(100 * expected, abs=1e-9)


def test_per_image_ranks_over_categories(data, found):
    # Image a: hit 0.9 and false 0.8 for two objects: precision 1 up to a recall of one half, 51 of 101 levels.
    # Image b: false 0.7, hit 0.6, hit 0.1: 2/3 at both, since the better precision at the higher recall counts.
    values = per_image(data, found)
    assert values[:2] == pytest.approx([100 * 51 / 101, 100 * 2 / 3])
    assert np.isnan(values[2:]).all(), "no objects, and an ignored one only"


def test_nothing_found(data):
    none = Detections(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))
    made = mistakes(Evaluator(data, none))
    assert (made.threshold, len(made.hits), len(made.missed)) == (0.0, 0, 4)
    assert confusion(Evaluator(data, none), made).sum() == 4
    assert per_image(data, none)[:2].tolist() == [0, 0]
