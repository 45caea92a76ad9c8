"""Polygons: cut to windows, and their areas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Polygon = list[tuple[float, float]]
"""The corners of a small convex polygon, in order."""
Points = NDArray[np.float64]
"""`(P, 2)` x, y of any ring, in order."""
Rings = Sequence[Points]


def inward(corners: Polygon) -> list[tuple[float, float, float]]:
    """For each edge of a convex polygon `(a, b, c)` with `a x + b y + c >= 0` inside."""
    sign = 1.0 if _signed_area(corners) >= 0 else -1.0
    edges = []
    for (x, y), (u, v) in zip(corners, corners[1:] + corners[:1], strict=True):
        a, b = -(v - y) * sign, (u - x) * sign
        edges.append((a, b, -(a * x + b * y)))
    return edges


def clip_polygon(polygon: Polygon, window: Polygon) -> Polygon:
    """The part of a convex polygon inside a convex window; empty for none.

    Source: Sutherland and Hodgman 1974, Reentrant polygon clipping, doi:10.1145/360767.360802.
    """
    if len(window) < 3:
        return []
    for a, b, c in inward(window):
        kept: Polygon = []
        sides = [a * x + b * y + c for x, y in polygon]
        for i, (point, side) in enumerate(zip(polygon, sides, strict=True)):
            before, side_before = polygon[i - 1], sides[i - 1]
            if (side >= 0) != (side_before >= 0):
                t = side_before / (side_before - side)
                kept.append((before[0] + t * (point[0] - before[0]), before[1] + t * (point[1] - before[1])))
            if side >= 0:
                kept.append(point)
        polygon = kept
    return polygon if len(polygon) > 2 else []


def clip_ring(ring: NDArray[np.float64], edges: Points) -> NDArray[np.float64]:
    """The part of any ring inside half planes: `(P, 2)`, no points for none.

    A concave ring that falls into pieces stays one ring, its pieces joined along the border by edges that enclose nothing.

    Source: Sutherland and Hodgman 1974, Reentrant polygon clipping, doi:10.1145/360767.360802.
    """
    for a, b, c in edges:
        sides = a * ring[:, 0] + b * ring[:, 1] + c
        if (sides >= 0).all():
            continue
        after, sides_after = np.roll(ring, -1, axis=0), np.roll(sides, -1)
        crossed = (sides >= 0) != (sides_after >= 0)
        t = sides / np.where(crossed, sides - sides_after, 1.0)
        both = np.stack([ring, ring + t[:, None] * (after - ring)], axis=1).reshape(-1, 2)
        ring = both[np.stack([sides >= 0, crossed], axis=1).reshape(-1)]
    return ring if len(ring) > 2 else np.zeros((0, 2))


def rectangle_edges(width: int, height: int) -> Points:
    """`(4, 3)` half planes `a x + b y + c >= 0` whose intersection is a canvas."""
    return np.array([(1, 0, 0), (-1, 0, width), (0, 1, 0), (0, -1, height)], np.float64)


def ring_area(ring: Points) -> float:
    """The area of a ring, by the shoelace formula."""
    x, y = ring.T - ring[0][:, None]
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def without_doubles(polygon: Polygon) -> Polygon:
    """Without corners that coincide with the one before: an edge that short points where rounding errors point."""
    close = 1e-9 * max((abs(value) for point in polygon for value in point), default=0.0)
    kept = [
        (x, y)
        for (x, y), (u, v) in zip(polygon, polygon[-1:] + polygon[:-1], strict=True)
        if max(abs(x - u), abs(y - v)) > close
    ]
    return kept if len(kept) > 2 else []


def _signed_area(polygon: Polygon) -> float:
    pairs = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return sum(x * v - u * y for (x, y), (u, v) in pairs) / 2


def polygon_area(polygon: Polygon) -> float:
    """The area of a simple polygon, by the shoelace formula."""
    return abs(_signed_area(polygon))
