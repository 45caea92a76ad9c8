"""Erased rectangles: what they take from the boxes, and how they are painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite import boxes as box
from augsuite.augment.affine import Affine, Rect, compose, is_aligned
from augsuite.augment.bend import Bend
from augsuite.augment.plan import Erase, PixelOp, Warp
from augsuite.augment.polygons import Polygon, clip_polygon, polygon_area
from augsuite.augment.warp import Frame, pixels_of
from augsuite.boxes import Boxes
from augsuite.dataset.images import Image
from augsuite.dataset.sample_shapes import Lazy, Shapes

Square = NDArray[np.float64]

_POINTS = 32  # a side


def erased_share(ops: Sequence[Warp | PixelOp | Erase], width: int, height: int, boxes: Boxes) -> NDArray[np.float64]:
    """What share of each box is erased and would be seen without that.

    Everything is brought back to the first canvas, where boxes are upright and their area is the original one; rectangles
    that overlap count once. That is exact, but for displacement fields: with them 32 x 32 points of each box are counted.

    Args:
        ops: the operations so far.
        width: of the first canvas.
        height: of the first canvas.
        boxes: `(N, 4)` float64 XYXY on the first canvas.

    Returns:
        `(N,)` in [0, 1].
    """
    share = np.zeros(len(boxes))
    if not len(boxes) or not any(isinstance(op, Erase) for op in ops):
        return share
    if any(isinstance(op, Warp) and op.field is not None for op in ops):
        return _counted(ops, width, height, box.clip(boxes, width, height))
    pieces = [np.array(piece) for piece in _disjoint(_holes(ops, width, height))]
    if not pieces:
        return share
    whole = box.clip(boxes, width, height)
    rects = np.array([[*piece.min(axis=0), *piece.max(axis=0)] for piece in pieces])
    taken = box.intersect(whole, rects)
    upright = np.array([len(piece) == 4 and _is_upright(piece) for piece in pieces])
    for row, column in zip(*np.nonzero((taken > 0) & ~upright), strict=True):
        left, top, right, bottom = (float(value) for value in whole[row])
        window = [(left, top), (right, top), (right, bottom), (left, bottom)]
        taken[row, column] = polygon_area(clip_polygon([(float(x), float(y)) for x, y in pieces[column]], window))
    before = box.area(whole)
    np.divide(taken.sum(axis=1), before, out=share, where=before > 0)
    return np.minimum(share, 1.0)


def _counted(ops: Sequence[Warp | PixelOp | Erase], width: int, height: int, boxes: Boxes) -> NDArray[np.float64]:
    """As `erased_share`, by following points of each box through every operation."""
    middles = (np.arange(_POINTS) + 0.5) / _POINTS
    places = np.stack(np.meshgrid(middles, middles), axis=2).reshape(1, -1, 2)
    points = (boxes[:, None, :2] + places * (boxes[:, None, 2:] - boxes[:, None, :2])).reshape(-1, 2)
    return np.asarray(_under(ops, width, height, points).reshape(len(boxes), -1).mean(axis=1))


def _under(
    ops: Sequence[Warp | PixelOp | Erase], width: int, height: int, points: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """`(P,)` which points of the first canvas are erased and would be seen without that."""
    seen, erased = np.ones(len(points), bool), np.zeros(len(points), bool)
    for op in ops:
        if isinstance(op, Warp):
            moved = np.column_stack([points, np.ones(len(points))]) @ np.array(op.matrix).reshape(3, 3).T
            ahead = moved[:, 2] > 0  # of the horizon of a perspective
            points = np.divide(moved[:, :2], moved[:, 2:], out=np.zeros_like(points), where=ahead[:, None])
            width, height = op.width, op.height
            if op.field is not None:
                points = op.field.undo(points, width, height)
            seen &= ahead & ((points >= 0) & (points < (width, height))).all(axis=1)
        elif isinstance(op, Erase):
            for rect in _inside(op, width, height):
                erased |= ((points >= rect[:2]) & (points < rect[2:])).all(axis=1)
    return seen & erased


def hide_keypoints(source: Lazy | None, ops: Sequence[Warp | PixelOp | Erase], width: int, height: int) -> Lazy | None:
    """Shapes whose visible keypoints are hidden ones (1 instead of 2) where a rectangle lies over them.

    Polygons, masks and oriented boxes stay: they say where the object is, not what is seen of it, as those of an object behind
    something else do.

    Args:
        source: the shapes on the first canvas.
        ops: all operations.
        width: of the first canvas.
        height: of the first canvas.
    """
    if source is None or not any(isinstance(op, Erase) for op in ops):
        return source
    return Lazy(_Hidden(source, tuple(op for op in ops if not isinstance(op, PixelOp)), width, height))


@dataclass(frozen=True)
class _Hidden:
    source: Lazy
    ops: tuple[Warp | Erase, ...]
    width: int
    height: int

    def __call__(self) -> Shapes:
        shapes = self.source()
        points = shapes.keypoints
        visible = points[..., 2] > 1
        if not visible.any():
            return shapes
        points = points.copy()
        under = _under(self.ops, self.width, self.height, points[visible][:, :2])
        points[..., 2][visible] = np.where(under, 1.0, points[..., 2][visible])
        return replace(shapes, keypoints=points)


def paint(canvas: Image, erase: Erase, frame: Frame) -> None:
    """Paint the rectangles.

    Args:
        canvas: the last one, changed in place.
        erase: where and what.
        frame: the canvas of that operation, as it lies on the last.
    """
    noise = np.random.Generator(np.random.Philox(key=erase.seed))
    for rect in _inside(erase, frame.width, frame.height):
        chosen = _pixels(frame, rect, canvas.shape[1], canvas.shape[0])
        canvas[chosen] = noise.integers(0, 256, canvas[chosen].shape, np.uint8) if erase.fill is None else erase.fill


def _pixels(frame: Frame, rect: tuple[int, int, int, int], width: int, height: int) -> Any:
    """An index of the pixels of the last canvas whose centre lies in a rectangle of another."""
    left, top, right, bottom = rect
    if frame.bend is not None:
        xs, ys = frame.bend.maps((0, 0, width, height), frame.place)
        return (xs >= left) & (xs < right) & (ys >= top) & (ys < bottom)
    hole = Frame(_shifted(frame.matrix, left, top), right - left, bottom - top)
    if not is_aligned(hole.matrix):
        return _lines(hole, width, height)
    first, upper, last, lower = pixels_of(hole.rect)
    return np.s_[max(upper, 0) : max(lower, 0), max(first, 0) : max(last, 0)]


def _shifted(matrix: Affine, x: float, y: float) -> Affine:
    return compose(matrix, (1.0, 0.0, x, 0.0, 1.0, y))


def _lines(hole: Frame, width: int, height: int) -> NDArray[np.bool_]:
    """`(height, width)` which pixels have their centre inside."""
    spans = hole.spans(width, height)
    columns = np.arange(width)
    return np.asarray((columns >= spans[:, :1]) & (columns < spans[:, 1:]))


def _inside(erase: Erase, width: int, height: int) -> list[tuple[int, int, int, int]]:
    """The rectangles, cut to the canvas; without those that lie beyond it."""
    found = []
    for left, top, right, bottom in erase.rects:
        cut = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if cut[0] < cut[2] and cut[1] < cut[3]:
            found.append(cut)
    return found


def _holes(ops: Sequence[Warp | PixelOp | Erase], width: int, height: int) -> list[Polygon]:
    """The rectangles that are seen, as convex polygons on the first canvas, cut to what is seen of it.

    Displacements are left out: they move a rectangle and its surroundings alike, by a few pixels.
    """
    if any(isinstance(op, Warp) and op.matrix[6:] != (0, 0, 1) for op in ops):
        return _holes_in_perspective(ops, width, height)
    back = np.eye(3)
    region = _rectangle(0, 0, width, height)
    holes: list[Polygon] = []
    for op in ops:
        if isinstance(op, Warp):
            back = back @ np.linalg.inv(np.array(op.matrix).reshape(3, 3))
            width, height = op.width, op.height
            region = clip_polygon(region, _moved(_rectangle(0, 0, width, height), back))
        elif isinstance(op, Erase):
            holes += [_moved(_rectangle(*rect), back) for rect in _inside(op, width, height)]
    return [hole for hole in (clip_polygon(hole, region) for hole in holes) if hole]


def _holes_in_perspective(ops: Sequence[Warp | PixelOp | Erase], width: int, height: int) -> list[Polygon]:
    """As `_holes`, each rectangle followed canvas by canvas, so that nothing beyond a horizon is ever looked at."""
    warps = [msgspec.structs.replace(op, field=None) for op in ops if isinstance(op, Warp)]
    whole, frame = Bend(width, height, warps), np.array(_rectangle(0, 0, width, height), np.float64)
    sizes = [(width, height), *((warp.width, warp.height) for warp in warps)]
    holes: list[Polygon] = []
    passed = 0
    for op in ops:
        if isinstance(op, Warp):
            passed += 1
        elif isinstance(op, Erase):
            shown = _corners(Bend(width, height, warps[:passed]).cut(frame))
            later = Bend(*sizes[passed], warps[passed:])
            for rect in _inside(op, *sizes[passed]):
                seen = later.cut(np.array(clip_polygon(_rectangle(*rect), shown), np.float64).reshape(-1, 2))
                if len(seen):
                    holes.append(_corners(whole.back(seen)))
    return holes


def _corners(ring: Square) -> Polygon:
    return [(float(x), float(y)) for x, y in ring]


def _rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _moved(polygon: Polygon, matrix: Square) -> Polygon:
    points = np.array([(x, y, 1.0) for x, y in polygon]) @ matrix.T
    return [(float(x), float(y)) for x, y in points[:, :2] / points[:, 2:]]


def _is_upright(piece: Square) -> bool:
    steps = np.abs(np.roll(piece, -1, axis=0) - piece)
    return bool((steps.min(axis=1) <= 1e-9).all())


def _disjoint(holes: Sequence[Polygon]) -> list[Polygon]:
    """Convex polygons that together cover what the given ones cover, and nothing twice."""
    found: list[tuple[Rect, Polygon]] = []
    for hole in holes:
        around = _bounds(hole)
        pieces = [hole]
        for other, earlier in found:
            if max(around[0], other[0]) < min(around[2], other[2]) and max(around[1], other[1]) < min(
                around[3], other[3]
            ):
                pieces = [part for piece in pieces for part in _without(piece, earlier)]
        found += [(_bounds(piece), piece) for piece in pieces]
    return [piece for _, piece in found]


def _bounds(polygon: Polygon) -> Rect:
    xs, ys = zip(*polygon, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _without(piece: Polygon, hole: Polygon) -> list[Polygon]:
    """The parts of a convex polygon outside another: beyond the first edge, then beyond the second of what is left, ..."""
    if not clip_polygon(piece, hole):
        return [piece]
    beyond: list[Polygon] = []
    for start, end in zip(hole, hole[1:] + hole[:1], strict=True):
        inner, outer = _halves(piece, start, end, hole)
        if len(outer) > 2 and polygon_area(outer) > 0:
            beyond.append(outer)
        piece = inner
        if len(piece) < 3:
            break
    return beyond


def _halves(
    piece: Polygon, start: tuple[float, float], end: tuple[float, float], hole: Polygon
) -> tuple[Polygon, Polygon]:
    """What of a convex polygon lies on the hole's side of the line through an edge of it, and what on the other."""
    (x, y), (u, v) = start, end
    middle = sum(point[0] for point in hole) / len(hole), sum(point[1] for point in hole) / len(hole)
    sign = 1.0 if (u - x) * (middle[1] - y) - (v - y) * (middle[0] - x) >= 0 else -1.0
    sides = [sign * ((u - x) * (q - y) - (v - y) * (p - x)) for p, q in piece]
    inner: Polygon = []
    outer: Polygon = []
    for at, (point, side) in enumerate(zip(piece, sides, strict=True)):
        before, side_before = piece[at - 1], sides[at - 1]
        if (side > 0 > side_before) or (side < 0 < side_before):
            t = side_before / (side_before - side)
            crossing = before[0] + t * (point[0] - before[0]), before[1] + t * (point[1] - before[1])
            inner.append(crossing)
            outer.append(crossing)
        if side >= 0:
            inner.append(point)
        if side <= 0:
            outer.append(point)
    return inner, outer
