"""The shapes of augmented boxes as the extras that formats have for them: the way back from `augsuite.dataset.shape_loading`."""

from __future__ import annotations

from typing import Any

import numpy as np

from augsuite.dataset import ABSENT, rle
from augsuite.dataset.sample_shapes import Shapes
from augsuite.dataset.shape_loading import listed

KEYS = frozenset({"segmentation", "coco.keypoints", "coco.num_keypoints", "yolo.keypoints"})
"""The extras that `moved_value` knows."""

_DECIMALS = 6  # a millionth of a pixel; more says nothing


def moved_value(key: str, value: Any, shapes: Shapes, row: int, size: tuple[int, int]) -> Any:
    """What an extra says of a box after its image was moved.

    Args:
        key: one of `KEYS`.
        value: what it said before.
        shapes: those of the augmented image.
        row: of the box in them.
        size: width and height of the augmented image.

    Returns:
        The new value; ABSENT where nothing is known or seen any more.
    """
    if key == "segmentation":
        return _segmentation(shapes, row, size)
    points = shapes.keypoints[row]
    if key == "coco.num_keypoints":
        return int((points[:, 2] > 0).sum()) if len(points) else ABSENT
    numbers = len(listed(value))
    each = 3 if key == "coco.keypoints" else numbers // len(points) if len(points) else 0
    if not numbers or each not in {2, 3} or numbers % each or numbers // each > len(points):
        return ABSENT
    own = points[: numbers // each, :each].copy()
    if key == "yolo.keypoints":
        own[:, :2] /= size
    return np.round(own, _DECIMALS).reshape(-1).tolist()


def _segmentation(shapes: Shapes, row: int, size: tuple[int, int]) -> Any:
    rings, window = shapes.polygons[row], shapes.masks[row]
    if rings:
        return [np.round(ring, _DECIMALS).reshape(-1).tolist() for ring in rings]
    if window is not None and window[2].size:
        left, top, mask = window
        return rle.encode(mask, left, top, *size)
    return ABSENT
