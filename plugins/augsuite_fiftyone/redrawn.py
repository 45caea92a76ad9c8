"""Which polygons, masks and keypoints were redrawn in FiftyOne, and what that makes of the extras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.shape_loading import listed
from augsuite.dataset.tables import ABSENT, Dataset
from augsuite_fiftyone.canvas import corners_of
from augsuite_fiftyone.labels import fractions, mask_bytes
from augsuite_fiftyone.outlines import keypoints_value, mask_value, outlines_of, polygon_value, ring_area


@dataclass(frozen=True)
class Drawn:
    """What FiftyOne shows of one annotation.

    Attributes:
        detection: the label, which may hold a mask; empty where there is none.
        polygon: the polyline of the same id; empty where there is none, None where polylines were not looked at.
        points: likewise the keypoints.
    """

    detection: Mapping[str, Any]
    polygon: Mapping[str, Any] | None
    points: Mapping[str, Any] | None


def redrawn(
    before: Dataset, after: Dataset, moved: NDArray[np.bool_], extras: Sequence[dict[str, Any]], drawn: Sequence[Drawn]
) -> None:
    """Bring what was redrawn into the extras, and leave the others exactly as they are.

    Args:
        before: the dataset as it was stored.
        after: the same with the boxes of now.
        moved: `(N,)` whether a box is another one than before.
        extras: of each annotation; changed in place.
        drawn: what is shown of each.
    """
    was, now = corners_of(before), corners_of(after)
    boxed = after.annotations.is_box
    for image in np.unique(before.annotations.image_rows).tolist():
        rows = before.rows_of(image)
        rows = rows[boxed[rows]]
        size = tuple(before.images.sizes[image].tolist())
        if not len(rows) or not all(size):
            continue
        found = outlines_of(before, image, rows, np.where(np.isnan(was[rows]), now[rows], was[rows]))
        for place, row in enumerate(rows.tolist()):
            shown, extra = drawn[row], extras[row]
            _polygon(extra, shown.polygon, found.rings[place], size)
            _mask(
                extra, shown.detection.get("mask"), found.masks[place], now[row].tolist(), size, moved=bool(moved[row])
            )
            _points(extra, shown.points, found.points[place], size)


def _polygon(extra: dict[str, Any], shown: Mapping[str, Any] | None, before: Any, size: tuple[int, int]) -> None:
    if shown is None or (not shown and before is None):
        return
    if shown and before is not None and shown.get("points") == [fractions(ring, size) for ring in before]:
        return
    value = polygon_value(shown, size) if shown else ABSENT
    _put(extra, "segmentation", value)
    if "coco.area" in extra and value is not ABSENT:
        extra["coco.area"] = ring_area(value)


def _mask(
    extra: dict[str, Any], shown: bytes | None, before: Any, box: list[float], size: tuple[int, int], *, moved: bool
) -> None:
    if shown is None:
        if before is not None:
            extra.pop("segmentation", None)
        return
    if before is not None and not moved and bytes(shown) == bytes(mask_bytes(before)):
        return
    value = mask_value(shown, box, size)
    _put(extra, "segmentation", value)
    if "coco.area" in extra and value is not ABSENT:
        extra["coco.area"] = float(sum(value["counts"][1::2]))


def _points(extra: dict[str, Any], shown: Mapping[str, Any] | None, before: Any, size: tuple[int, int]) -> None:
    if shown is None or (not shown and before is None):
        return
    if shown and before is not None:
        places = before[:, :2].copy()
        places[before[:, 2] <= 0] = np.nan
        same = np.array_equal(np.asarray(shown.get("points"), np.float64), fractions(places, size), equal_nan=True)
        if same and shown.get("visibility") == before[:, 2].astype(int).tolist():
            return
    numbers = keypoints_value(shown, size) if shown else None
    key = "yolo.keypoints" if "yolo.keypoints" in extra else "coco.keypoints"
    if numbers is None:
        extra.pop(key, None)
        extra.pop("coco.num_keypoints", None)
        return
    values = np.array(numbers).reshape(-1, 3)
    if key == "yolo.keypoints":
        each = len(listed(extra[key])) // max(len(values), 1)
        values = np.column_stack([values[:, :2] / size, values[:, 2]])[:, : each if each in {2, 3} else 3]
        numbers = values.reshape(-1).tolist()
    extra[key] = numbers
    if "coco.num_keypoints" in extra:
        extra["coco.num_keypoints"] = sum(value > 0 for value in numbers[2::3])


def _put(extra: dict[str, Any], key: str, value: Any) -> None:
    if value is ABSENT:
        extra.pop(key, None)
    else:
        extra[key] = value
