"""Polygons cut to a rectangle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.shapes import Polygons

_LEAST_AREA = 1e-6  # square pixels; less is rounding along an edge
_DECIMALS = 6  # a millionth of a pixel; a shift costs digits that say nothing


def clip_polygons(rings: Polygons, x: float, y: float, width: float, height: float) -> Polygons:
    """Polygons as a crop of their image sees them.

    A concave ring may come out of it in several pieces; they stay one ring, joined along the border of the crop by edges there and
    back. Such edges enclose nothing: area and mask are those of the pieces.

    Args:
        rings: `[[x, y, x, y, ...], ...]` in pixels of the image.
        x: left of the crop.
        y: top.
        width: of the crop.
        height: of the crop.

    Returns:
        The rings in pixels of the crop, rounded to a millionth of one; without those of which nothing is left.

    Source: Sutherland and Hodgman 1974, Reentrant polygon clipping.
    """
    cut = []
    for ring in rings:
        points = np.array(ring, np.float64).reshape(-1, 2) - (x, y)
        low, high = points.min(axis=0), points.max(axis=0)
        if (high <= 0).any() or low[0] >= width or low[1] >= height:
            continue
        if (low < 0).any() or high[0] > width or high[1] > height:
            points = _cut(points, 0, 0.0, 1.0)
            points = _cut(points, 0, width, -1.0)
            points = _cut(points, 1, 0.0, 1.0)
            points = _cut(points, 1, height, -1.0)
            if len(points) < 3 or abs(_area(points)) < _LEAST_AREA:
                continue
        cut.append(np.round(points, _DECIMALS).reshape(-1).tolist())
    return cut


def _cut(points: NDArray[np.float64], axis: int, bound: float, sign: float) -> NDArray[np.float64]:
    """What lies on the side of a line where `sign * (value - bound)` is at least 0."""
    if not len(points):
        return points
    inside = sign * (points[:, axis] - bound)
    following, inside_next = np.roll(points, -1, axis=0), np.roll(inside, -1)
    crossed = (inside >= 0) != (inside_next >= 0)
    span = np.where(crossed, inside - inside_next, 1.0)
    crossing = points + (inside / span)[:, None] * (following - points)
    crossing[:, axis] = bound
    both = np.stack([points, crossing], axis=1).reshape(-1, 2)
    return np.asarray(both[np.stack([inside >= 0, crossed], axis=1).reshape(-1)])


def _area(points: NDArray[np.float64]) -> float:
    x, y = points.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
