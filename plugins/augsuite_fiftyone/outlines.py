"""Polygons, masks and keypoints of the tables as labels of FiftyOne, and those labels as extras again.

A polygon is a `Polyline`, pixels are the mask of the `Detection`, keypoints are a `Keypoint`; each has the id of the annotation's detection,
so that FiftyOne selects, tags and deletes them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset import rle
from augsuite.dataset.losses import is_spelling
from augsuite.dataset.sample_shapes import Window
from augsuite.dataset.shape_loading import lazy, listed
from augsuite.dataset.shapes import is_polygons, polygons
from augsuite.dataset.tables import ABSENT, Dataset
from augsuite_fiftyone.labels import in_pixels, mask_in_box, mask_of

_DECIMALS = 6  # of a pixel


@dataclass(frozen=True)
class Outlines:
    """What the annotations of one image have beyond boxes; entries of None where one has none.

    Attributes:
        rings: the outline's rings, each `(P, 2)` in pixels.
        masks: `(h, w)` bool within the box.
        points: `(K, 3)` x, y in pixels and visibility.
    """

    rings: list[Sequence[NDArray[np.float64]] | None]
    masks: list[NDArray[np.bool_] | None]
    points: list[NDArray[np.float64] | None]


def any_outlines(data: Dataset) -> bool:
    """Whether a dataset may have any."""
    return bool({"segmentation", "coco.keypoints", "yolo.keypoints", "cvat.geometry"} & data.annotations.extra.keys())


def outlines_of(data: Dataset, image_row: int, rows: NDArray[np.int64], corners: NDArray[np.float64]) -> Outlines:
    """Those of some annotations of one image.

    Args:
        data: the dataset.
        image_row: the image's.
        rows: `(N,)` of annotations with boxes.
        corners: `(N, 4)` XYXY in pixels.
    """
    count = len(rows)
    found = lazy(data, rows, image_row)
    width, height = data.images.sizes[image_row].tolist()
    if found is None or not width or not height:
        return Outlines([None] * count, [None] * count, [None] * count)
    shapes = found()
    rings: list[Sequence[NDArray[np.float64]] | None] = []
    for polygon, quad in zip(shapes.polygons, shapes.quads, strict=True):
        rings.append(polygon or (None if np.isnan(quad).any() else [quad]))
    masks = [
        None if window is None else mask_in_box(window, box)
        for window, box in zip(shapes.masks, corners.tolist(), strict=True)
    ]
    extra = data.annotations.extra
    points: list[NDArray[np.float64] | None] = []
    for row, placed in zip(rows.tolist(), shapes.keypoints, strict=True):
        if "coco.keypoints" in extra:
            placed = placed[: len(listed(extra["coco.keypoints"][row])) // 3]  # noqa: PLW2901 - others have more
        points.append(placed if len(placed) and placed[:, 2].any() else None)
    return Outlines(rings, masks, points)


def polygon_value(label: Mapping[str, Any], size: tuple[int, int]) -> Any:
    """The value of `segmentation` for a polyline that was drawn or edited; ABSENT where no ring is left."""
    rings = [np.round(in_pixels(ring, size), _DECIMALS) for ring in label.get("points") or []]
    return [ring.reshape(-1).tolist() for ring in rings if len(ring) >= 3] or ABSENT


def mask_value(content: bytes, box: Sequence[float], size: tuple[int, int]) -> Any:
    """The value of `segmentation` for the mask of a detection, placed in its box; ABSENT where no pixel is set.

    Args:
        content: the mask as FiftyOne stores it.
        box: XYXY in pixels.
        size: width and height of the image.
    """
    window = _placed(mask_of(content), box, size)
    return ABSENT if window is None else rle.encode(window[2], window[0], window[1], *size)


def keypoints_value(label: Mapping[str, Any], size: tuple[int, int]) -> list[float]:
    """The value of `coco.keypoints` for keypoints that were drawn or moved."""
    points = in_pixels(label.get("points") or [], size)
    labelled = np.all(np.isfinite(points), axis=1)
    said = label.get("visibility")
    shown = (
        np.asarray(said, np.float64)
        if isinstance(said, list) and len(said) == len(points)
        else np.full(len(points), 2.0)
    )
    shown = np.where(labelled, np.where(shown > 0, shown, 2.0), 0.0)
    values = np.column_stack([np.where(labelled[:, None], np.round(points, _DECIMALS), 0.0), shown])
    return [int(value) if value == int(value) else value for value in values.reshape(-1).tolist()]


def ring_area(value: Any) -> float:
    """The area within the rings of a `segmentation`, each by the shoelace formula."""
    total = 0.0
    for ring in value:
        x, y = np.asarray(ring, np.float64).reshape(-1, 2).T
        total += abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return total


def forget_place(extra: dict[str, Any], corners: NDArray[np.float64]) -> None:
    """Correct what the extras of an annotation say of a box that was moved: how it was spelled, and the area, where no outline says it."""
    for key in [key for key in extra if is_spelling(key)]:
        del extra[key]
    outlined = is_polygons(extra.get("segmentation")) and polygons(extra["segmentation"]) is not None
    outlined = outlined or rle.window(extra.get("segmentation")) is not None
    if "coco.area" in extra and not outlined:
        extra["coco.area"] = float((corners[2] - corners[0]) * (corners[3] - corners[1]))


def _placed(mask: NDArray[np.bool_], box: Sequence[float], size: tuple[int, int]) -> Window | None:
    """The pixels of an image that a mask covers, stretched over a box to whole pixels."""
    left, top = int(np.floor(box[0])), int(np.floor(box[1]))
    wide, high = max(int(np.ceil(box[2])) - left, 1), max(int(np.ceil(box[3])) - top, 1)
    if mask.shape != (high, wide):
        down = (np.arange(high) * mask.shape[0]) // high
        across = (np.arange(wide) * mask.shape[1]) // wide
        mask = mask[down[:, None], across]
    x, y = max(left, 0), max(top, 0)
    part = mask[y - top : size[1] - top, x - left : size[0] - left]
    return (x, y, part) if part.any() else None
