"""Polygons as pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def fill(rings: Sequence[NDArray[np.float64]], width: int, height: int) -> tuple[int, int, Mask]:
    """The pixels whose centre lies in a ring (by the even-odd rule within one ring; several rings are united).

    Args:
        rings: each `(P, 2)` x, y in continuous pixels.
        width: of the canvas.
        height: of the canvas.

    Returns:
        Left, top and `(h, w)` bool: a window of the canvas that holds all set pixels; `(0, 0)` pixels where none is set.
    """
    points = np.concatenate([np.zeros((0, 2)), *rings])
    if not len(points):
        return 0, 0, np.zeros((0, 0), bool)
    left, top = np.clip(np.floor(points.min(axis=0)), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(points.max(axis=0)), 0, (width, height)).astype(int).tolist()
    if right <= left or bottom <= top:
        return 0, 0, np.zeros((0, 0), bool)
    mask = np.zeros((bottom - top, right - left), bool)
    for ring in rings:
        mask |= _inside(ring - (left, top), right - left, bottom - top)
    return left, top, mask


def _inside(ring: NDArray[np.float64], width: int, height: int) -> Mask:
    """`(height, width)`: a pixel is inside if an odd number of edges crosses its row left of or at its centre."""
    first, second = ring, np.roll(ring, -1, axis=0)
    down = first[:, 1] <= second[:, 1]
    upper = np.where(down[:, None], first, second)
    lower = np.where(down[:, None], second, first)
    begin = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)
    end = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64)
    count = end - begin
    edge = np.repeat(np.arange(len(ring)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + begin[edge]
    slope = (lower - upper)[edge]
    x = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * slope[:, 0] / slope[:, 1]
    column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
    crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return np.asarray(np.cumsum(crossings[:, :width], axis=1) % 2 == 1)
