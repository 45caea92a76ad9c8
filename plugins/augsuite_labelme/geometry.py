"""LabelMe's points: where the box of each type of shape is, in continuous pixels; LabelMe's own are continuous too."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import PIL.Image

from augsuite.dataset import rle
from augsuite.dataset.checks import LARGEST
from augsuite_labelme.model import Shape

__all__ = ["LARGEST", "NO_BOX", "Box", "Placed", "decode_mask", "encode_mask", "extent", "place"]

Box = tuple[float, float, float, float]
NO_BOX: Box = (math.nan,) * 4

TURNED = frozenset({"oriented_rectangle", "rotation"})
"""Rectangles given by four corners: LabelMe's name, and that of AnyLabeling and its kin."""


class Placed(NamedTuple):
    """Where a shape is.

    Attributes:
        box: around it.
        ring: of a polygon, its numbers as a JSON array.
        segmentation: of a mask, COCO's RLE.
        exact: whether its points say more than box and polygon do, and are to be kept.
    """

    box: Box
    ring: bytes = b""
    segmentation: dict[str, list[int]] | None = None
    exact: bool = False


def place(kind: str, shape: Shape, size: tuple[int, int]) -> Placed | None:
    """Where a shape is; None for lines and points, and for types that are not known: they cover no area.

    Args:
        kind: `shape_type`.
        shape: the shape.
        size: of the image; zeros where unknown.

    Raises:
        ValueError: if its points or its mask make no such shape.
    """
    points = shape.points
    if kind == "polygon":
        box = extent(kind, points)
        if len(points) < 3:
            return Placed(box, exact=True)
        return Placed(box, msgspec.json.encode([number for point in points for number in point]))
    if kind == "rectangle":
        box = extent(kind, points)
        return Placed(box, exact=len(points) != 2 or box != (*points[0], *points[1]))
    if kind == "mask" and shape.mask and all(size):
        window = extent(kind, points)
        left, top, right, bottom = window
        if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]) or not all(
            float(number).is_integer() for number in window
        ):
            raise ValueError(f"mask: expected whole pixels inside the image of {size[0]} x {size[1]}, got {points}")
        pixels = decode_mask(shape.mask, int(right - left), int(bottom - top))
        return Placed(window, segmentation=rle.encode(pixels, int(left), int(top), *size))
    if kind in TURNED or kind in {"circle", "mask"}:
        return Placed(extent(kind, points), exact=True)
    return None


def extent(kind: str, points: Sequence[Sequence[float]]) -> Box:
    """The box around the points of a shape.

    Raises:
        ValueError: if they are too few or too many.
    """
    if not points:
        raise ValueError(f"points: expected those of a {kind}, got none")
    if kind == "rectangle" and len(points) not in {2, 4}:
        raise ValueError(f"points: expected 2 corners of a rectangle, got {len(points)} points")
    if kind in {"circle", "mask"} and len(points) != 2:
        raise ValueError(f"points: expected 2 points of a {kind}, got {len(points)}")
    if kind == "circle":
        (x, y), edge = points
        radius = math.hypot(edge[0] - x, edge[1] - y)
        return x - radius, y - radius, x + radius, y + radius
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    inclusive = 1.0 if kind == "mask" else 0.0  # the corners of a mask are its first and its last pixel
    return min(xs), min(ys), max(xs) + inclusive, max(ys) + inclusive


def decode_mask(text: str, width: int, height: int) -> rle.Mask:
    """The pixels of a mask: a PNG in base64.

    Raises:
        ValueError: if it is none of that size.
    """
    try:
        data = base64.b64decode(text, validate=True)
        with PIL.Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.size != (width, height) or width * height > rle.LARGEST_PIXELS:
                raise ValueError(f"expected {width} x {height} pixels, got {image.size[0]} x {image.size[1]}")
            pixels = np.asarray(image)
    except (binascii.Error, OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"mask: expected a PNG in base64 ({str(error) or type(error).__name__})") from error
    return np.asarray(pixels if pixels.ndim == 2 else pixels[..., 0], bool)


def encode_mask(pixels: rle.Mask) -> str:
    """The way back."""
    out = io.BytesIO()
    PIL.Image.fromarray(pixels.astype(np.uint8) * 255).convert("1").save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def numbers(value: Any) -> bool:
    """Whether a value is a list of points."""
    return isinstance(value, list) and all(isinstance(point, list) and len(point) == 2 for point in value)
