"""The shape of an object beyond its box: polygons or RLE, as COCO writes them, in the image's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from augsuite.boxes import Boxes

Polygons = list[list[float]]
"""Rings `[x, y, x, y, ...]`; several for an object in several parts. Source: COCO data format, cocodataset.org/#format-data."""

_DECODER = msgspec.json.Decoder(Polygons)
_NAN = (float("nan"),) * 4


def is_polygons(value: Any) -> bool:
    """Whether a value of the extra `segmentation` is a list of polygons (not RLE, and not absent)."""
    if isinstance(value, msgspec.Raw):
        return bytes(value)[:1] == b"["
    return isinstance(value, list | tuple)


def polygons(value: Any) -> Polygons | None:
    """The polygons of a value of the extra `segmentation`.

    Returns:
        The rings, without those of fewer than 3 points (6 numbers) or of an odd count of numbers; None if none is left, for RLE, and
        for what is absent or malformed.
    """
    if isinstance(value, msgspec.Raw):
        try:
            value = _DECODER.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return None
    if not isinstance(value, list | tuple):
        return None
    try:
        rings = [[float(number) for number in ring] for ring in value if len(ring) >= 6 and len(ring) % 2 == 0]
    except (TypeError, ValueError):
        return None
    return rings or None


def extents(shapes: Sequence[Polygons | None]) -> Boxes:
    """`(N, 4)` float64: xmin, ymin, xmax, ymax around all rings of each; NaN for None."""
    return np.array([_extent(shape) for shape in shapes], np.float64).reshape(-1, 4)


def _extent(shape: Polygons | None) -> tuple[float, float, float, float]:
    if not shape:
        return _NAN
    xs = [value for ring in shape for value in ring[::2]]
    ys = [value for ring in shape for value in ring[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def rectangle(box: Sequence[float]) -> list[float]:
    """The ring of a box (xmin, ymin, xmax, ymax), clockwise on the screen from the top left."""
    left, top, right, bottom = box
    return [left, top, right, top, right, bottom, left, bottom]
