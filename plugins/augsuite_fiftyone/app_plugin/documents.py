"""Labels as FiftyOne's database holds them, to pixels and back. Nothing here imports FiftyOne."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from augsuite.dataset.sample_shapes import Rings, Shapes, Window
from augsuite.errors import DataError
from augsuite_fiftyone.labels import LISTS, Document, mask_bytes, mask_in_box, mask_of

Size = tuple[int, int]
"""Width and height."""

_HAIR = 1e-6  # of a pixel: rounding of numbers that were divided by a side


def listed(value: Document | None, kind: str) -> list[Document]:
    """The labels of a field."""
    if not value:
        return []
    return list(value.get(LISTS[kind]) or []) if kind in LISTS else [value]


def box_of(document: Document, size: Size) -> list[float]:
    """XYXY in pixels: of a box, or around a polygon."""
    if document["_cls"] == "Polyline":
        points = np.concatenate([np.zeros((0, 2)), *(rings_of(document, size) or ())])
        return [*points.min(axis=0), *points.max(axis=0)] if len(points) else [0.0] * 4
    left, top, width, height = document.get("bounding_box") or [0.0] * 4
    return [left * size[0], top * size[1], (left + width) * size[0], (top + height) * size[1]]


def rings_of(document: Document, size: Size) -> Rings | None:
    """The rings of a polygon in pixels; None for another label."""
    if document["_cls"] != "Polyline":
        return None
    parts = [np.array(part, np.float64).reshape(-1, 2) * size for part in document.get("points") or []]
    return tuple(part for part in parts if len(part) > 2)


def window_of(document: Document, size: Size) -> Window | None:
    """The pixels of an instance; None for a label without a mask.

    FiftyOne stretches a mask over its box. One that has as many pixels as the box, rounded, is taken as it is.
    """
    mask = _mask(document)
    if mask is None:
        return None
    left, top, right, bottom = _pixels(box_of(document, size), mask.shape)
    if mask.shape != (bottom - top, right - left):
        resized = PIL.Image.fromarray(mask).resize((right - left, bottom - top), PIL.Image.Resampling.NEAREST)
        mask = np.asarray(resized)
    # A box may reach beyond its image.
    x, y = max(left, 0), max(top, 0)
    part = mask[y - top : max(size[1] - top, 0), x - left : max(size[0] - left, 0)]
    return x, y, np.ascontiguousarray(part)


def _pixels(box: Sequence[float], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The pixels that a mask of a shape stands for: those that the box touches, or else its rounded corners."""
    left, top = (math.floor(value + _HAIR) for value in box[:2])
    right, bottom = (math.ceil(value - _HAIR) for value in box[2:])
    if shape == (bottom - top, right - left):
        return left, top, right, bottom
    left, top, right, bottom = map(round, box)
    return left, top, max(left + 1, right), max(top + 1, bottom)


def _mask(document: Document) -> NDArray[np.bool_] | None:
    if document.get("mask") is not None:
        found = mask_of(document["mask"])
    elif document.get("mask_path"):
        found = _read(document["mask_path"])
    else:
        return None
    return np.asarray(found.any(axis=2) if found.ndim == 3 else found, bool)


def _read(path: str) -> NDArray[np.bool_]:
    try:
        with PIL.Image.open(path) as image:
            return np.asarray(image) > 0
    except OSError as error:
        raise DataError(f"{path}: the mask cannot be read ({error}). Put it there, or leave its field out.") from error


def placed(
    document: Document, box: NDArray[np.float64], shapes: Shapes | None, row: int, size: Size
) -> Document | None:
    """A label's geometry after its image was moved: what replaces that of the document; None where nothing of it is left.

    Args:
        document: the label as it was.
        box: `(4,)` XYXY in pixels of the new image.
        shapes: those of the new image; None where none has any.
        row: of the label in `shapes`.
        size: of the new image.
    """
    width, height = size
    if document["_cls"] == "Polyline":
        rings = shapes.polygons[row] if shapes is not None else None
        return {"points": [(ring / size).tolist() for ring in rings]} if rings else None
    left, top, right, bottom = box.tolist()
    found: Document = {"bounding_box": [left / width, top / height, (right - left) / width, (bottom - top) / height]}
    window = None if shapes is None else shapes.masks[row]
    if window is not None:
        if not window[2].any():
            return None
        found["mask"] = mask_bytes(mask_in_box(window, (left, top, right, bottom)))
    return found


def traced(
    document: Document,
    points: NDArray[np.float64],
    lengths: Sequence[int],
    corners: NDArray[np.bool_],
    size: Size,
    *,
    bent: bool,
) -> Document | None:
    """The points of a label after its image was moved: what replaces those of the document; None where none is seen.

    Args:
        document: the label as it was: keypoints, or an open line.
        points: `(P, 3)` x, y in pixels of the new image and whether they are seen.
        lengths: of the parts.
        corners: `(P,)` which points the label had.
        size: of the new image.
        bent: straight lines may have become curves, so that the points between the corners are needed.
    """
    seen = points[:, 2] > 0
    places = np.where(seen[:, None], points[:, :2] / size, np.nan)
    if document["_cls"] == "Keypoint":
        return {"points": places.tolist()} if seen.any() else None
    parts = []
    end = 0
    for length in lengths:
        start, end = end, end + length
        for first, last in _runs(seen[start:end]):
            own = np.arange(start + first, start + last)
            kept = own if bent else own[corners[own] | (own == own[0]) | (own == own[-1])]
            if len(kept) > 1:
                parts.append(places[kept].tolist())
    return {"points": parts} if parts else None


def _runs(seen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past last of each row of points that are seen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
