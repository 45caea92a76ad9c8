"""The means to draw a product: a picture with a silhouette, and the coordinate fields of a round body.

Everything is drawn `DETAIL` times larger than it will be seen, so that edges come out smooth when the finished image is
reduced.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

DETAIL = 4
"""Drawn pixels per pixel of the finished image, in each direction."""

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]
Colour = tuple[float, float, float]

WHITE: Colour = (244, 240, 230)
DARK: Colour = (38, 36, 42)
METAL: Colour = (176, 180, 186)


class Picture:
    """A picture under construction: `(H, W, 3)` float32 colours in 0 to 255 and an `(H, W)` silhouette."""

    def __init__(self, width: int, height: int) -> None:
        """Start transparent."""
        self.width, self.height = width, height
        self.colours = np.zeros((height, width, 3), np.float32)
        self.inside = np.zeros((height, width), np.bool_)
        self.y, self.x = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)

    def fill(self, mask: Mask, colour: Colour | Field) -> None:
        """Paint a part and make it belong to the product."""
        self.colours[mask] = colour if isinstance(colour, tuple) else colour[mask]
        self.inside |= mask

    def shade(self, mask: Mask, factor: Field, shine: Field | float = 0.0) -> None:
        """Darken or lighten a part by a factor, then add light of its own."""
        lit = self.colours[mask] * factor[mask][:, None]
        self.colours[mask] = lit + (shine if isinstance(shine, float) else shine[mask][:, None])

    def polygon(self, points: Sequence[tuple[float, float]]) -> Mask:
        """The inside of a polygon of `(x, y)` fractions of the picture's width and height."""
        image = PIL.Image.new("1", (self.width, self.height))
        PIL.ImageDraw.Draw(image).polygon([(x * self.width, y * self.height) for x, y in points], fill=1)
        return np.asarray(image, np.bool_)


@dataclass(frozen=True, slots=True)
class Turned:
    """The coordinate fields of a body turned on a lathe and seen from slightly above.

    Attributes:
        across: -1 to 1 from edge to edge of the silhouette.
        down: 0 to 1 from rim to base along the bent surface.
        body: the silhouette.
        top: the part of it that is the opening or the lid.
    """

    across: Field
    down: Field
    body: Mask
    top: Mask


def turn(
    picture: Picture, profile: Sequence[tuple[float, float]], left: float = 0.0, right: float = 1.0, bend: float = 0.1
) -> Turned:
    """Make the fields of a turned body.

    Args:
        picture: where it will be drawn.
        profile: `(height fraction, half width fraction)` points from the top to the base.
        left: left edge of the widest part, as a fraction of the picture's width.
        right: right edge.
        bend: half height of the ellipse that a level circle appears as, over its half width.
    """
    heights, widths = zip(*profile, strict=True)
    half = np.interp(picture.y[:, :1] / picture.height, heights, widths) * (right - left) * picture.width / 2
    across = ((picture.x - (left + right) / 2 * picture.width) / half).astype(np.float32)
    sag = (bend * half * np.sqrt(np.clip(1 - across**2, 0, 1))).astype(np.float32)
    top = np.float32(bend * half[0, 0])
    base = np.float32(picture.height - bend * half[-1, 0])
    body = (np.abs(across) <= 1) & (picture.y >= top - sag) & (picture.y <= base + sag)
    down = (picture.y - sag - top) / (base - top)
    return Turned(across, down, body, body & (down < 0))


def roundness(across: Field, shine_at: float, gloss: float) -> tuple[Field, Field]:
    """Factor and highlight of a round surface lit from the front, the highlight at `shine_at`."""
    factor = 0.5 + 0.56 * np.sqrt(np.clip(1 - 0.92 * across**2, 0, 1))
    shine = gloss * (
        np.exp(-(((across - shine_at) / 0.13) ** 2)) + 0.3 * np.exp(-(((np.abs(across) - 0.8) / 0.09) ** 2))
    )
    return factor.astype(np.float32), shine.astype(np.float32)


def brand_colour(rng: np.random.Generator, hue_deg: float, spread_deg: float = 13.0) -> Colour:
    """A saturated colour near a hue."""
    hue = (hue_deg + rng.normal(0, spread_deg)) / 360 % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, rng.uniform(0.5, 0.85), rng.uniform(0.55, 0.92))
    return red * 255, green * 255, blue * 255


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the first colour and the rest of the second."""
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(first, second, strict=True))
    return red, green, blue


def lines(picture: Picture, field_x: Field, field_y: Field, within: Mask, rng: np.random.Generator) -> None:
    """Small print: dark rules of uneven length below each other."""
    for row in range(int(rng.integers(2, 4))):
        length = rng.uniform(0.25, 0.55)
        line = (np.abs(field_y - 0.14 * row) < 0.035) & (np.abs(field_x) < length)
        picture.fill(line & within, DARK)


def ring(
    picture: Picture, centre: tuple[float, float], radius: tuple[float, float], thickness: float, colour: Colour
) -> None:
    """A handle: an elliptic ring, darker towards its inner edge. Centre and radii are fractions of width and height."""
    x = (picture.x / picture.width - centre[0]) / radius[0]
    y = (picture.y / picture.height - centre[1]) / radius[1]
    distance = np.hypot(x, y)
    ring = (distance <= 1) & (distance >= 1 - thickness)
    picture.fill(ring, colour)
    depth = np.clip((1 - distance) / thickness, 0, 1)
    picture.shade(ring, (0.7 + 0.45 * np.sin(np.pi * depth)).astype(np.float32))
