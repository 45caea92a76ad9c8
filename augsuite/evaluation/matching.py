"""Which detection finds which object: COCO's greedy matching, for all images, thresholds and sizes at once.

COCO's own code goes through images, sizes, thresholds, detections and objects in five loops. Here only pairs that overlap by half are
looked at, and a round takes one detection of each image and category, for all forty pairs of size and threshold together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes
from augsuite.dataset.tables import Rows

IOUS = np.linspace(0.5, 0.95, 10)
"""The ten thresholds, the same floating-point numbers as `pycocotools`' `iouThrs`."""

AREAS = np.array([[0, 1e5**2], [0, 32**2], [32**2, 96**2], [96**2, 1e5**2]])
"""All, small, medium, large: the least and the largest area of each, both included."""

MAX_DETECTIONS = 100
"""Of one category in one image; less sure ones do not count."""

MISS, HIT, IGNORED = 0, 1, 2
"""What a detection can be: a false alarm, a find, or neither."""

_BATCH = 1 << 20  # pairs compared at once


@dataclass(frozen=True, slots=True)
class Objects:
    """Boxes of the ground truth, in any order.

    Attributes:
        groups: `(G,)` int64: image and category as one number; matching stays inside a group.
        boxes: `(G, 4)` XYWH.
        areas: `(G,)` by which an object is small, medium or large.
        crowd: `(G,)` bool: neither hit nor miss, and any number of detections may fall on it.
    """

    groups: Rows
    boxes: Boxes
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Matched:
    """What each detection is worth.

    Attributes:
        states: `(4, 10, D)` int8 for sizes, thresholds and detections: `MISS`, `HIT` or `IGNORED`.
        objects: `(D,)` the object that a detection finds at IoU 0.5, sizes apart; -1 for none.
    """

    states: NDArray[np.int8]
    objects: Rows


def outside(areas: NDArray[np.float64]) -> NDArray[np.bool_]:
    """`(4, N)` whether an area lies outside each of `AREAS`."""
    return np.asarray((areas < AREAS[:, :1]) | (areas > AREAS[:, 1:]))


def match(objects: Objects, groups: Rows, boxes: Boxes) -> Matched:
    """Match detections with objects, the surest first, each with the free object that it overlaps most.

    An object that counts goes before one that does not; of equal overlaps the later object wins.

    Args:
        objects: the ground truth; within a group its order decides between equal overlaps.
        groups: `(D,)` ascending; within a group the surest detection first, at most `MAX_DETECTIONS` of them.
        boxes: `(D, 4)` XYWH.

    Source: `COCOeval.evaluateImg` of pycocotools 2.0.11, whose results these are to the last one.
    """
    ignored = outside(objects.areas) | objects.crowd
    found, target, overlap = _pairs(objects, groups, boxes)
    # Of one detection's pairs the last that is free is the best, but that objects that count go before the others.
    order = np.lexsort((target, overlap, found))
    found, target, overlap = found[order], target[order], overlap[order]
    states = np.full((len(AREAS), len(IOUS), len(groups)), MISS, np.int8)
    first = np.zeros(len(groups), np.int64) - 1
    unmatched = np.ones_like(states, bool)
    taken = np.zeros((len(AREAS), len(IOUS), len(objects.groups)), bool)
    reached = overlap >= np.minimum(IOUS, 1 - 1e-10)[:, None]
    for pairs, starts in _rounds(found, groups):
        candidates = target[pairs]
        free = reached[:, pairs] & ~(taken[:, :, candidates] & ~objects.crowd[candidates])
        rank = np.arange(1, len(pairs) + 1)
        worth = np.where(ignored[:, candidates], rank, rank + len(pairs))[:, None] * free
        best = np.maximum.reduceat(worth, starts, axis=2)
        area, threshold, which = np.nonzero(best)
        chosen = (best[area, threshold, which] - 1) % len(pairs)
        detection, thing = found[pairs[chosen]], candidates[chosen]
        taken[area, threshold, thing] = True
        unmatched[area, threshold, detection] = False
        states[area, threshold, detection] = np.where(ignored[area, thing], IGNORED, HIT)
        plain = (area == 0) & (threshold == 0)
        first[detection[plain]] = thing[plain]
    states[unmatched & outside(boxes[:, 2] * boxes[:, 3])[:, None]] = IGNORED
    return Matched(states, first)


def _rounds(found: Rows, groups: Rows) -> list[tuple[Rows, Rows]]:
    """The pairs of each round, and where each detection's begin among them.

    A round has one detection of each group; `found` is sorted, and so are the groups of its detections.
    """
    if not len(found):
        return []
    begins = np.flatnonzero(np.diff(found, prepend=-1))
    own = groups[found[begins]]
    group_begins = np.flatnonzero(np.diff(own, prepend=own[0] - 1))
    turn = np.arange(len(own)) - np.repeat(group_begins, np.diff(group_begins, append=len(own)))
    lengths = np.diff(begins, append=len(found))
    order = np.argsort(turn, kind="stable")
    edges = np.searchsorted(turn[order], np.arange(turn.max() + 2))
    rounds = []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        those = order[low:high]
        starts = np.cumsum(lengths[those]) - lengths[those]
        rounds.append((np.arange(lengths[those].sum()) + np.repeat(begins[those] - starts, lengths[those]), starts))
    return rounds


def _pairs(objects: Objects, groups: Rows, boxes: Boxes) -> tuple[Rows, Rows, NDArray[np.float64]]:
    """Detections and objects of one group that overlap by the least threshold: rows of both, and the overlap."""
    order = np.argsort(objects.groups, kind="stable")
    ordered = objects.groups[order]
    low = np.searchsorted(ordered, groups, "left")
    sizes = np.searchsorted(ordered, groups, "right") - low
    ends = np.cumsum(sizes)
    parts: list[tuple[Rows, Rows, NDArray[np.float64]]] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for at in range(0, int(ends[-1]) if len(ends) else 0, _BATCH):
        pair = np.arange(at, min(at + _BATCH, int(ends[-1])))
        left = np.searchsorted(ends, pair, "right")
        right = order[low[left] + pair - (ends[left] - sizes[left])]
        overlap = _overlap(boxes[left], objects.boxes[right], objects.crowd[right])
        kept = overlap >= IOUS[0]
        parts.append((left[kept], right[kept], overlap[kept]))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]  # three columns


def _overlap(boxes: Boxes, others: Boxes, crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`(N,)` intersection over union of XYWH boxes in the same row; over the detection's own area where the other is a crowd.

    The operations and their order are those of `bbIou` in pycocotools' maskApi.c, so that the results are, to the last bit.
    """
    low = np.maximum(boxes[:, :2], others[:, :2])
    extent = np.minimum(boxes[:, 2:] + boxes[:, :2], others[:, 2:] + others[:, :2]) - low
    own, other = boxes[:, 2] * boxes[:, 3], others[:, 2] * others[:, 3]
    shared = extent[:, 0] * extent[:, 1]
    union = np.where(crowd, own, own + other - shared)
    hit = (extent > 0).all(axis=1)
    return np.asarray(np.divide(shared, union, out=np.zeros(len(boxes)), where=hit))
