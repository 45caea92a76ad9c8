"""Colours of categories, the same in every picture and page."""

from __future__ import annotations

import colorsys

Color = tuple[int, int, int]


def class_color(row: int) -> Color:
    """A colour for a category: hues a golden ratio apart, so that neighbours differ, in three shades."""
    hue = (row * 0.618034 + 0.02) % 1
    saturation, value = ((0.85, 0.95), (0.6, 1.0), (1.0, 0.72))[row // 8 % 3]
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue
