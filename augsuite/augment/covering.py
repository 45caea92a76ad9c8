"""What is left of a sample's boxes and shapes where something is pasted over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from augsuite.augment.collage import seen
from augsuite.dataset import Sample
from augsuite.dataset.rle import Mask
from augsuite.dataset.sample_shapes import Shapes, Window, made, trimmed

Rest = tuple[NDArray[np.float64], float]
"""A box, XYXY, and what share of it is seen."""


def covered(sample: Sample, cover: Window) -> Sample:
    """Hide what lies under a window of pixels.

    Of an object with a polygon or a mask, pixels are counted; of one that has only a box, the area of the box. A side of a box
    moves inwards where all of it is hidden. A visible keypoint that is covered becomes a hidden one.

    Args:
        sample: in pixels of the canvas that is pasted on.
        cover: left, top and `(h, w)` bool: the pixels that are pasted on, inside the canvas.

    Returns:
        The sample without the boxes of which nothing is left; `seen_frac` says what is left of the others.
    """
    left, top, mask = cover
    if not mask.any():
        return sample
    bottom, right = top + mask.shape[0], left + mask.shape[1]
    boxes, share = sample.boxes.copy(), np.ones(len(sample.boxes))
    touched = (boxes[:, 0] < right) & (boxes[:, 2] > left) & (boxes[:, 1] < bottom) & (boxes[:, 3] > top)
    shapes = sample.shapes if sample.lazy and touched.any() else None
    windows: dict[int, Window] = {}
    for row in np.flatnonzero(touched).tolist():
        window = shapes.window(row, sample.source.width, sample.source.height) if shapes else None
        if window is None:
            boxes[row], share[row] = _rest_of_box(boxes[row], cover)
            continue
        hidden = window[2] & _cut(cover, window)
        if hidden.any():
            windows[row] = _place(window, trimmed(0, 0, window[2] & ~hidden))
            boxes[row], share[row] = _rest_of_pixels(boxes[row], window, windows[row])
    result = replace(sample, boxes=boxes, seen_frac=seen(sample) * share)
    if shapes is not None:
        result = replace(result, lazy=made(_hidden(shapes, windows, cover)))
    return result.take(share > 0)


def _cut(cover: Window, window: Window) -> Mask:
    """The cover's pixels within another window."""
    left, top, mask = cover
    x, y, pixels = window
    result = np.zeros(pixels.shape, bool)
    first, upper = max(left, x), max(top, y)
    last, lower = min(left + mask.shape[1], x + pixels.shape[1]), min(top + mask.shape[0], y + pixels.shape[0])
    if first < last and upper < lower:
        result[upper - y : lower - y, first - x : last - x] = mask[
            upper - top : lower - top, first - left : last - left
        ]
    return result


def _place(window: Window, inner: Window) -> Window:
    """A window that was cut out of another, on the canvas."""
    return (window[0] + inner[0], window[1] + inner[1], inner[2]) if inner[2].size else inner


def _rest_of_box(corners: NDArray[np.float64], cover: Window) -> Rest:
    """What is left of a rectangle; pixels that its border runs through count by the part that is inside."""
    x1, y1, x2, y2 = corners.tolist()
    left, top = int(np.floor(x1)), int(np.floor(y1))
    columns, rows = np.arange(left, int(np.ceil(x2))), np.arange(top, int(np.ceil(y2)))
    wide = np.minimum(columns + 1, x2) - np.maximum(columns, x1)
    high = np.minimum(rows + 1, y2) - np.maximum(rows, y1)
    free = ~_cut(cover, (left, top, np.empty((len(rows), len(columns)), bool)))
    whole = (x2 - x1) * (y2 - y1)
    if free.all() or whole <= 0:
        return corners, 1.0
    share = float(high @ free @ wide) / whole
    if share <= 0:
        return corners, 0.0
    rest = trimmed(left, top, free)
    return _narrowed(corners, (left, top, free), rest), share


def _rest_of_pixels(corners: NDArray[np.float64], before: Window, after: Window) -> Rest:
    share = float(after[2].sum() / before[2].sum())
    return (_narrowed(corners, before, after) if share else corners), share


def _narrowed(corners: NDArray[np.float64], before: Window, after: Window) -> NDArray[np.float64]:
    """The box with those sides moved that moved between two windows: the others keep their fractions."""
    old, new = _sides(before), _sides(after)
    inner = np.maximum(corners[:2], new[:2]), np.minimum(corners[2:], new[2:])
    return np.where(old == new, corners, np.concatenate(inner))


def _sides(window: Window) -> NDArray[np.float64]:
    left, top, mask = window
    return np.array([left, top, left + mask.shape[1], top + mask.shape[0]], np.float64)


def _hidden(shapes: Shapes, windows: dict[int, Window], cover: Window) -> Shapes:
    """The shapes with some replaced by what is left of their pixels."""
    left, top, mask = cover
    points = shapes.keypoints.copy()
    xs, ys = (np.floor(points[..., axis]).astype(int) - corner for axis, corner in ((0, left), (1, top)))
    inside = (xs >= 0) & (ys >= 0) & (xs < mask.shape[1]) & (ys < mask.shape[0]) & (points[..., 2] > 1)
    inside[inside] = mask[ys[inside], xs[inside]]
    points[..., 2] = np.where(inside, 1.0, points[..., 2])
    return replace(
        shapes,
        polygons=tuple(None if row in windows else rings for row, rings in enumerate(shapes.polygons)),
        masks=tuple(windows.get(row, window) for row, window in enumerate(shapes.masks)),
        keypoints=points,
    )


def rectangle(box: NDArray[np.float64], width: int, height: int) -> Window:
    """The pixels of a canvas whose centre lies in a box."""
    x1, y1, x2, y2 = np.ceil(box - 0.5).astype(int).tolist()
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    return left, top, np.ones((max(bottom - top, 0), max(right - left, 0)), bool)


def union(windows: Sequence[Window]) -> Window:
    """All pixels of several windows; `(0, 0)` pixels for none."""
    full = [window for window in windows if window[2].size]
    if not full:
        return 0, 0, np.zeros((0, 0), bool)
    sides = np.array([_sides(window) for window in full]).astype(int)
    (left, top), (right, bottom) = sides[:, :2].min(axis=0).tolist(), sides[:, 2:].max(axis=0).tolist()
    mask = np.zeros((bottom - top, right - left), bool)
    for x, y, pixels in full:
        mask[y - top :, x - left :][: pixels.shape[0], : pixels.shape[1]] |= pixels
    return left, top, mask


def within(window: Window, width: int, height: int) -> Window:
    """The pixels of a window that lie on a canvas."""
    left, top, mask = window
    x, y = max(left, 0), max(top, 0)
    return x, y, mask[y - top : max(height - top, 0), x - left : max(width - left, 0)]
