"""Pure functions on `(N, 4)` arrays of boxes, in continuous pixel space.

Pixel (row r, column c) covers `[c, c + 1) x [r, r + 1)`, so a whole image of width W spans `0..W` and a mirror is
`x -> W - x`. Nothing here adds or subtracts one.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Layout(enum.Enum):
    """How four numbers say a box. `PX` counts pixels, `UNIT` fractions of the image's width and height."""

    XYXY_PX = "xyxy_px"
    XYWH_PX = "xywh_px"
    CXCYWH_PX = "cxcywh_px"
    XYXY_UNIT = "xyxy_unit"
    XYWH_UNIT = "xywh_unit"
    CXCYWH_UNIT = "cxcywh_unit"

    @property
    def corners(self) -> str:
        """`xyxy`, `xywh` or `cxcywh`."""
        return self.value.partition("_")[0]

    @property
    def unit(self) -> bool:
        """Whether the numbers are fractions of the image."""
        return self.value.endswith("_unit")


def convert(boxes: Boxes, source: Layout, target: Layout, sizes: NDArray[np.int64] | None = None) -> Boxes:
    """Write boxes in another layout.

    The same layout gives the same array: stored boxes stay as they were read. A change of corners costs one rounding of
    float64; a change between pixels and fractions another.

    Args:
        boxes: `(N, 4)`.
        source: the layout of `boxes`.
        target: the layout wanted.
        sizes: `(N, 2)` width and height of each box's image; needed between `PX` and `UNIT`.

    Returns:
        `(N, 4)` float64.

    Raises:
        ValueError: if `sizes` is needed and missing, or holds a zero.
    """
    if source is target:
        return boxes
    if source.unit == target.unit:
        return _corners(boxes, source, target)
    if sizes is None or (len(boxes) and not (sizes > 0).all()):
        raise ValueError("the width and height of every image are needed to change between pixels and fractions")
    scale = np.concatenate([sizes, sizes], axis=1).astype(np.float64)
    # The corners change on the side of the pixels, whose values are mostly short and so lose the least.
    return _corners(boxes * scale, source, target) if source.unit else _corners(boxes, source, target) / scale


def _corners(boxes: Boxes, source: Layout, target: Layout) -> Boxes:
    if source.corners == target.corners:
        return boxes
    return _from_xyxy(_to_xyxy(boxes, source.corners), target.corners)


def _to_xyxy(boxes: Boxes, corners: str) -> Boxes:
    if corners == "xyxy":
        return boxes
    first, extent = boxes[:, :2], boxes[:, 2:]
    if corners == "cxcywh":
        first = first - extent / 2
    return np.concatenate([first, first + extent], axis=1)


def _from_xyxy(boxes: Boxes, corners: str) -> Boxes:
    if corners == "xyxy":
        return boxes
    first, extent = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    if corners == "cxcywh":
        first = first + extent / 2
    return np.concatenate([first, extent], axis=1)


def area(boxes: Boxes) -> NDArray[np.float64]:
    """`(N,)` areas of `(N, 4)` XYXY boxes; 0 where a box is empty or inverted."""
    extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    return np.asarray(extent[:, 0] * extent[:, 1])


def intersect(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """`(N, M)` areas of the intersections of `(N, 4)` with `(M, 4)` XYXY boxes."""
    # Column by column: numpy is several times faster on long rows than on rows of two.
    rows, columns = first[:, :, None], second.T
    wide = np.minimum(rows[:, 2], columns[2]) - np.maximum(rows[:, 0], columns[0])
    high = np.minimum(rows[:, 3], columns[3]) - np.maximum(rows[:, 1], columns[1])
    return np.asarray(np.maximum(wide, 0.0) * np.maximum(high, 0.0))


def iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """`(N, M)` intersection over union of `(N, 4)` with `(M, 4)` XYXY boxes, in [0, 1]; 0 where both are empty."""
    shared = intersect(first, second)
    union = area(first)[:, None] + area(second)[None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def clip(boxes: Boxes, width: float, height: float) -> Boxes:
    """`(N, 4)` XYXY boxes cut to `[0, width] x [0, height]`; one wholly outside becomes empty on the border."""
    return np.clip(boxes, 0.0, np.array([width, height, width, height], dtype=np.float64))


def centers(boxes: Boxes) -> NDArray[np.float64]:
    """`(N, 2)` centres x, y of XYXY boxes."""
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2)


def corner_points(boxes: Boxes) -> NDArray[np.float64]:
    """`(N, 4, 2)` corners of XYXY boxes, clockwise on the screen from the top left."""
    return np.asarray(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))


def bounds(points: NDArray[np.float64]) -> Boxes:
    """`(N, 4)` XYXY boxes that just hold `(N, K, 2)` points."""
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
