"""Pascal's rule: a table by hand, and the development kit's loops over random scenes."""

from __future__ import annotations

import numpy as np
import pytest
from evalkit import dataset, detections, scene
from hypothesis import given, settings
from hypothesis import strategies as st

from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.evaluation import Detections, evaluate_voc
from augsuite.evaluation.voc import voc_categories


def square(x, y, side=10):
    return [x, y, x + side, y + side]


def found(rows):
    """Image row, category row, box, score."""
    return Detections(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float64),
    )


@pytest.fixture
def three():
    """Three objects, and a difficult one; of a second category there is nothing."""
    return Dataset(
        Images.of(["a", "b"], [[100, 100]] * 2),
        Categories.of(["cat", "dog"]),
        Annotations.of(
            [0, 0, 1, 1],
            [0, 0, 0, 0],
            [square(0, 0), square(50, 0), square(0, 0), square(50, 50)],
            ignore=[False, False, False, True],
        ),
    )


def test_by_hand(three):
    # score   what                        hits  counted  precision  recall
    # 0.9     first object                1     1        1          1/3
    # 0.8     nothing                     1     2        1/2        1/3
    # 0.7     the difficult one           -     -        -          -
    # 0.65    the difficult one again     -     -        -          -
    # 0.6     second object               2     3        2/3        2/3
    # 0.5     first object again          2     4        1/2        2/3
    # 0.4     third object                3     5        3/5        1
    measured = evaluate_voc(
        three,
        found(
            [
                (1, 0, square(0, 1), 0.4),
                (0, 0, square(0, 0), 0.9),
                (0, 0, square(80, 80), 0.8),
                (1, 0, square(50, 50), 0.7),
                (1, 0, square(51, 50), 0.65),
                (0, 0, square(50, 0), 0.6),
                (0, 0, square(1, 0), 0.5),
                (0, 1, square(50, 0), 0.99),
            ]
        ),
    )
    assert measured == pytest.approx(
        {
            "mAP": 100 * (1 + 2 / 3 + 3 / 5) / 3,
            "AP/cat": 100 * (1 + 2 / 3 + 3 / 5) / 3,
            # 0, 0.1, 0.2, 0.3 lie below a third, 0.4, 0.5, 0.6 below two.
            "mAP11": 100 * (4 * 1 + 3 * 2 / 3 + 4 * 3 / 5) / 11,
            "AP11/cat": 100 * (4 * 1 + 3 * 2 / 3 + 4 * 3 / 5) / 11,
        }
    )


def test_a_recall_of_three_tenths_is_reached_with_three_of_ten():
    # In floating point 3 * 0.1 > 3 / 10.
    data = Dataset(
        Images.of(["a"], [[400, 40]]),
        Categories.of(["x"]),
        Annotations.of([0] * 10, [0] * 10, [square(30 * n, 0) for n in range(10)]),
    )
    measured = evaluate_voc(data, found([(0, 0, square(30 * n, 0), 0.5) for n in range(3)]))
    assert measured["AP11/x"] == pytest.approx(100 * 4 / 11)
    assert measured["AP/x"] == pytest.approx(30)


def test_a_second_find_is_false_even_if_another_object_is_near():
    # Pascal asks for the largest overlap first, and for whether it is taken afterwards; COCO would give the second box the second object.
    data = Dataset(
        Images.of(["a"], [[100, 100]]),
        Categories.of(["x"]),
        Annotations.of([0, 0], [0, 0], [square(0, 0, 20), square(4, 0, 20)]),
    )
    (only,) = voc_categories(data, found([(0, 0, square(0, 0, 20), 0.9), (0, 0, square(1, 0, 20), 0.8)]))
    assert (only.ap, only.recall.tolist()) == (50.0, [0.5])


def test_nothing_found_and_nothing_to_find(three):
    assert evaluate_voc(three, found([])) == {"mAP": 0, "mAP11": 0, "AP/cat": 0, "AP11/cat": 0}
    empty = Dataset(Images.of(["a"], [[9, 9]]), Categories.of(["x"]), Annotations.of([], [], np.zeros((0, 4))))
    assert evaluate_voc(empty, found([(0, 0, square(0, 0), 0.5)])) == {}


def development_kit(truth, results, category):
    """`VOCevaldet.m` and `VOCap.m` of VOC2012, line by line, on inclusive pixels that count from 1; the area under the curve."""
    objects = {}
    for row in truth["annotations"]:
        if row["category_id"] == category:
            x, y, w, h = row["bbox"]
            objects.setdefault(row["image_id"], []).append([[x + 1, y + 1, x + w, y + h], bool(row["iscrowd"]), False])
    number = sum(not each[1] for own in objects.values() for each in own)
    if not number:
        return None
    own = sorted((row for row in results if row["category_id"] == category), key=lambda row: -row["score"])
    tp, fp = np.zeros(len(own)), np.zeros(len(own))
    for d, row in enumerate(own):
        x, y, w, h = row["bbox"]
        bb = [x + 1, y + 1, x + w, y + h]
        best, best_overlap = None, -np.inf
        for each in objects.get(row["image_id"], []):
            gt = each[0]
            bi = [max(bb[0], gt[0]), max(bb[1], gt[1]), min(bb[2], gt[2]), min(bb[3], gt[3])]
            iw, ih = bi[2] - bi[0] + 1, bi[3] - bi[1] + 1
            if iw > 0 and ih > 0:
                ua = (bb[2] - bb[0] + 1) * (bb[3] - bb[1] + 1) + (gt[2] - gt[0] + 1) * (gt[3] - gt[1] + 1) - iw * ih
                if iw * ih / ua > best_overlap:
                    best, best_overlap = each, iw * ih / ua
        if best_overlap >= 0.5:
            if not best[1]:
                tp[d], fp[d] = (0, 1) if best[2] else (1, 0)
                best[2] = True
        else:
            fp[d] = 1
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    recall, precision = tp / number, tp / np.maximum(tp + fp, 1)
    mrec, mpre = np.concatenate([[0], recall, [1]]), np.concatenate([[0], precision, [0]])
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    i = np.flatnonzero(mrec[1:] != mrec[:-1]) + 1
    return float(((mrec[i] - mrec[i - 1]) * mpre[i]).sum())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), levels=st.sampled_from([0, 5]), grid=st.sampled_from([1, 8]))
def test_random_scenes_are_judged_as_the_development_kit_does(seed, levels, grid):
    rng = np.random.default_rng(seed)
    truth, results = scene(rng, 4, 3, int(rng.integers(0, 30)), 60, levels=levels, grid=grid)
    measured = evaluate_voc(dataset(truth), detections(truth, results))
    for row in truth["categories"]:
        expected = development_kit(truth, results, row["id"])
        assert measured.get(f"AP/{row['name']}") == (None if expected is None else pytest.approx(100 * expected))


def test_boxes_stored_as_fractions_are_judged_in_pixels():
    data = Dataset(
        Images.of(["a"], [[200, 100]]),
        Categories.of(["x"]),
        Annotations.of([0], [0], [[0.25, 0.5, 0.1, 0.2]], Layout.CXCYWH_UNIT),
    )
    assert evaluate_voc(data, found([(0, 0, [40, 40, 60, 60], 0.5)]))["mAP"] == 100
