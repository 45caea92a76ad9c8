"""Anchors, and the way from boxes to anchors and back.

Boxes here are float32 XYXY as fractions of the image, so that nothing depends on the input size. Matching is per image and in
numpy: it takes a small part of a millisecond, beside tens of them for the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float32]

CENTER_VARIANCE = 0.1
SIZE_VARIANCE = 0.2


Shape = tuple[float, float]
"""Width and height of an anchor, as fractions of the image."""


def anchor_shapes(
    sizes: Sequence[Sequence[float]], ratios: Sequence[float], given: Sequence[Shape] = ()
) -> list[list[Shape]]:
    """The shapes of the anchors at each position, scale by scale.

    `n` sizes and `m` ratios give `n + m - 1` shapes: every size with the first ratio, then the first size with every other ratio.
    Sizes are fractions of the image; a ratio is width over height as fractions too, so that a ratio of 1 is a square on a square
    input. Shapes that are given go each to the scale one of whose sizes is nearest, in ratio, to the square root of their area, and
    replace what that scale would have had; a scale that gets none keeps its sizes and ratios.

    Args:
        sizes: the sizes of each scale.
        ratios: the ratios, for all scales.
        given: shapes, such as `augsuite anchors` suggests.

    Source: Zhang et al., Dive into Deep Learning, section 14.4.1, after Liu et al. 2016, SSD, section 2.2, arXiv:1512.02325.
    """
    placed: list[list[Shape]] = [[] for _ in sizes]
    for width, height in given:
        side = (width * height) ** 0.5
        distances = [min(abs(math.log(side / size)) for size in own) for own in sizes]
        placed[distances.index(min(distances))].append((width, height))
    return [
        own
        or [(size * ratios[0] ** 0.5, size / ratios[0] ** 0.5) for size in scale]
        + [(scale[0] * ratio**0.5, scale[0] / ratio**0.5) for ratio in ratios[1:]]
        for own, scale in zip(placed, sizes, strict=True)
    ]


def make_anchors(grids: Sequence[tuple[int, int]], shapes: Sequence[Sequence[Shape]]) -> Array:
    """The anchors of all scales.

    Args:
        grids: height and width of each scale's feature map.
        shapes: the shapes at each position of each scale.

    Returns:
        `(A, 4)` XYXY, ordered by scale, row, column, anchor; those at the border reach beyond [0, 1].
    """
    scales = []
    for (height, width), own in zip(grids, shapes, strict=True):
        half = np.array(own) / 2
        y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
        centers = np.stack([x, y], axis=-1)[:, :, None, :]
        scales.append(np.concatenate([centers - half, centers + half], axis=-1).reshape(-1, 4))
    return np.concatenate(scales).astype(np.float32)


def overlaps(boxes: Array, anchors: Array) -> Array:
    """`(N, A)` intersection over union of `(N, 4)` boxes with `(A, 4)` anchors.

    As `augsuite.boxes.iou`, but one plane at a time and in place: matching spends most of its time here.
    """
    left, top, right, bottom = np.ascontiguousarray(anchors.T)
    shared = np.minimum(boxes[:, 2, None], right)
    other = np.maximum(boxes[:, 0, None], left)
    shared -= other
    np.maximum(shared, 0, out=shared)
    height = np.minimum(boxes[:, 3, None], bottom)
    np.maximum(boxes[:, 1, None], top, out=other)
    height -= other
    np.maximum(height, 0, out=height)
    shared *= height
    first = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    second = (right - left) * (bottom - top)
    np.add(first[:, None], second, out=other)
    other -= shared
    np.maximum(other, np.finfo(np.float32).tiny, out=other)
    shared /= other
    return np.asarray(shared)


def match(iou: Array, threshold: float) -> NDArray[np.int64]:
    """Give anchors to boxes.

    First every box gets an anchor of its own: the largest entry of the matrix decides one pair, its row and column are struck
    out, and so on. Then every other anchor whose best box overlaps by `threshold` or more goes to that box.

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
    free = iou.copy()
    best = free.argmax(axis=1)
    value = free[np.arange(count), best]
    for _ in range(min(count, anchors)):
        row = int(value.argmax())
        if value[row] <= 0:
            break
        column = best[row]
        assigned[column] = row
        free[:, column] = -1.0
        value[row] = -1.0
        for other in np.flatnonzero((best == column) & (value >= 0)):
            best[other] = free[other].argmax()
            value[other] = free[other, best[other]]
    return assigned


def encode(boxes: Array, anchors: Array) -> Array:
    """`(K, 4)` offsets (x, y, log width, log height, each over its variance) from `(K, 4)` anchors to `(K, 4)` boxes.

    Source: Liu et al. 2016, SSD, section 2.2; the variances are those of its published code.
    """
    size = anchors[:, 2:] - anchors[:, :2]
    extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    shift = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2 / size
    return np.concatenate([shift / CENTER_VARIANCE, np.log(extent / size) / SIZE_VARIANCE], axis=1).astype(np.float32)


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """`(..., A, 4)` boxes that `(..., A, 4)` offsets from `(A, 4)` anchors mean; the inverse of `encode`.

    A box may grow to at most 1000 times its anchor, so that an offset of an untrained network cannot overflow.
    """
    size = anchors[:, 2:] - anchors[:, :2]
    center = (anchors[:, :2] + anchors[:, 2:]) / 2 + offsets[..., :2] * CENTER_VARIANCE * size
    half = torch.exp((offsets[..., 2:] * SIZE_VARIANCE).clamp(max=6.9)) * size / 2
    return torch.cat([center - half, center + half], dim=-1)


def mine_negatives(loss: Tensor, positive: Tensor, ratio: float) -> Tensor:
    """Choose the background anchors that count: those with the largest loss, `ratio` times as many as positive ones.

    An image without any positive anchor gives as many as one with a single one.

    Args:
        loss: `(B, A)` of every anchor.
        positive: `(B, A)` bool.
        ratio: negatives per positive.

    Returns:
        `(B, A)` bool, never set where `positive` is.

    Source: Liu et al. 2016, SSD, section 2.2, hard negative mining.
    """
    wanted = (positive.sum(dim=1, keepdim=True).clamp(min=1) * ratio).round()
    order = loss.detach().masked_fill(positive, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return (rank < wanted) & ~positive
