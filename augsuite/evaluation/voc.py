"""Pascal VOC's average precision: the area under the curve (since 2010), and the mean at eleven recalls (before)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.overlaps import overlaps
from augsuite.dataset.tables import Dataset
from augsuite.evaluation.detections import Detections, check

_POINTS = 11


@dataclass(frozen=True, slots=True)
class VocCategory:
    """What was measured of one category that has objects.

    Attributes:
        name: the category.
        objects: how many there are that are not difficult.
        ap: area under the curve, in percent.
        ap11: mean of eleven points, in percent.
        recall: `(H,)` recall at each hit, the surest first, in [0, 1].
        precision: `(H,)` precision there: the curve as it is, not yet made falling.
    """

    name: str
    objects: int
    ap: float
    ap11: float
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


def voc_categories(data: Dataset, detections: Detections, iou: float = 0.5) -> list[VocCategory]:
    """Judge detections by Pascal's rule, category by category.

    Each detection, the surest first, goes to the object of its category that it overlaps most, found already or not. It is a hit
    where the overlap is at least `iou` and the object was not found before; it does not count where that object is ignored
    (difficult); otherwise it is a false alarm. Boxes are continuous, which gives the overlaps of Pascal's inclusive pixels.
    Recalls are compared as fractions: 3 of 10 objects reach a recall of 0.3, which floating point may deny.

    Args:
        data: the ground truth; image labels are left out.
        detections: what a model found; of equal scores the earlier counts as surer.
        iou: the least overlap, in (0, 1].

    Returns:
        The categories that have objects, in the dataset's order.

    Raises:
        DataError: if a row lies outside the dataset, or a number is not finite.

    Source: Everingham et al. 2010, The Pascal Visual Object Classes (VOC) Challenge, sections 4.2 and 4.4; `VOCevaldet.m` and
    `VOCap.m` of the VOC2012 development kit; eleven points: `VOCevaldet.m` of VOC2007.
    """
    check(data, detections)
    table = data.annotations
    truth = np.flatnonzero(table.is_box)
    classes = len(data.categories)
    order = np.argsort(-detections.scores, kind="stable")
    left, right, overlap = overlaps(
        (detections.image_rows * classes + detections.category_rows)[order],
        detections.boxes[order],
        table.image_rows[truth] * classes + table.category_rows[truth],
        data.boxes()[truth],
        iou,
    )
    best = np.full(len(order), -1, np.int64)
    # The last to be written stays: the largest overlap, and of equal ones the first object.
    ascending = np.lexsort((-right, overlap))
    best[left[ascending]] = right[ascending]
    ignored = (best >= 0) & table.ignore[truth][best] if len(truth) else np.zeros(len(order), bool)
    hit = np.zeros(len(order), bool)
    _, firsts = np.unique(best, return_index=True)
    hit[firsts] = True
    hit &= (best >= 0) & ~ignored
    found = []
    counted = np.bincount(table.category_rows[truth][~table.ignore[truth]], minlength=classes)
    for row in np.flatnonzero(counted):
        own = (detections.category_rows[order] == row) & ~ignored
        hits = np.flatnonzero(hit[own])
        number = np.arange(1, len(hits) + 1)
        recall, precision = number / counted[row], number / (hits + 1)
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        reached = -(-np.arange(_POINTS) * counted[row] // (_POINTS - 1))  # the hits needed for each of the recalls
        points = falling[np.maximum(reached[reached <= len(hits)], 1) - 1] if len(hits) else np.zeros(1)
        found.append(
            VocCategory(
                str(data.categories.names[row]),
                int(counted[row]),
                100.0 * float(falling.sum()) / int(counted[row]),
                100.0 * float(points.sum()) / _POINTS,
                recall,
                precision,
            )
        )
    return found


def evaluate_voc(data: Dataset, detections: Detections, iou: float = 0.5) -> dict[str, float]:
    """Pascal's numbers: `mAP` and `AP/<category>` (area), `mAP11` and `AP11/<category>` (eleven points), in percent.

    Args:
        data: see `voc_categories`.
        detections: see there.
        iou: see there.

    Returns:
        The numbers; empty where there is nothing to be found.

    Raises:
        DataError: see `voc_categories`.
    """
    found = voc_categories(data, detections, iou)
    if not found:
        return {}
    return {
        "mAP": float(np.mean([each.ap for each in found])),
        "mAP11": float(np.mean([each.ap11 for each in found])),
        **{f"AP/{each.name}": each.ap for each in found},
        **{f"AP11/{each.name}": each.ap11 for each in found},
    }
