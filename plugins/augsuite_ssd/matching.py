"""Which anchor answers for which box.

Matching is per image and in numpy: it takes a small part of a millisecond, beside tens of them for the network. A version for all
images at once is slower, since it pads every image to the one with the most boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from augsuite.boxes import Boxes
from augsuite_ssd.anchors import Array, encode
from augsuite_ssd.losses import Targets


class Truth(NamedTuple):
    """What is to be found in one image."""

    boxes: Boxes  # (N, 4) float64 XYXY in pixels
    labels: NDArray[np.int64]  # (N,) category rows
    weights: NDArray[np.float32]  # (N,) in [0, 1]
    ignored: Boxes  # (M, 4) boxes under which nothing is wrong


def make_targets(truths: Sequence[Truth], size: tuple[int, int], anchors: Array, threshold: float) -> Targets:
    """Match the boxes of a batch with the anchors.

    An anchor that no box takes is ignored where an ignored box covers `threshold` of it or more, by COCO's rule for crowds: any number
    of detections may lie in one.

    Args:
        truths: of each image.
        size: width and height of the batch in pixels.
        anchors: `(A, 4)` XYXY as fractions of it.
        threshold: IoU from which an anchor belongs to a box; see `match`.
    """
    scale = np.array([*size, *size], np.float64)
    found: list[tuple[NDArray[np.int64], ...]] = []
    offsets, weights, ignored = [], [], []
    for image, truth in enumerate(truths):
        boxes = (truth.boxes / scale).astype(np.float32)
        assigned = match(overlaps(boxes, anchors), threshold)
        matched = np.flatnonzero(assigned >= 0)
        rows = assigned[matched]
        found.append((np.full(len(rows), image), matched, truth.labels[rows] + 1))
        offsets.append(encode(boxes[rows], anchors[matched]))
        weights.append(truth.weights[rows])
        if len(truth.ignored):
            inside = covered(anchors, (truth.ignored / scale).astype(np.float32)) >= threshold
            free = np.flatnonzero(inside & (assigned < 0))
            ignored.append(np.stack([np.full(len(free), image), free], axis=1))
    images, places, labels = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*found, strict=True))
    return Targets(
        images,
        places,
        labels,
        torch.from_numpy(np.concatenate(offsets)),
        torch.from_numpy(np.concatenate(weights)),
        torch.from_numpy(np.concatenate([np.zeros((0, 2), np.int64), *ignored])),
    )


def overlaps(boxes: Array, anchors: Array) -> Array:
    """`(N, A)` intersection over union of `(N, 4)` boxes with `(A, 4)` anchors; the latter have an area.

    As `augsuite.boxes.iou`, but one plane at a time and in place: matching spends most of its time here.
    """
    left, top, right, bottom = np.ascontiguousarray(anchors.T)
    shared = _intersections(boxes, left, top, right, bottom)
    union = np.add(
        ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[:, None], (right - left) * (bottom - top)
    )
    union -= shared
    shared /= union
    return shared


def covered(anchors: Array, boxes: Array) -> NDArray[np.float32]:
    """`(A,)` the largest share of each of `(A, 4)` anchors that one of `(N, 4)` boxes covers; 0 without boxes."""
    left, top, right, bottom = np.ascontiguousarray(anchors.T)
    shared = _intersections(boxes, left, top, right, bottom)
    shared /= (right - left) * (bottom - top)
    return np.asarray(shared.max(axis=0, initial=0.0))


def _intersections(boxes: Array, left: Array, top: Array, right: Array, bottom: Array) -> Array:
    shared = np.minimum(boxes[:, 2, None], right)
    other = np.maximum(boxes[:, 0, None], left)
    shared -= other
    np.maximum(shared, 0, out=shared)
    height = np.minimum(boxes[:, 3, None], bottom)
    np.maximum(boxes[:, 1, None], top, out=other)
    height -= other
    np.maximum(height, 0, out=height)
    shared *= height
    return np.asarray(shared)


def match(iou: Array, threshold: float) -> NDArray[np.int64]:
    """Give anchors to boxes.

    First every box gets an anchor of its own: the largest entry of the matrix decides one pair, its row and column are struck
    out, and so on. Then every other anchor whose best box overlaps by `threshold` or more goes to that box.

    torchvision's `SSDMatcher` differs where two boxes have the same best anchor: there the later box takes it and the other may go
    without; and where a box overlaps no anchor at all: there it takes the first one.

    Args:
        iou: `(N, A)` overlap of boxes and anchors.
        threshold: in [0, 1].

    Returns:
        `(A,)` row of the box, or -1 for background. Of equal entries the first box, then the first anchor wins; a box that
        overlaps no anchor gets none.

    Source: Zhang et al., Dive into Deep Learning, section 14.4.3.1.
    """
    count, anchors = iou.shape
    assigned = np.full(anchors, -1, np.int64)
    if not count:
        return assigned
    near = iou.max(axis=0) >= threshold
    assigned[near] = iou[:, near].argmax(axis=0)
    # The matrix is not searched anew each time: a row's largest entry changes only where its column is struck out.
    best = iou.argmax(axis=1)
    value = iou[np.arange(count), best]
    struck: list[int] = []
    for _ in range(min(count, anchors)):
        row = int(value.argmax())
        if value[row] <= 0:
            break
        column = int(best[row])
        assigned[column] = row
        value[row] = -1.0
        struck.append(column)
        for other in np.flatnonzero((best == column) & (value >= 0)):
            left = iou[other].copy()
            left[struck] = -1.0
            best[other] = left.argmax()
            value[other] = left[best[other]]
    return assigned
