"""Several warps as one: the composed matrix, what of the first canvas is still seen, and where the boxes go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from augsuite import boxes as box
from augsuite.augment.affine import IDENTITY, Affine, Rect, affine_of, compose, is_aligned
from augsuite.augment.bend import Bend
from augsuite.augment.plan import Warp
from augsuite.augment.polygons import (
    Polygon,
    Rings,
    clip_polygon,
    clip_ring,
    inward,
    polygon_area,
    without_doubles,
)
from augsuite.boxes import Boxes


@dataclass(frozen=True)
class Frame:
    """The canvas that one warp took, as it lies on the last canvas.

    Attributes:
        matrix: from pixels of that canvas to pixels of the last one; the identity where `bend` says it.
        width: of that canvas.
        height: of that canvas.
        bend: what leads to the last canvas where no matrix of this kind does; then `corners` and `spans` say nothing.
        place: which of the canvases of `bend` it is.
    """

    matrix: Affine
    width: int
    height: int
    bend: Bend | None = None
    place: int = 0

    @cached_property
    def corners(self) -> Polygon:
        """The four corners on the last canvas, in order."""
        a, b, c, d, e, f = self.matrix
        points = ((0, 0), (self.width, 0), (self.width, self.height), (0, self.height))
        return [(a * x + b * y + c, d * x + e * y + f) for x, y in points]

    @cached_property
    def rect(self) -> Rect:
        """The upright rectangle that just holds the corners; the canvas itself where the matrix is aligned."""
        if self.bend is not None:
            return box_of(self.bend.inside[self.place])
        a, b, c, d, e, f = self.matrix
        # Each coordinate is extreme where both of its terms are.
        u, v, x, y = a * self.width, b * self.height, d * self.width, e * self.height
        return (
            min(u, 0.0) + min(v, 0.0) + c,
            min(x, 0.0) + min(y, 0.0) + f,
            max(u, 0.0) + max(v, 0.0) + c,
            max(x, 0.0) + max(y, 0.0) + f,
        )

    def covers(self, width: int, height: int) -> bool:
        """Whether every pixel of the last canvas lies inside."""
        if self.bend is not None:
            return bool(self.bend.inside[self.place].all())
        if is_aligned(self.matrix):
            left, top, right, bottom = pixels_of(self.rect)
            return left <= 0 and top <= 0 and right >= width and bottom >= height
        rows = self.spans(width, height)
        return bool((rows[:, 0] <= 0).all() and (rows[:, 1] >= width).all())

    def pixels(self, width: int, height: int) -> NDArray[np.bool_]:
        """`(height, width)` which pixels of the last canvas lie inside."""
        if self.bend is not None:
            return self.bend.inside[self.place]
        spans = self.spans(width, height).astype(np.int32)
        columns = np.arange(width, dtype=np.int32)
        return np.asarray((columns >= spans[:, :1]) & (columns < spans[:, 1:]))

    def spans(self, width: int, height: int) -> NDArray[np.int64]:
        """`(height, 2)` first and one past last column, in each row of the last canvas, whose centre lies inside."""
        middles = np.arange(height) + 0.5
        low = np.zeros(height)
        high = np.full(height, float(width))
        for a, b, c in inward(self.corners):
            rest = b * middles + c
            with np.errstate(over="ignore"):  # an edge that is almost level crosses infinitely far outside
                if a > 0:
                    low = np.maximum(low, -rest / a)
                elif a < 0:
                    high = np.minimum(high, -rest / a)
                else:
                    high = np.where(rest >= 0, high, 0.0)
        spans: NDArray[np.float64] = np.clip(np.stack([low, high], axis=1), 0, width)
        return np.asarray(np.ceil(spans - 0.5), np.int64)


class Course:
    """A sequence of warps, as one.

    Attributes:
        matrix: from pixels of the first canvas to pixels of the last; the identity where `bend` says it.
        homography: the same, `(3, 3)`, of any warps, but without the displacement of fields.
        bend: what is asked instead of `matrix` where a warp is a perspective or has a field; None where all are affine.
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
        self.matrix = IDENTITY
        self.bend: Bend | None = None
        if any(warp.field is not None or warp.matrix[6:] != (0, 0, 1) for warp in warps):
            self.bend = Bend(width, height, warps)
            self.frames = [Frame(IDENTITY, *size, self.bend, place) for place, size in enumerate(sizes[:-1])]
            self.aligned = False
            return
        for warp, size in zip(reversed(warps), reversed(sizes[:-1]), strict=True):
            self.matrix = compose(self.matrix, affine_of(warp.matrix))
            self.frames.append(Frame(self.matrix, *size))
        self.frames.reverse()
        self.aligned = all(is_aligned(frame.matrix) for frame in self.frames)

    @cached_property
    def scale(self) -> float:
        """How much larger an area gets."""
        a, b, _, d, e, _ = self.matrix
        return abs(a * e - b * d)

    @property
    def homography(self) -> NDArray[np.float64]:
        """See the class."""
        return np.array([*self.matrix, 0.0, 0.0, 1.0]).reshape(3, 3) if self.bend is None else self.bend.homography

    @property
    def mirrors(self) -> bool:
        """Whether left and right trade places, as in a mirror image."""
        if self.bend is not None:
            return bool(np.linalg.det(self.bend.homography) < 0)
        a, b, _, d, e, _ = self.matrix
        return a * e - b * d < 0

    def forward(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(P, 2)` points of the first canvas, on the last; NaN for one beyond the horizon of a perspective."""
        if self.bend is not None:
            return self.bend.forward(points)
        a, b, c, d, e, f = self.matrix
        xs, ys = points[:, 0], points[:, 1]
        return np.stack([a * xs + b * ys + c, d * xs + e * ys + f], axis=1)

    def shows(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """`(P,)` whether points of the first canvas are seen."""
        if self.bend is not None:
            return self.bend.shows(points)
        if not len(self._edges):
            return np.zeros(len(points), bool)
        return np.asarray((self.forward(points) @ self._edges[:, :2].T + self._edges[:, 2] >= 0).all(axis=1))

    def cut(self, ring: NDArray[np.float64]) -> NDArray[np.float64]:
        """A ring of points, on the last canvas: `(P, 2)` around what is seen of it; no points where nothing is."""
        if self.bend is not None:
            return self.bend.cut(ring)
        if not len(self._edges):
            return np.zeros((0, 2))
        left, top, right, bottom = self.seen()
        return np.clip(clip_ring(self.forward(ring), self._edges), (left, top), (right, bottom))

    def visible(self, part: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """`(H, W)` bool: which pixels of a part of the last canvas show the first."""
        if self.bend is not None:
            return self.bend.visible(part)
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
        if self.bend is not None:
            return box_of(self.bend.shown(since))
        left, top, right, bottom = self._cuts[since]
        return left, top, max(left, right), max(top, bottom)

    @cached_property
    def _cuts(self) -> list[Rect]:
        """For each canvas, the last included, what it shares with all that come later."""
        cuts: list[Rect] = [(0.0, 0.0, float(self.width), float(self.height))]
        for frame in reversed(self.frames):
            rect, cut = frame.rect, cuts[-1]
            cuts.append((max(cut[0], rect[0]), max(cut[1], rect[1]), min(cut[2], rect[2]), min(cut[3], rect[3])))
        return cuts[::-1]

    def place(self, boxes: Boxes, outlines: Sequence[Rings | None] = ()) -> tuple[Boxes, NDArray[np.float64]]:
        """Take boxes from the first canvas to the last.

        Args:
            boxes: `(N, 4)` float64 XYXY.
            outlines: for each box rings that hold its object, or None for the box's corners; none at all for the corners of
                every box.

        Returns:
            `(N, 4)` the upright boxes that just hold what is seen of each (of its outline, where it has one), zeros for one that is
            not seen; and `(N,)` what share of the box's area within the first canvas is seen, in [0, 1].
        """
        if not len(boxes):
            return np.zeros((0, 4)), np.zeros(0)
        if self.bend is not None:
            placed, share = self.bend.place(boxes)
        elif self.aligned:
            placed, share = self._place_aligned(boxes)
        else:
            before = box.area(box.clip(boxes, *self.first)) * self.scale
            placed, after = self._place_turned(boxes)
            share = _share(after, before)
        for row, rings in enumerate(outlines):
            if rings is not None and share[row] > 0:
                cut = [ring for ring in map(self.cut, rings) if len(ring)]
                placed[row] = box.bounds(np.concatenate(cut)[None])[0] if cut else 0.0
        placed[share <= 0] = 0.0
        return placed, share

    def _place_aligned(self, boxes: Boxes) -> tuple[Boxes, NDArray[np.float64]]:
        """Boxes and shares. Column by column: numpy is several times faster on long rows than on rows of four."""
        columns = np.ascontiguousarray(boxes.T)
        a, b, c, d, e, f = self.matrix
        turned = abs(b) > abs(a)
        if turned:
            a, e = b, d
        first, seen = self.first, self.seen()
        # Made at once, since each array made of numbers takes longer than what is done with it.
        rows = (0.0, 0.0, *first, a, e, c, f, *seen)
        numbers = np.array(rows).reshape(6, 2, 1)[:, [0, 1, 0, 1]]
        before = _area(_cut(columns, numbers[0], numbers[1])) * self.scale
        if turned or a < 0 or e < 0:
            xs, ys = (1, 3) if turned else (0, 2), (0, 2) if turned else (1, 3)
            (x, z), (y, t) = xs[:: 1 if a > 0 else -1], ys[:: 1 if e > 0 else -1]
            columns = columns[[x, y, z, t]]
        moved = columns * numbers[2]
        moved += numbers[3]
        moved = _cut(moved, numbers[4], numbers[5])
        return np.ascontiguousarray(moved.T), _share(_area(moved), before)

    def _place_turned(self, boxes: Boxes) -> tuple[Boxes, NDArray[np.float64]]:
        a, b, c, d, e, f = self.matrix
        points = box.corner_points(boxes)
        xs, ys = points[..., 0], points[..., 1]
        points = np.stack([a * xs + b * ys + c, d * xs + e * ys + f], axis=2)
        region, edges = self._region, self._edges
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

    @cached_property
    def _edges(self) -> NDArray[np.float64]:
        """`(E, 3)` half planes `a x + b y + c >= 0` of the last canvas whose intersection shows the first; none for nothing."""
        return np.array(inward(self._region)).reshape(-1, 3)

    @cached_property
    def _region(self) -> Polygon:
        """What of the first canvas is seen on the last, as a convex polygon; empty for nothing."""
        w, h = float(self.width), float(self.height)
        region: Polygon = [(0.0, 0.0), (w, 0.0), (w, h), (0.0, h)]
        for frame in self.frames:
            region = clip_polygon(region, frame.corners)
        return without_doubles(region)


def box_of(mask: NDArray[np.bool_]) -> Rect:
    """The upright rectangle that just holds the set pixels; empty for none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _cut(columns: Boxes, least: Boxes, most: Boxes) -> Boxes:
    """`(4, N)` XYXY boxes cut to a rectangle, as `(4, 1)` limits; one wholly outside becomes empty on its border."""
    cut: Boxes = np.maximum(columns, least)
    np.minimum(cut, most, out=cut)
    return cut


def _area(columns: Boxes) -> NDArray[np.float64]:
    """`(N,)` areas of `(4, N)` XYXY boxes; 0 where one is empty or inverted."""
    extent = np.maximum(columns[2:] - columns[:2], 0.0)
    return np.asarray(extent[0] * extent[1])


def _share(after: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(N,)` what is left of areas, in [0, 1]; 0 of nothing."""
    share = np.zeros(len(after))
    np.divide(after, before, out=share, where=before > 0)
    return np.minimum(share, 1.0, out=share)


def pixels_of(rect: Rect) -> tuple[int, int, int, int]:
    """First column, first row, one past last column and row of the pixels whose centre lies in a rectangle."""
    left, top, right, bottom = rect
    return math.ceil(left - 0.5), math.ceil(top - 0.5), math.ceil(right - 0.5), math.ceil(bottom - 0.5)
