"""Which annotations of one image lie on which others, for all images of a dataset at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes, area

Rows = NDArray[np.int64]

_BATCH = 1 << 20  # pairs compared at once


def overlaps(
    first_groups: Rows, first: Boxes, second_groups: Rows, second: Boxes, least: float
) -> tuple[Rows, Rows, NDArray[np.float64]]:
    """Pairs of boxes of one group that overlap.

    Args:
        first_groups: `(N,)` which boxes are compared with which: those of one number.
        first: `(N, 4)` XYXY; NaN for a label of a whole image, which overlaps other labels wholly and boxes not at all.
        second_groups: `(M,)`.
        second: `(M, 4)`.
        least: the smallest intersection over union, above 0. Boxes without area overlap only where they are equal.

    Returns:
        `(P,)` rows of `first`, `(P,)` rows of `second`, and `(P,)` their intersection over union.
    """
    order = np.argsort(second_groups, kind="stable")
    ordered = second_groups[order]
    low = np.searchsorted(ordered, first_groups, "left")
    sizes = np.searchsorted(ordered, first_groups, "right") - low
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    found: list[tuple[Rows, Rows, NDArray[np.float64]]] = []
    for at in range(0, total, _BATCH):
        pair = np.arange(at, min(at + _BATCH, total))
        left = np.searchsorted(ends, pair, "right")
        right = order[low[left] + pair - (ends[left] - sizes[left])]
        shared = pairwise_iou(first[left], second[right])
        kept = shared >= least
        found.append((left[kept], right[kept], shared[kept]))
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))  # type: ignore[return-value]


def pairwise_iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """`(N,)` intersection over union of each of `(N, 4)` XYXY boxes with the one in the same row; 1 where both are equal or NaN."""
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, 2:], second[:, 2:])
    extent = np.maximum(high - low, 0.0)
    shared = extent[:, 0] * extent[:, 1]
    union = area(first) + area(second) - shared
    with np.errstate(invalid="ignore"):
        ratio = np.divide(shared, union, out=np.zeros(len(first)), where=union > 0)
    equal = (first == second) | (np.isnan(first) & np.isnan(second))
    return np.where(equal.all(axis=1), 1.0, np.nan_to_num(ratio))


def assigned(left: Rows, right: Rows, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Choose pairs so that no row stands in two: the best first, of equal ones the first in order (greedy, as COCO's evaluation).

    Returns:
        `(P,)` which pairs are chosen.
    """
    chosen = np.zeros(len(left), bool)
    lefts, rights = left.tolist(), right.tolist()
    used_left: set[int] = set()
    used_right: set[int] = set()
    for pair in np.lexsort((right, left, -scores)).tolist():
        if lefts[pair] not in used_left and rights[pair] not in used_right:
            chosen[pair] = True
            used_left.add(lefts[pair])
            used_right.add(rights[pair])
    return chosen
