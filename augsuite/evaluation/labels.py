"""How good the labels are that a classifier gives: top-1, top-5, calibration, confusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import Dataset, Rows
from augsuite.errors import DataError

BINS = 15
"""Of a calibration; as in Guo et al. 2017."""

Scores = NDArray[np.floating[Any]]


def evaluate_labels(data: Dataset, scores: Scores) -> dict[str, float]:
    """Share of the images whose label is the surest one, or among the five surest.

    An image with several labels is right where one of them is. Of equal scores the first category counts as the surer. Images
    without a label, or with ignored ones only, are left out.

    Args:
        data: the ground truth.
        scores: `(I, C)` for every image and category, higher is surer.

    Returns:
        `top1`, `top5` (where there are more than five categories) and, over the images that have a category among their
        labels, `top1/<category>`; in percent. A number without ground truth is absent.

    Raises:
        DataError: if the shape is another, or a score is NaN.
    """
    truth = true_labels(data, scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    hits = np.take_along_axis(truth, order, axis=1)
    labelled = truth.any(axis=1)
    if not labelled.any():
        return {}
    metrics = {"top1": 100.0 * float(hits[labelled, 0].mean())}
    if truth.shape[1] > 5:
        metrics["top5"] = 100.0 * float(hits[labelled].any(axis=1).mean())
    for row, name in enumerate(data.categories.names):
        if truth[:, row].any():
            metrics[f"top1/{name}"] = 100.0 * float(hits[truth[:, row], 0].mean())
    return metrics


def true_labels(data: Dataset, scores: Scores) -> NDArray[np.bool_]:
    """`(I, C)` which labels each image has; ignored ones are left out.

    Raises:
        DataError: if the scores do not fit, or one is NaN.
    """
    expected = (len(data), len(data.categories))
    if scores.shape != expected or np.isnan(scores).any():
        raise DataError(f"scores: expected {expected} numbers (images, categories), got shape {scores.shape} or a NaN.")
    table = data.annotations
    rows = np.flatnonzero(~table.is_box & ~table.ignore)
    truth = np.zeros(expected, bool)
    truth[table.image_rows[rows], table.category_rows[rows]] = True
    return truth


def per_image_labels(data: Dataset, scores: Scores) -> NDArray[np.float64]:
    """`(I,)` 100 where the surest category is among an image's labels, 0 where it is not, NaN for an image without a label.

    Raises:
        DataError: see `evaluate_labels`.
    """
    truth = true_labels(data, scores)
    if not truth.size:
        return np.full(len(truth), np.nan)
    right = truth[np.arange(len(truth)), scores.argmax(axis=1)]
    return np.where(truth.any(axis=1), 100.0 * right, np.nan)


def label_confusion(data: Dataset, scores: Scores) -> NDArray[np.int64]:
    """`(C, C)` how many images of a row's category were taken for a column's.

    An image with several labels counts under the surest category where that is one of them, else under its first label.

    Raises:
        DataError: see `evaluate_labels`.
    """
    truth = true_labels(data, scores)
    counts = np.zeros((truth.shape[1], truth.shape[1]), np.int64)
    rows = np.flatnonzero(truth.any(axis=1))
    if len(rows):
        said = scores[rows].argmax(axis=1)
        own = np.where(truth[rows, said], said, truth[rows].argmax(axis=1))
        np.add.at(counts, (own, said), 1)
    return counts


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether a classifier is right as often as it says.

    Attributes:
        error: expected calibration error, in percent.
        edges: `(B + 1,)` of the bins, in [0, 1]; a bin has its upper edge, not its lower one (0 belongs to the first).
        images: `(B,)` how many fall into each.
        confidence: `(B,)` their mean confidence; NaN for an empty bin.
        accuracy: `(B,)` the share of them that is right; NaN for an empty bin.
    """

    error: float
    edges: NDArray[np.float64]
    images: Rows
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def calibration(data: Dataset, scores: Scores, bins: int = BINS) -> Calibration | None:
    """Expected calibration error: the gap between confidence and accuracy, mean over bins of equal width, weighted by images.

    The confidence of an image is its highest score.

    Args:
        data: the ground truth; images without a label are left out.
        scores: `(I, C)` probabilities.
        bins: how many, at least 1.

    Returns:
        The error and what it is made of; None where no image has a label.

    Raises:
        DataError: if the shape is another, or the highest score of an image is no probability.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equations 2, 3 and 5, arXiv:1706.04599.
    """
    truth = true_labels(data, scores)
    rows = np.flatnonzero(truth.any(axis=1))
    if not len(rows):
        return None
    said = scores[rows].argmax(axis=1)
    sure = scores[rows, said].astype(np.float64)
    if sure.min() < 0 or sure.max() > 1 + 1e-6:
        raise DataError(
            f"scores: calibration needs probabilities in [0, 1], got {sure.min():g} to {sure.max():g}. Apply softmax to logits."
        )
    right = truth[rows, said]
    edges = np.arange(bins + 1) / bins
    at = np.clip(np.searchsorted(edges, sure, "left") - 1, 0, bins - 1)
    images = np.bincount(at, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (np.bincount(at, values, bins) / images for values in (sure, right))
    filled = images > 0
    error = (np.abs(accuracy - confidence)[filled] * images[filled]).sum() / len(rows)
    return Calibration(100.0 * float(error), edges, images, confidence, accuracy)
