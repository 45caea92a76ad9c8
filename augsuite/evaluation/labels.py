"""How good the labels are that a classifier gives: top-1 and top-5."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import Dataset
from augsuite.errors import DataError


def evaluate_labels(data: Dataset, scores: NDArray[np.floating[Any]]) -> dict[str, float]:
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
    expected = (len(data), len(data.categories))
    if scores.shape != expected or np.isnan(scores).any():
        raise DataError(f"scores: expected {expected} numbers (images, categories), got shape {scores.shape} or a NaN.")
    table = data.annotations
    rows = np.flatnonzero(~table.is_box & ~table.ignore)
    truth = np.zeros(expected, bool)
    truth[table.image_rows[rows], table.category_rows[rows]] = True
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(truth, order, axis=1)
    labelled = truth.any(axis=1)
    if not labelled.any():
        return {}
    metrics = {"top1": 100.0 * float(hits[labelled, 0].mean())}
    if expected[1] > 5:
        metrics["top5"] = 100.0 * float(hits[labelled, :5].any(axis=1).mean())
    for row, name in enumerate(data.categories.names):
        if truth[:, row].any():
            metrics[f"top1/{name}"] = 100.0 * float(hits[truth[:, row], 0].mean())
    return metrics
