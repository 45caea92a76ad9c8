"""Calibration and confusion of labels by hand, and their file."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from augsuite.dataset import Annotations, Categories, Dataset, Images, objects
from augsuite.errors import DataError
from augsuite.evaluation import (
    calibration,
    evaluate_labels,
    label_confusion,
    per_image_labels,
    read_labels,
    write_labels,
)
from augsuite.evaluation.predictions import labels_of


def labelled(rows, labels, names, images):
    return Dataset(
        Images.of([f"{row}.png" for row in range(images)]), Categories.of(names), Annotations.of(rows, labels)
    )


@pytest.fixture
def data():
    return labelled([0, 1, 2, 3], [0, 1, 2, 5], list("abcdef"), 5)


@pytest.fixture
def scores():
    values = np.zeros((5, 6))
    values[0, :2] = 0.9, 0.1  # a: right, sure
    values[1, :2] = 0.85, 0.15  # b taken for a, sure
    values[2] = 0.14, 0.14, 0.3, 0.14, 0.14, 0.14  # c: right, unsure
    values[3] = 0.2, 0.16, 0.16, 0.16, 0.16, 0.16  # f taken for a; on the edge of two bins
    values[4, 0] = 1  # has no label
    return values


def test_the_calibration_error_by_hand(data, scores):
    found = calibration(data, scores, bins=5)
    # Bins end at 0.2, 0.4, ..., each with its upper edge.
    assert found.images.tolist() == [1, 1, 0, 0, 2]
    assert found.confidence[[0, 1, 4]] == pytest.approx([0.2, 0.3, 0.875])
    assert found.accuracy[[0, 1, 4]] == pytest.approx([0, 1, 0.5])
    assert np.isnan(found.confidence[2:4]).all()
    assert found.error == pytest.approx(100 * (0.2 * 1 + 0.7 * 1 + 0.375 * 2) / 4)


def test_a_perfect_and_a_boastful_classifier():
    data = labelled(range(4), [0, 0, 1, 1], ["a", "b"], 4)
    sure = np.eye(2)[[0, 0, 1, 1]]
    assert calibration(data, sure).error == 0
    assert calibration(data, sure[::-1]).error == 100
    half = np.tile([0.5, 0.5], (4, 1))  # says a each time, with one half: right half of the time
    assert calibration(data, half).error == 0


def test_logits_are_no_probabilities(data, scores):
    with pytest.raises(DataError, match=r"probabilities in \[0, 1\], got .* to 9. Apply softmax"):
        calibration(data, scores * 10)


def test_what_cannot_be_measured_is_absent(data, scores):
    empty = labelled([], [], list("abcdef"), 5)
    assert calibration(empty, scores) is None
    assert label_confusion(empty, scores).sum() == 0
    assert np.isnan(per_image_labels(empty, scores)).all()


def test_confusion_and_wins(data, scores):
    counts = label_confusion(data, scores)
    assert {(row, column) for row, column in zip(*np.nonzero(counts), strict=True)} == {(0, 0), (1, 0), (2, 2), (5, 0)}
    assert counts.sum() == 4
    assert per_image_labels(data, scores)[:4].tolist() == [100, 0, 100, 0]
    assert np.isnan(per_image_labels(data, scores)[4])


def test_of_several_labels_one_suffices():
    data = labelled([0, 0, 1, 1], [1, 2, 1, 2], ["a", "b", "c"], 2)
    scores = np.array([[0.1, 0.2, 0.7], [0.7, 0.2, 0.1]])
    assert label_confusion(data, scores).tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1]]


def test_scores_come_back_from_their_file_as_they_were(data, tmp_path):
    scores = np.random.default_rng(0).dirichlet(np.ones(6), 5).astype(np.float32)
    write_labels(tmp_path / "predictions.csv", data, scores)
    found = read_labels(tmp_path / "predictions.csv", data)
    np.testing.assert_array_equal(found.scores.astype(np.float32), scores)
    assert found.complete
    assert found.image_rows.tolist() == [0, 1, 2, 3, 4]
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == ["abcdef"[at] for at in scores.argmax(axis=1)]
    assert [np.float32(row["score"]) for row in rows] == scores.max(axis=1).tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]


def test_names_that_csv_must_quote(tmp_path):
    data = Dataset(
        Images.of(['a,"1".png', "b\n2.png"]), Categories.of(['x,"y"', "image"]), Annotations.of([0, 1], [0, 1])
    )
    scores = np.array([[0.25, 0.75], [0.5, 0.5]])
    write_labels(tmp_path / "p.csv", data, scores)
    np.testing.assert_array_equal(read_labels(tmp_path / "p.csv", data).scores, scores)


def test_columns_and_lines_in_any_order(data, tmp_path):
    (tmp_path / "p.csv").write_text("image,predicted,score,b,a\n3.png,a,0.9,0.1,0.9\n1,b,0.6,0.6,0.4\n")
    found = read_labels(tmp_path / "p.csv", data)
    assert found.image_rows.tolist() == [1, 3]
    assert found.scores[:, :2].tolist() == [[0.4, 0.6], [0.9, 0.1]]
    assert not found.complete, "four categories are not there"


def test_a_file_of_the_surest_labels_alone(data, tmp_path):
    (tmp_path / "p.csv").write_text("image,predicted,score\n0.png,a,0.9\n1.png,a,0.8\n")
    found = read_labels(tmp_path / "p.csv", data)
    assert not found.complete
    assert found.scores[:, 0].tolist() == [0.9, 0.8]
    assert evaluate_labels(data.take(found.image_rows), found.scores)["top1"] == 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no CSV file of label scores"),
        ("image,predicted,score\n9.png,a,0.5\n", r"9.png: no such image in the dataset.*\(1 of 1 such\)"),
        ("image,predicted,score\n0.png,apple,0.5\n", "category 'apple' is not in the dataset"),
        ("image,predicted,score\n0.png,a,high\n", "line 2: expected a number as score, got 'high'"),
        ("image,predicted,score\n0.png,a,nan\n", "line 2: expected a number as score, got 'nan'"),
        ("image,predicted,score,a\n0.png,a,0.5\n", "line 2: expected 4 cells as in the header, got 3"),
        ("image,predicted,score\n0.png,a,0.5\n0,b,0.4\n", "no such image in the dataset, or several"),
        ("image,predicted,score\n0.png,a,0.5\n0.png,b,0.4\n", "0.png"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(data, tmp_path, text, said):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_labels(tmp_path / "p.csv", data)


def test_labels_with_scores_of_any_format(data):
    predicted = Dataset(
        Images.of(["1.png", "0.png"]),
        Categories.of(["c", "a"]),
        Annotations.of([0, 1], [1, 0], extra={"score": objects([0.75, 0.5])}),
    )
    found = labels_of(predicted, data, "p")
    assert found.image_rows.tolist() == [0, 1]
    assert found.scores[:, [0, 2]].tolist() == [[0, 0.5], [0.75, 0]]
    with pytest.raises(DataError, match=r"p: 4 of 4 annotations have no score"):
        labels_of(data, data, "p")


def test_images_of_two_splits_may_share_a_name(tmp_path):
    data = Dataset(
        Images.of(["0.png", "1.png", "0.png"], splits=["train", "train", "test"]),
        Categories.of(["a", "b"]),
        Annotations.of([0, 1, 2], [0, 1, 1]),
    )
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    write_labels(tmp_path / "p.csv", data, scores)
    np.testing.assert_array_equal(read_labels(tmp_path / "p.csv", data).scores, scores)
    (tmp_path / "p.csv").write_text("image,predicted,score\n0.png,a,0.9\n1.png,b,0.8\n")
    with pytest.raises(DataError, match=r"0\.png: no such image in the dataset, or several"):
        read_labels(tmp_path / "p.csv", data)
