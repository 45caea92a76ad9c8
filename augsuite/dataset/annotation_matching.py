"""Which annotation of one dataset is which of another, given which images are which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes
from augsuite.dataset.overlaps import assigned, overlaps, pairwise_iou
from augsuite.dataset.tables import Dataset

Rows = NDArray[np.int64]

_SAME_OBJECT_IOU = 0.5


@dataclass(frozen=True)
class Matching:
    """Which annotation of the first dataset is which of the second: rows of both, pair by pair.

    Attributes:
        first: `(P,)`.
        second: `(P,)`.
        px: `(P,)` the largest difference of a coordinate; 0 for labels.
        iou: `(P,)`.
        relabelled: `(P,)` whether the classes differ.
    """

    first: Rows
    second: Rows
    px: NDArray[np.float64]
    iou: NDArray[np.float64]
    relabelled: NDArray[np.bool_]


def match_annotations(
    first: Dataset, second: Dataset, left: Rows, right: Rows, tolerance: float
) -> tuple[Matching, Rows, Rows]:
    """Pair the annotations of paired images.

    Args:
        first: a dataset.
        second: another one.
        left: `(P,)` image rows of the first.
        right: `(P,)` image rows of the second.
        tolerance: in pixels.

    Returns:
        The pairs; the annotation rows of the first that are left over, and those of the second, of paired images.
    """
    names = {name: row for row, name in enumerate(first.categories.names)}
    common = np.array([names.setdefault(name, len(names)) for name in second.categories.names], np.int64)
    pair_of = [np.full(len(data), -1, np.int64) for data in (first, second)]
    pair_of[0][left] = pair_of[1][right] = np.arange(len(left))
    groups = [pair_of[0][first.annotations.image_rows], pair_of[1][second.annotations.image_rows]]
    labels = [first.annotations.category_rows, common[second.annotations.category_rows]]
    corners = [first.boxes(), second.boxes()]
    done = _agreeing(groups, labels, corners, len(left), tolerance)
    free = [group >= 0 for group in groups]
    rest = [_left_over(free[side], done[side]) for side in (0, 1)]
    classes = len(names)
    found = [done]
    for keys in ([groups[side] * classes + labels[side] for side in (0, 1)], groups):
        one, other, shared = overlaps(
            keys[0][rest[0]], corners[0][rest[0]], keys[1][rest[1]], corners[1][rest[1]], _SAME_OBJECT_IOU
        )
        chosen = assigned(one, other, shared)
        pairs = rest[0][one[chosen]], rest[1][other[chosen]]
        found.append(pairs)
        rest = [_left_over(free[side], pairs[side]) for side in (0, 1)]
    rows = [np.concatenate([pairs[side] for pairs in found]) for side in (0, 1)]
    order = np.argsort(rows[0], kind="stable")
    rows = [side[order] for side in rows]
    return _measured(rows, labels, corners), rest[0], rest[1]


def _left_over(free: NDArray[np.bool_], taken: Rows) -> Rows:
    """Mark rows as taken, and return those that still are free."""
    free[taken] = False
    return np.flatnonzero(free)


def _agreeing(
    groups: list[Rows], labels: list[Rows], corners: list[Boxes], count: int, tolerance: float
) -> tuple[Rows, Rows]:
    """The annotations of images in which all annotations agree, sorted by class and box: no search is needed there."""
    orders: list[Rows] = []
    for group, label, boxes in zip(groups, labels, corners, strict=True):
        paired = np.flatnonzero(group >= 0)
        # Rounded, or what differs by less than the tolerance would be sorted differently.
        keys = np.nan_to_num(np.round(boxes[paired], 2), nan=-1e300)
        orders.append(paired[np.lexsort((*keys.T[::-1], label[paired], group[paired]))])
    counts = [np.bincount(group[group >= 0], minlength=count) for group in groups]
    alike = counts[0] == counts[1]
    rows = [order[alike[group[order]]] for order, group in zip(orders, groups, strict=True)]
    one, other = (boxes[side] for boxes, side in zip(corners, rows, strict=True))
    with np.errstate(invalid="ignore"):
        close = (np.abs(one - other) <= tolerance) | (np.isnan(one) & np.isnan(other))
    bad = ~close.all(axis=1) | (labels[0][rows[0]] != labels[1][rows[1]])
    wrong = np.bincount(groups[0][rows[0]][bad], minlength=count) > 0
    kept = ~wrong[groups[0][rows[0]]]
    return rows[0][kept], rows[1][kept]


def _measured(rows: list[Rows], labels: list[Rows], corners: list[Boxes]) -> Matching:
    one, other = corners[0][rows[0]], corners[1][rows[1]]
    px = np.nan_to_num(np.abs(one - other)).max(axis=1, initial=0.0)
    differ = np.asarray(labels[0][rows[0]] != labels[1][rows[1]])
    return Matching(rows[0], rows[1], px, pairwise_iou(one, other), differ)
