"""Where the boxes of a sample end up, and what of each is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from augsuite.augment.erasing import erased_share
from augsuite.augment.plan import Plan
from augsuite.augment.polygons import Rings
from augsuite.augment.warp import Course
from augsuite.boxes import Boxes, centers
from augsuite.dataset import Sample
from augsuite.dataset.rle import Mask
from augsuite.dataset.sample_shapes import Shapes

_AROUND = 128  # corners of what stands for an ellipse: at most 0.03 % smaller


def place(plan: Plan, sample: Sample, course: Course) -> tuple[Boxes, NDArray[np.float64]]:
    """Take the boxes of a sample to the last canvas of a plan.

    As long as upright rectangles stay upright, boxes move as boxes. Otherwise a box is the one around the polygon, mask or oriented box
    of its object, if there is one and the plan does not say otherwise; else around its own corners or the ellipse in it. How much of a
    box is seen is measured on the box in any case.

    Args:
        plan: with the rules, and the operations so far.
        sample: what it starts from.
        course: its warps.

    Returns:
        `(N, 4)` boxes as `Course.place` gives them, and `(N,)` what share of each is seen and not erased.
    """
    boxes, source = sample.boxes, sample.source
    outlines: Sequence[Rings | None] = ()
    if not course.aligned and len(boxes):
        shapes = sample.shapes if plan.use_shapes and sample.lazy is not None else None
        outlines = [None] * len(boxes) if shapes is None else [_outline(shapes, row) for row in range(len(boxes))]
        if plan.box_from == "ellipse":
            ellipses = _ellipses(boxes)
            outlines = [[ellipses[row]] if rings is None else rings for row, rings in enumerate(outlines)]
    placed, share = course.place(boxes, outlines)
    return placed, share - erased_share(plan.ops, source.width, source.height, boxes)


def _outline(shapes: Shapes, row: int) -> Rings | None:
    """Rings that hold an object as closely as is known; None where no more than its box is."""
    rings, window = shapes.polygons[row], shapes.masks[row]
    if rings:
        return rings
    if window is not None and window[2].size:
        return [_hem(*window)]
    quad = shapes.quads[row]
    return [quad] if np.isfinite(quad).all() else None


def _hem(left: int, top: int, mask: Mask) -> NDArray[np.float64]:
    """A ring around the first and last pixel of each row: it holds the pixels and goes no further in any direction."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    heights = np.stack([rows, rows + 1], axis=1).reshape(-1)
    down = np.stack([np.repeat(last, 2), heights], axis=1)
    up = np.stack([np.repeat(first, 2), heights], axis=1)[::-1]
    return np.concatenate([down, up]) + np.array([left, top], np.float64)


def _ellipses(boxes: Boxes) -> NDArray[np.float64]:
    """`(N, K, 2)` the ellipse inside each box; its four extreme points are among the corners."""
    turn = np.arange(_AROUND) * (2 * np.pi / _AROUND)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return np.asarray(centers(boxes)[:, None] + circle * ((boxes[:, 2:] - boxes[:, :2]) / 2)[:, None])
