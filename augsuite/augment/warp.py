"""Several warps as one: the composed matrix, what of the first canvas is still seen, and where the boxes go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from augsuite import boxes as box
from augsuite.augment.plan import Matrix, Warp
from augsuite.boxes import Boxes

Affine = tuple[float, float, float, float, float, float]
"""`x' = a x + b y + c`, `y' = d x + e y + f`."""
Rect = tuple[float, float, float, float]
Polygon = list[tuple[float, float]]

IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def affine_of(matrix: Matrix) -> Affine:
    """The upper two rows."""
    return matrix[:6]


def compose(second: Affine, first: Affine) -> Affine:
    """`second` after `first`."""
    a, b, c, d, e, f = second
    u, v, w, x, y, z = first
    return (a * u + b * x, a * v + b * y, a * w + b * z + c, d * u + e * x, d * v + e * y, d * w + e * z + f)


def invert(matrix: Affine) -> Affine:
    """The way back.

    Raises:
        ZeroDivisionError: if the matrix flattens the plane.
    """
    a, b, c, d, e, f = matrix
    det = a * e - b * d
    a, b, d, e = e / det, -b / det, -d / det, a / det
    return (a, b, -(a * c + b * f), d, e, -(d * c + e * f))


def is_aligned(matrix: Affine) -> bool:
    """Whether it takes upright rectangles to upright rectangles, to within a millionth of a pixel on any canvas."""
    a, b, _, d, e, _ = (abs(value) for value in matrix)
    return max(b, d) <= 1e-12 * min(a, e) or max(a, e) <= 1e-12 * min(b, d)


@dataclass(frozen=True)
class Frame:
    """The canvas that one warp took, as it lies on the last canvas.

    Attributes:
        matrix: from pixels of that canvas to pixels of the last one.
        width: of that canvas.
        height: of that canvas.
    """

    matrix: Affine
    width: int
    height: int

    @cached_property
    def corners(self) -> Polygon:
        """The four corners on the last canvas, in order."""
        a, b, c, d, e, f = self.matrix
        points = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        return [(a * x + b * y + c, d * x + e * y + f) for x, y in points]

    @cached_property
    def rect(self) -> Rect:
        """The upright rectangle that just holds the corners; the canvas itself where the matrix is aligned."""
        xs, ys = zip(*self.corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def covers(self, width: int, height: int) -> bool:
        """Whether every pixel of the last canvas lies inside."""
        if is_aligned(self.matrix):
            left, top, right, bottom = pixels_of(self.rect)
            return left <= 0 and top <= 0 and right >= width and bottom >= height
        rows = self.spans(width, height)
        return bool((rows[:, 0] <= 0).all() and (rows[:, 1] >= width).all())

    def spans(self, width: int, height: int) -> NDArray[np.int64]:
        """`(height, 2)` first and one past last column, in each row of the last canvas, whose centre lies inside."""
        middles = np.arange(height) + 0.5
        low = np.zeros(height)
        high = np.full(height, float(width))
        for a, b, c in _inward(self.corners):
            rest = b * middles + c
            if a > 0:
                low = np.maximum(low, -rest / a)
            elif a < 0:
                high = np.minimum(high, -rest / a)
            else:
                high = np.where(rest >= 0, high, 0.0)
        spans: NDArray[np.float64] = np.clip(
            np.stack([low, high], axis=1), 0, width
        )  # an edge that is almost level crosses far outside
        return np.asarray(np.ceil(spans - 0.5), np.int64)


class Course:
    """A sequence of warps, as one.

    Attributes:
        matrix: from pixels of the first canvas to pixels of the last.
        width: of the last canvas.
        height: of the last canvas.
        frames: for each warp, the canvas that it took.
        aligned: whether upright rectangles stay upright all the way.
    """

    def __init__(self, width: int, height: int, warps: Sequence[Warp]) -> None:
        """Compose.

        Args:
            width: of the first canvas.
            height: of the first canvas.
            warps: in their order.
        """
        sizes = [(width, height), *((warp.width, warp.height) for warp in warps)]
        self.first = sizes[0]
        self.width, self.height = sizes[-1]
        self.frames: list[Frame] = []
        tail = IDENTITY
        for warp, size in zip(reversed(warps), reversed(sizes[:-1]), strict=True):
            tail = compose(tail, affine_of(warp.matrix))
            self.frames.append(Frame(tail, *size))
        self.frames.reverse()
        self.matrix = tail
        self.aligned = all(is_aligned(frame.matrix) for frame in self.frames)

    @cached_property
    def scale(self) -> float:
        """How much larger an area gets."""
        a, b, _, d, e, _ = self.matrix
        return abs(a * e - b * d)

    @property
    def mirrors(self) -> bool:
        """Whether left and right trade places, as in a mirror image."""
        a, b, _, d, e, _ = self.matrix
        return a * e - b * d < 0

    def forward(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(P, 2)` points of the first canvas, on the last."""
        a, b, c, d, e, f = self.matrix
        xs, ys = points[:, 0], points[:, 1]
        return np.stack([a * xs + b * ys + c, d * xs + e * ys + f], axis=1)

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """`(E, 3)` half planes `a x + b y + c >= 0` of the last canvas whose intersection shows the first canvas; none for nothing."""
        return np.array(_inward(self._region())).reshape(-1, 3)

    def shows(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """`(P,)` whether points of the first canvas are seen."""
        if not len(self.edges):
            return np.zeros(len(points), bool)
        return np.asarray((self.forward(points) @ self.edges[:, :2].T + self.edges[:, 2] >= 0).all(axis=1))

    def cut(self, ring: NDArray[np.float64]) -> NDArray[np.float64]:
        """A ring of points, on the last canvas: `(P, 2)` around what is seen of it; no points where nothing is."""
        if not len(self.edges):
            return np.zeros((0, 2))
        left, top, right, bottom = self.seen()
        return np.clip(clip_ring(self.forward(ring), self.edges), (left, top), (right, bottom))

    def visible(self, part: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """`(H, W)` bool: which pixels of a part of the last canvas show the first."""
        left, top, right, bottom = part
        shown = np.ones((bottom - top, right - left), bool)
        columns = np.arange(left, right)
        for frame in self.frames:
            if not frame.covers(self.width, self.height):
                spans = frame.spans(self.width, self.height)[top:bottom]
                shown &= (columns >= spans[:, :1]) & (columns < spans[:, 1:])
        return shown

    def seen(self, since: int = 0) -> Rect:
        """The upright rectangle that holds what of the canvases from warp `since` on is seen; may be empty."""
        left, top, right, bottom = 0.0, 0.0, float(self.width), float(self.height)
        for frame in self.frames[since:]:
            rect = frame.rect
            left, top = max(left, rect[0]), max(top, rect[1])
            right, bottom = min(right, rect[2]), min(bottom, rect[3])
        return left, top, max(left, right), max(top, bottom)

    def place(self, boxes: Boxes) -> tuple[Boxes, NDArray[np.float64]]:
        """Take boxes from the first canvas to the last.

        Args:
            boxes: `(N, 4)` float64 XYXY.

        Returns:
            `(N, 4)` the upright boxes that just hold what is seen of each, zeros for one that is not seen; and `(N,)` what share of
            its area within the first canvas is seen, in [0, 1].
        """
        if not len(boxes):
            return np.zeros((0, 4)), np.zeros(0)
        before = box.area(box.clip(boxes, *self.first)) * self.scale
        placed, after = self._place_aligned(boxes) if self.aligned else self._place_turned(boxes)
        share = np.divide(after, before, out=np.zeros_like(after), where=before > 0)
        return np.where((share > 0)[:, None], placed, 0.0), np.minimum(share, 1.0)

    def _place_aligned(self, boxes: Boxes) -> tuple[Boxes, NDArray[np.float64]]:
        a, b, c, d, e, f = self.matrix
        xs, ys = boxes[:, 0::2], boxes[:, 1::2]
        if abs(b) > abs(a):
            xs, ys, a, e = ys, xs, b, d
        xs, ys = a * xs + c, e * ys + f
        moved = np.stack([xs.min(axis=1), ys.min(axis=1), xs.max(axis=1), ys.max(axis=1)], axis=1)
        left, top, right, bottom = self.seen()
        moved = np.clip(moved, [left, top, left, top], [right, bottom, right, bottom])
        return moved, box.area(moved)

    def _place_turned(self, boxes: Boxes) -> tuple[Boxes, NDArray[np.float64]]:
        a, b, c, d, e, f = self.matrix
        points = box.corner_points(boxes)
        xs, ys = points[..., 0], points[..., 1]
        points = np.stack([a * xs + b * ys + c, d * xs + e * ys + f], axis=2)
        region = self._region()
        edges = np.array(_inward(region)).reshape(-1, 3)
        inside = (
            (points @ edges[:, :2].T + edges[:, 2] >= 0).all(axis=(1, 2)) if len(region) > 2 else [False] * len(boxes)
        )
        placed = box.bounds(points)
        area = box.area(boxes) * self.scale
        for row in np.flatnonzero(~np.asarray(inside)):
            cut = clip_polygon([(float(x), float(y)) for x, y in points[row]], region)
            area[row] = polygon_area(cut)
            if cut:
                xs_cut, ys_cut = zip(*cut, strict=True)
                placed[row] = min(xs_cut), min(ys_cut), max(xs_cut), max(ys_cut)
        left, top, right, bottom = self.seen()  # a crossing point may lie a rounding error beyond
        return np.clip(placed, [left, top, left, top], [right, bottom, right, bottom]), area

    def _region(self) -> Polygon:
        """What of the first canvas is seen on the last, as a convex polygon; empty for nothing."""
        w, h = float(self.width), float(self.height)
        region: Polygon = [(0.0, 0.0), (w, 0.0), (w, h), (0.0, h)]
        for frame in self.frames:
            region = clip_polygon(region, frame.corners)
        return _without_doubles(region)


def pixels_of(rect: Rect) -> tuple[int, int, int, int]:
    """First column, first row, one past last column and row of the pixels whose centre lies in a rectangle."""
    left, top, right, bottom = rect
    return math.ceil(left - 0.5), math.ceil(top - 0.5), math.ceil(right - 0.5), math.ceil(bottom - 0.5)


def _inward(corners: Polygon) -> list[tuple[float, float, float]]:
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
    for a, b, c in _inward(window):
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


def clip_ring(ring: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
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


def _without_doubles(polygon: Polygon) -> Polygon:
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
