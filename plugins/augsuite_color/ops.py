"""What colour transforms are made of: tables for what acts on each channel alone, exact HSV for what does not.

A table is `(256,)` uint8, or `(256, 3)` where channels differ. Two tables in a row are one: `second[first]` rounds where two passes over the image would round, so
composing them is exact.
"""

from __future__ import annotations

from typing import Annotated

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.images import Image

Table = NDArray[np.uint8]
Factor = Annotated[float, msgspec.Meta(ge=0)]
Angle = Annotated[float, msgspec.Meta(ge=-180, le=180)]

GREY = (0.299, 0.587, 0.114)
"""Weights of R, G, B in grey: ITU-R BT.601, as OpenCV, Pillow and torchvision have them."""

LEVELS = np.arange(256, dtype=np.float64)
_STRIP = 1 << 15  # bytes of uint8 pixels turned at once, so that their float copies stay in the processor's cache


def check_range(name: str, low_high: tuple[float, float]) -> None:
    """Refuse a range whose ends are swapped.

    Raises:
        ValueError: which `msgspec` reports as an invalid value.
    """
    low, high = low_high
    if low > high:
        raise ValueError(f"{name} is written [low, high], got [{low:g}, {high:g}]")


def shift_table(delta: float) -> Table:
    """`x + delta`, rounded and cut to 0..255."""
    return table_of(LEVELS + delta)


def blend_table(factor: float, anchor: float = 0.0) -> Table:
    """`factor * x + (1 - factor) * anchor`, rounded and cut to 0..255: away from `anchor` above 1, towards it below."""
    return table_of(factor * LEVELS + (1 - factor) * anchor)


def table_of(values: NDArray[np.float64]) -> Table:
    """Values of 0..255 as a table: rounded and cut."""
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def apply_table(image: Image, table: Table | None) -> Image:
    """Look every value up; None changes nothing."""
    if table is None:
        return image
    return np.asarray(cv2.LUT(image, table.reshape(1, 256, -1)), np.uint8)


def scale_shift(image: Image, factor: float, shift: float = 0.0) -> Image:
    """`factor * image + shift`, rounded and cut to 0..255: half the time of a table and of looking it up.

    In float32, so that what lies exactly between two levels may go the other way than in a table.
    """
    if shift == 0:
        return np.asarray(cv2.convertScaleAbs(image, alpha=factor), np.uint8)
    return np.asarray(cv2.addWeighted(image, factor, image, 0, shift), np.uint8)


def compose(first: Table | None, second: Table) -> Table:
    """The table that does `first`, then `second`."""
    return second if first is None else second[first]


def mean_grey(image: Image) -> float:
    """The mean of the image's grey, in 0..255."""
    return float(cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0])


def blend_grey(image: Image, factor: float) -> Image:
    """`factor * image + (1 - factor) * grey` in each pixel, rounded and cut to 0..255."""
    matrix = (factor * np.eye(3) + (1 - factor) * np.array(GREY)).astype(np.float32)
    return np.asarray(cv2.transform(image, matrix), np.uint8)


def turn_hsv(image: Image, saturation: float = 1.0, hue_deg: float = 0.0, value: float = 1.0) -> Image:
    """Scale saturation and value, and turn the hue, in HSV: not by OpenCV's 8-bit hue, whose steps of 2 degrees are up to 4 levels.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        saturation: factor of HSV's S, which is cut at 1.
        hue_deg: added to HSV's H, around the circle.
        value: factor of HSV's V, which is cut at 255.

    Returns:
        A new image of the same shape, within one level of exact arithmetic.

    Source: Smith 1978, Color gamut transform pairs, SIGGRAPH.
    """
    if saturation == value == 1 and abs((hue_deg + 180) % 360 - 180) <= 30:
        return turn_hue(image, (hue_deg + 180) % 360 - 180)
    height, width = image.shape[:2]
    result = np.empty(image.shape, np.uint8)
    step = max(1, _STRIP // max(1, 3 * width))
    change = np.array([[1, 0, 0, hue_deg % 360], [0, saturation, 0, 0], [0, 0, value, 0]], np.float32)
    limits = _row(width, np.inf, 1, 255)
    # Two strips are used again and again: new ones can cost more in page faults than the work in them.
    first = np.empty((min(step, height), width, 3), np.float32)
    second = np.empty_like(first)
    for top in range(0, height, step):
        rows = min(step, height - top)
        pixels, strip = first[:rows], second[:rows]
        np.copyto(pixels, image[top : top + rows])
        cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV, dst=strip)
        cv2.transform(strip, change, dst=pixels)
        if saturation > 1 or value > 1:
            flat = pixels.reshape(rows, -1)  # rows of 3 * width numbers: numpy is slow where the last axis is 3 long
            np.minimum(flat, limits, out=flat)
        cv2.cvtColor(pixels, cv2.COLOR_HSV2RGB, dst=strip)
        cv2.convertScaleAbs(strip, dst=result[top : top + rows])
    return result


def turn_hue(image: Image, hue_deg: float) -> Image:
    """Turn HSV's hue by at most 30 degrees either way: in bytes, for half of the time that float32 takes, and as exact.

    Going around the circle of hues, each channel rises from the pixel's least value to its greatest while the one after it stays at
    the least, stays at the greatest, and falls again while the one after it stays there: one of the three is on its way at a time, and
    within 60 degrees it covers the whole range. A turn lifts or lowers what is on its way by its share of the range. Where that
    leaves the range, the rest goes to the channel after or before. Both together are, for a channel c and the one after it, n:
    `c + clamp(n, least + step, greatest - step) - n`, clamped to least and greatest. All of these but the step are whole numbers, so
    to round the step is to round the result.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        hue_deg: in [-30, 30]; beyond, `least + step` is more than `greatest - step`.

    Returns:
        A new image of the same shape: exact arithmetic, rounded.
    """
    planes = cv2.split(image)
    if hue_deg < 0:
        planes = planes[::-1]  # the other way around
    first, second, third = planes
    most = np.maximum(np.maximum(first, second), third)
    least = np.minimum(np.minimum(first, second), third)
    step = cv2.convertScaleAbs(most - least, alpha=abs(hue_deg) / 60)
    low, high = least + step, most - step
    spare = np.empty_like(first)
    turned = []
    for plane, after in ((first, second), (second, third), (third, first)):
        # OpenCV's sums stop at 0 and 255, which the least and the greatest value never pass.
        result = cv2.subtract(plane, cv2.subtract(after, high, dst=spare))
        cv2.add(result, cv2.subtract(low, after, dst=spare), dst=result)
        np.maximum(result, least, out=result)
        turned.append(np.minimum(result, most, out=result))
    return np.asarray(cv2.merge(turned[::-1] if hue_deg < 0 else turned), np.uint8)


def _row(width: int, hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    """`(3 * width,)` the three numbers, repeated for each pixel of a row."""
    row = np.empty((width, 3), np.float32)
    row[:, 0], row[:, 1], row[:, 2] = hue, saturation, value
    return row.reshape(-1)
