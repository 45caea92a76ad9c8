"""Several warps of which some are perspective or displace by a field: followed point by point, canvas by canvas."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite import boxes as box
from augsuite.augment.field import Field
from augsuite.augment.plan import Warp
from augsuite.augment.polygons import clip_ring, rectangle_edges, ring_area
from augsuite.boxes import Boxes

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Part = tuple[int, int, int, int]
Counts = NDArray[np.int64]

_LEAST_W = 1e-9  # a point this close to the horizon, or beyond it, is nowhere
_EDGE = 6.0  # pixels of an edge that a field may bend, taken as straight
_MOST_PIECES = 96
_HALVINGS = 5  # of a piece that a grid may kink


class Bend:
    """What a `Course` asks where one matrix does not say it.

    Each canvas is cut where it ends before the next warp goes on, so that no perspective ever sees what lies beyond its horizon.
    """

    def __init__(self, width: int, height: int, warps: Sequence[Warp]) -> None:
        """Take the warps.

        Args:
            width: of the first canvas.
            height: of the first canvas.
            warps: in their order.
        """
        self._warps = list(warps)
        self._sizes = [(width, height), *((warp.width, warp.height) for warp in warps)]
        self._matrices = [np.array(warp.matrix, np.float64).reshape(3, 3) for warp in warps]
        self._inverses: list[Array] = [np.asarray(np.linalg.inv(matrix), np.float64) for matrix in self._matrices]

    def __getstate__(self) -> dict[str, Any]:
        """Without the look-ups, which are as large as images and are made again where they are needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_traced"}

    def forward(self, points: Array) -> Array:
        """`(P, 2)` points of the first canvas, on the last; NaN for one beyond a horizon."""
        for place in range(len(self._warps)):
            points = self._step(points, place)
        return points

    def back(self, points: Array) -> Array:
        """`(P, 2)` points of the last canvas, on the first."""
        for place in reversed(range(len(self._warps))):
            field, size = self._warps[place].field, self._sizes[place + 1]
            if field is not None:
                points = points + field.at(points, *size)
            points = project(self._inverses[place], points)
        return points

    def shows(self, points: Array) -> Mask:
        """`(P,)` whether points of the first canvas are seen on every canvas."""
        seen = _within(points, self._sizes[0])
        for place, size in enumerate(self._sizes[1:]):
            points = self._step(points, place)
            seen &= _within(points, size)
        return seen

    def cut(self, ring: Array) -> Array:
        """A ring on the last canvas: `(P, 2)` around what is seen of it; no points where nothing is."""
        ring = clip_ring(ring, rectangle_edges(*self._sizes[0]))
        for place, size in enumerate(self._sizes[1:]):
            if not len(ring):
                return ring
            ring, _ = self._outlines(ring, np.zeros(1, np.int64), place)
            ring = np.clip(clip_ring(ring, rectangle_edges(*size)), 0.0, size)
        return ring

    def place(self, boxes: Boxes) -> tuple[Boxes, Array]:
        """As `Course.place`, by the boxes' corners."""
        whole = box.clip(boxes, *self._sizes[0])
        placed, share = np.zeros_like(whole), np.zeros(len(whole))
        solid = np.flatnonzero(box.area(whole) > 0)
        free = np.zeros(len(whole), bool)
        free[solid], placed[solid] = self._follow(box.corner_points(whole[solid]))
        share[free] = 1.0
        for row in np.flatnonzero((box.area(whole) > 0) & ~free):
            corners = box.corner_points(whole[row : row + 1])[0]
            ring = self.cut(corners)
            placed[row] = box.bounds(ring[None])[0] if len(ring) else 0.0
            share[row] = ring_area(self.back(ring)) / ring_area(corners) if len(ring) else 0.0
        return placed, np.minimum(share, 1.0)

    def _follow(self, corners: Array) -> tuple[Mask, Boxes]:
        """Which of `(N, 4, 2)` rectangles no canvas cuts, and the upright boxes that just hold them on the last one; all at once."""
        if not len(corners):
            return np.zeros(0, bool), np.zeros((0, 4))
        points, starts = corners.reshape(-1, 2), np.arange(len(corners)) * 4
        free = np.logical_and.reduceat(_within(points, self._sizes[0]), starts)
        for place, size in enumerate(self._sizes[1:]):
            points, starts = self._outlines(points, starts, place)
            free &= np.logical_and.reduceat(_within(points, size), starts)
        low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
        return free, np.concatenate([low, high], axis=1)

    def maps(self, part: Part, to: int = 0) -> tuple[Array, Array]:
        """Where the pixel centres of a part of the last canvas lie on canvas `to`: two of `(H, W)`, x and y; NaN for nowhere."""
        xs, ys, _ = self._traced if (part, to) == (self._all, 0) else self._trace(part, to)
        return xs, ys

    def visible(self, part: Part) -> Mask:
        """`(H, W)` which pixels of a part of the last canvas show the first."""
        left, top, right, bottom = part
        return self.shown(0)[top:bottom, left:right]

    @property
    def inside(self) -> list[Mask]:
        """For each warp `(H, W)`: which pixels of the last canvas lie on the canvas that it took."""
        return self._traced[2]

    @property
    def _all(self) -> Part:
        return (0, 0, *self._sizes[-1])

    @cached_property
    def _traced(self) -> tuple[Array, Array, list[Mask]]:
        return self._trace(self._all, 0)

    def shown(self, since: int) -> Mask:
        """`(H, W)` which pixels of the last canvas lie on all canvases from that of warp `since` on."""
        masks = self.inside[since:]
        width, height = self._sizes[-1]
        return np.logical_and.reduce(masks) if masks else np.ones((height, width), bool)

    @cached_property
    def homography(self) -> Array:
        """`(3, 3)` the matrices composed, without the fields."""
        result = np.eye(3)
        for matrix in self._matrices:
            result = matrix @ result
        return result

    def _step(self, points: Array, place: int) -> Array:
        """Points of one canvas, on the next."""
        return self._displaced(project(self._matrices[place], points), place)

    def _outlines(self, points: Array, starts: Counts, place: int) -> tuple[Array, Counts]:
        """Rings of one canvas, on the next: as `divided` takes and gives them, with new points where their edges may bend."""
        points = project(self._matrices[place], points)
        field, size = self._warps[place].field, self._sizes[place + 1]
        if field is None:
            return points, starts
        points, starts = divided(points, starts)
        shown = self._displaced(points, place)
        for _ in range(_HALVINGS if field.degree == 1 else 0):
            # Straight pieces join at the lines of the grid, and there an edge has its kinks, which may be a box's extremes.
            cells = field.cells(shown, *size)
            kinked = (cells != cells[_following(starts, len(points))]).any(axis=1)
            if not kinked.any():
                break
            points, starts, new = halved(points, starts, kinked)
            known = np.empty_like(points)
            known[~new] = shown
            known[new] = self._displaced(points[new], place)
            shown = known
        return shown, starts

    def _displaced(self, points: Array, place: int) -> Array:
        field = self._warps[place].field
        if field is None:
            return points
        known = np.isfinite(points).all(axis=1)
        result = points.copy()
        result[known] = field.undo(points[known], *self._sizes[place + 1])
        return result

    def _trace(self, part: Part, to: int) -> tuple[Array, Array, list[Mask]]:
        """From a part of the last canvas back to canvas `to`, and what lies on each canvas on the way, the first first."""
        left, top, right, bottom = part
        xs: Array = np.arange(left, right, dtype=np.float64) + 0.5
        ys: Array = np.arange(top, bottom, dtype=np.float64)[:, None] + 0.5
        shape = (bottom - top, right - left)
        inside: list[Mask] = []
        for place in reversed(range(to, len(self._warps))):
            field, size = self._warps[place].field, self._sizes[place + 1]
            if field is not None:
                right_by, down_by = _shifts(field, xs, ys, size)
                xs, ys = xs + right_by, ys + down_by
            xs, ys = _project_grid(self._inverses[place], xs, ys)
            width, height = self._sizes[place]
            inside.append(np.broadcast_to((xs >= 0) & (xs < width) & (ys >= 0) & (ys < height), shape))
        return np.broadcast_to(xs, shape), np.broadcast_to(ys, shape), inside[::-1]


def project(matrix: Array, points: Array) -> Array:
    """`(P, 2)` points through a 3 x 3 matrix; NaN for one on its horizon or beyond."""
    if matrix[2, 0] == 0 and matrix[2, 1] == 0:
        return np.asarray(points @ matrix[:2, :2].T + matrix[:2, 2])
    w = points @ matrix[2, :2] + matrix[2, 2]
    w = np.where(w > _LEAST_W, w, np.nan)
    return np.asarray((points @ matrix[:2, :2].T + matrix[:2, 2]) / w[:, None])


def _project_grid(matrix: Array, xs: Array, ys: Array) -> tuple[Array, Array]:
    """As `project`, for x and y that broadcast; they stay a row and a column as long as each depends on one alone."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    if not (b or d or g or h):
        return a * xs + c, e * ys + f
    x, y = a * xs + (b * ys + c), d * xs + (e * ys + f)
    if not (g or h):
        return x, y
    w = g * xs + (h * ys + i)
    if not w.min() > _LEAST_W:
        w[~(w > _LEAST_W)] = np.nan
    x /= w
    y /= w
    return x, y


def _shifts(field: Field, xs: Array, ys: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """The shift at x and y that broadcast."""
    if xs.ndim == 1 and ys.shape[1] == 1:
        return field.on_grid(xs, ys[:, 0], *size)
    from augsuite.augment.resample import opencv

    cv2 = opencv()
    right, down, across, along = field.sampled(*size)
    shape = np.broadcast_shapes(xs.shape, ys.shape)
    columns = np.broadcast_to(np.nan_to_num(xs, nan=-1e6) * across, shape).astype(np.float32)
    rows = np.broadcast_to(np.nan_to_num(ys, nan=-1e6) * along, shape).astype(np.float32)
    x, y = (
        cv2.remap(part, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
        for part in (right, down)
    )
    return x, y


def divided(points: Array, starts: Counts) -> tuple[Array, Counts]:
    """Rings whose edges are short enough to be bent.

    Args:
        points: `(P, 2)` of all rings, one after the other.
        starts: `(R,)` where each begins.

    Returns:
        Both, of the rings with new points.
    """
    after = points[_following(starts, len(points))]
    lengths = np.nan_to_num(
        np.abs(after - points).max(axis=1)
    )  # a point beyond a horizon has no length, and needs none
    pieces = np.clip(np.ceil(lengths / _EDGE), 1, _MOST_PIECES).astype(np.int64)
    first = np.cumsum(pieces) - pieces
    edge = np.repeat(np.arange(len(points)), pieces)
    share = (np.arange(pieces.sum()) - first[edge]) / pieces[edge]
    return np.asarray(points[edge] + share[:, None] * (after - points)[edge]), first[starts]


def halved(points: Array, starts: Counts, where: Mask) -> tuple[Array, Counts, Mask]:
    """Rings with a new point in the middle of some edges.

    Args:
        points: `(P, 2)` of all rings, one after the other.
        starts: `(R,)` where each begins.
        where: `(P,)` whether the edge that a point begins is halved.

    Returns:
        Both, of the rings with new points, and which points are new.
    """
    middles = (points[where] + points[_following(starts, len(points))[where]]) / 2
    new = np.zeros(len(points) + len(middles), bool)
    new[np.flatnonzero(where) + 1 + np.arange(len(middles))] = True
    result = np.empty((len(new), 2))
    result[new], result[~new] = middles, points
    return result, starts + (np.cumsum(where) - where)[starts], new


def _following(starts: Counts, count: int) -> Counts:
    """`(count,)` for each point of several rings the next one of its ring."""
    following = np.arange(1, count + 1)
    following[np.append(starts[1:], count) - 1] = starts
    return following


def _within(points: Array, size: tuple[int, int]) -> Mask:
    return np.asarray(((points >= 0) & (points <= size)).all(axis=1))
