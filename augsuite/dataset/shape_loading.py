"""The shapes of an image's boxes, out of the extras of the formats that have them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.sample_shapes import Lazy, Rings, Shapes, Window, parsed

if TYPE_CHECKING:
    from augsuite.dataset.tables import Dataset, Rows

_KEYS = ("segmentation", "coco.keypoints", "yolo.keypoints", "cvat.geometry")
_NUMBERS = msgspec.json.Decoder(list[float])


def lazy(data: Dataset, rows: Rows, image_row: int) -> Lazy | None:
    """What loads the shapes of some boxes of one image; None where the dataset knows of none.

    `segmentation` gives polygons and masks; `coco.keypoints` and `yolo.keypoints` give keypoints, and with the category's
    `coco.keypoints` (names) or the `flip_idx` of `yolo.yaml` which of them trade places in a mirror image; `cvat.geometry` gives the
    oriented boxes.

    Args:
        data: the dataset.
        rows: `(N,)` of the annotations.
        image_row: of their image.
    """
    extra = data.annotations.extra
    found = {key: extra[key][rows] for key in _KEYS if key in extra}
    if not found:
        return None
    names = data.categories.extra.get("coco.keypoints")
    settings = data.extra.get("yolo.yaml")
    width, height = data.images.sizes[image_row].tolist()
    return Lazy(
        _Load(
            len(rows),
            found,
            None if names is None else names[data.annotations.category_rows[rows]],
            settings if isinstance(settings, Mapping) else {},
            (width, height),
        )
    )


@dataclass(frozen=True)
class _Load:
    """The values of one image's boxes, not decoded yet."""

    count: int
    extra: Mapping[str, NDArray[np.object_]]
    names: NDArray[np.object_] | None
    settings: Mapping[str, Any]
    size: tuple[int, int]

    def __call__(self) -> Shapes:
        shapes: list[tuple[Rings | None, Window | None]] = [(None, None)] * self.count
        if "segmentation" in self.extra:
            shapes = [parsed(value) for value in self.extra["segmentation"]]
        points, swaps = self._keypoints()
        made = Shapes.of(self.count, keypoints=points, mirrored=swaps, quads=self._quads())
        return Shapes(
            tuple(rings for rings, _ in shapes),
            tuple(window for _, window in shapes),
            made.keypoints,
            made.quads,
            made.mirrored,
        )

    def _keypoints(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if "coco.keypoints" in self.extra:
            found = [_triples(value) for value in self.extra["coco.keypoints"]]
        elif "yolo.keypoints" in self.extra and all(self.size):
            found = [self._yolo(value) for value in self.extra["yolo.keypoints"]]
        else:
            found = [np.zeros((0, 3))] * self.count
        most = max(map(len, found), default=0)
        points = np.zeros((self.count, most, 3))
        swaps = np.broadcast_to(np.arange(most), (self.count, most)).copy()
        for row, own in enumerate(found):
            points[row, : len(own)] = own
            swaps[row, : len(own)] = self._mirrored(row, len(own))
        return points, swaps

    def _yolo(self, value: Any) -> NDArray[np.float64]:
        """Fractions of the image; two numbers for each point (where 0, 0 is none) or three."""
        shape = self.settings.get("kpt_shape")
        each = shape[1] if isinstance(shape, list) and len(shape) == 2 and shape[1] in {2, 3} else 0
        numbers = listed(value)
        if not each or len(numbers) % each:
            return np.zeros((0, 3))
        points = np.array(numbers, np.float64).reshape(-1, each)
        seen = points[:, 2] if each == 3 else 2.0 * points.any(axis=1)
        return _labelled(np.column_stack([points[:, :2] * self.size, seen]))

    def _mirrored(self, row: int, count: int) -> NDArray[np.int64]:
        order = np.arange(count)
        flip = self.settings.get("flip_idx")
        if isinstance(flip, list) and sorted(map(str, flip)) == sorted(map(str, range(count))):
            return np.array(flip, np.int64)
        names = _names(self.names[row]) if self.names is not None else []
        return mirror_order(names) if len(names) == count else order

    def _quads(self) -> NDArray[np.float64] | None:
        if "cvat.geometry" not in self.extra:
            return None
        return np.array([_turned_box(value) for value in self.extra["cvat.geometry"]], np.float64).reshape(-1, 4, 2)


def listed(value: Any) -> list[float]:
    """The numbers of a value of an extra, decoded or not; none for anything but a list of numbers."""
    if isinstance(value, msgspec.Raw):
        try:
            return _NUMBERS.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return []
    if not isinstance(value, list | tuple):
        return []
    return list(value) if all(isinstance(number, int | float) for number in value) else []


def _triples(value: Any) -> NDArray[np.float64]:
    numbers = listed(value)
    return _labelled(np.array(numbers, np.float64).reshape(-1, 3)) if len(numbers) % 3 == 0 else np.zeros((0, 3))


def _labelled(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zeros for a keypoint that is not labelled."""
    return np.where(((points[:, 2] > 0) & np.isfinite(points).all(axis=1))[:, None], points, 0.0)


def _names(value: Any) -> list[str]:
    if isinstance(value, msgspec.Raw):
        try:
            return msgspec.json.decode(value, type=list[str])
        except (msgspec.DecodeError, RecursionError):
            return []
    return [name for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []


def mirror_order(names: Sequence[str]) -> NDArray[np.int64]:
    """`(K,)` which keypoint takes the place of each in a mirror image, by their names: `left_eye` and `right_eye` trade places."""
    at = {name: place for place, name in enumerate(names)}
    order = [at.get(_other_side(name), place) for place, name in enumerate(names)]
    return np.array(order if len(set(order)) == len(names) else range(len(names)), np.int64)


def _other_side(name: str) -> str:
    """`right_eye` for `left_eye`, and back; the name itself where it says no side."""
    words = name.lower().replace("-", "_").split("_")
    other = {"left": "right", "right": "left", "l": "r", "r": "l"}
    sides = [place for place, word in enumerate(words) if word in other]
    if len(sides) != 1:
        return name
    separator = "-" if "-" in name else "_"
    parts = name.split(separator)
    if len(parts) != len(words):
        return name
    parts[sides[0]] = _in_case(other[words[sides[0]]], parts[sides[0]])
    return separator.join(parts)


def _in_case(word: str, like: str) -> str:
    return word.upper() if like.isupper() else word.capitalize() if like[:1].isupper() else word


def _turned_box(value: Any) -> list[float]:
    """The corners of a box that CVAT turns clockwise about its centre, from the top left; NaN for another shape.

    Source: CVAT XML 1.1, docs.cvat.ai/docs/dataset_management/formats/xml_format.
    """
    keys = ("xtl", "ytl", "xbr", "ybr", "rotation")
    try:
        left, top, right, bottom, turn = (float(value[key]) for key in keys)
    except (TypeError, KeyError, ValueError):
        return [math.nan] * 8
    x, y = (left + right) / 2, (top + bottom) / 2
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    corners = ((left - x, top - y), (right - x, top - y), (right - x, bottom - y), (left - x, bottom - y))
    return [value for u, v in corners for value in (x + cos * u - sin * v, y + sin * u + cos * v)]
