"""The numbers of CVAT's shapes: as text in the file, as a box around them in the tables.

Source: CVAT, XML annotation format 1.1, docs.cvat.ai/docs/other/xml_format; pixels are continuous there as here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from augsuite.dataset import rle
from augsuite.dataset.checks import LARGEST, number
from augsuite_cvat.elements import listed

Box = tuple[float, float, float, float]

CORNERS = ("xtl", "ytl", "xbr", "ybr")
_CUBOID = [f"{axis}{corner}{face}" for face in "12" for corner in ("tl", "bl", "tr", "br") for axis in "xy"]
GEOMETRY = {"box": (*CORNERS, "rotation"), "ellipse": ("cx", "cy", "rx", "ry", "rotation"), "cuboid": tuple(_CUBOID)}
"""The attributes that say where a shape is; those of polygons and masks are `points`, and `rle` with its window."""

_POINTS = msgspec.json.Decoder(list[list[float]])


def coordinate(attributes: Mapping[str, str], key: str) -> float:
    """One number.

    Raises:
        ValueError: if it is missing or none that a box can have.
    """
    value = number(attributes.get(key))
    if value != value:  # noqa: PLR0124 - NaN alone differs from itself, and a function call costs as much as the parse
        raise ValueError(f"{key}: expected a number, got {attributes.get(key)!r}")
    return value


def corners(attributes: Mapping[str, str]) -> Box:
    """The corners of a box.

    Raises:
        ValueError: if one is no number, or they are the wrong way round.
    """
    box = (
        coordinate(attributes, "xtl"),
        coordinate(attributes, "ytl"),
        coordinate(attributes, "xbr"),
        coordinate(attributes, "ybr"),
    )
    if box[2] < box[0] or box[3] < box[1]:
        raise ValueError(f"expected xtl <= xbr and ytl <= ybr, got {list(box)}")
    return box


def extent(shape: str, geometry: Mapping[str, str], parts: Any) -> Box | None:
    """The box around a shape.

    Args:
        shape: `box` (rotated, in degrees clockwise around its centre), `ellipse`, `cuboid` or `skeleton`.
        geometry: its attributes.
        parts: the points of a skeleton.

    Returns:
        None for a skeleton of which no point is in the image.

    Raises:
        ValueError: if a number is missing.
    """
    if shape == "box":
        left, top, right, bottom = corners(geometry)
        return _turned(
            (left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2, geometry, ellipse=False
        )
    if shape == "ellipse":
        cx, cy, rx, ry = (coordinate(geometry, key) for key in ("cx", "cy", "rx", "ry"))
        if rx < 0 or ry < 0:
            raise ValueError(f"expected radii of 0 or more, got {rx:g} and {ry:g}")
        return _turned(cx, cy, rx, ry, geometry, ellipse=True)
    if shape == "cuboid":
        values = [coordinate(geometry, key) for key in _CUBOID]
    else:
        seen = [part for part in listed(parts or []) if isinstance(part, dict) and part.get("@outside") != "1"]
        values = [value for part in seen for value in points(part.get("@points", ""))[0]]
        if not values:
            return None
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _turned(cx: float, cy: float, rx: float, ry: float, geometry: Mapping[str, str], *, ellipse: bool) -> Box:
    """The box around a box or ellipse, given by centre and half extents, turned by `rotation`."""
    turn = math.radians(coordinate(geometry, "rotation")) if "rotation" in geometry else 0.0
    cos, sin = abs(math.cos(turn)), abs(math.sin(turn))
    if ellipse:
        across, down = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    else:
        across, down = rx * cos + ry * sin, rx * sin + ry * cos
    return cx - across, cy - down, cx + across, cy + down


def points(text: str) -> tuple[list[float], str]:
    """The numbers of `points` (`x,y;x,y`), and the same as a JSON array.

    Raises:
        ValueError: if they are no pairs of numbers.
    """
    pairs = text.count(";") + 1
    source = f"[{text.replace(';', ',')}]"
    try:
        values = _POINTS.decode(f"[{source}]")[0]
    except msgspec.DecodeError:
        values = [number(part) for part in text.replace(";", ",").split(",")]
        source = msgspec.json.encode(values).decode()
    sound = text.count(",") == pairs and len(values) == 2 * pairs and math.isfinite(sum(values))
    if not sound or min(values) < -LARGEST or max(values) > LARGEST:
        raise ValueError(f"points: expected 'x,y;x,y', got {text[:40]!r}")
    return values, source


def mask(attributes: Mapping[str, str], width: int, height: int) -> tuple[Box, dict[str, list[int]]]:
    """A mask of an image of that size: its window as a box, its pixels as RLE in COCO's order.

    CVAT's runs go along the rows of the window.

    Raises:
        ValueError: if the window leaves the image, or the runs do not fill it.
    """
    place = [attributes.get(key, "") for key in ("left", "top", "width", "height")]
    if not all(text.isascii() and text.isdecimal() and len(text) < 10 for text in place):
        raise ValueError(f"expected whole numbers left, top, width and height, got {place}")
    left, top, across, down = (int(text) for text in place)
    if left + across > width or top + down > height:
        raise ValueError(
            f"expected a mask inside the image of {width} x {height}, got {across} x {down} at {left}, {top}"
        )
    try:
        lengths = np.array([int(text) for text in attributes.get("rle", "").split(",")], np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"rle: expected whole numbers, got {attributes.get('rle', '')[:40]!r}") from None
    pixels = rle.from_runs(lengths, across, down)
    return (left, top, left + across, top + down), rle.encode(pixels, left, top, width, height)
