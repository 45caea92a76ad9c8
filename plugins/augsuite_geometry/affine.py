"""Turns, shifts, scales and shears about the centre."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import Scene, Warp
from augsuite_geometry.canvas import MEAN_COLOR, Color

Angle = Annotated[float, Meta(ge=0, le=180)]
Frac = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Slant = Annotated[float, Meta(ge=0, lt=90)]


def about_center(
    scene: Scene,
    fill: tuple[int, int, int],
    *,
    rotate_deg: float,
    shift: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    shear_deg: tuple[float, float] = (0.0, 0.0),
) -> Warp:
    """Shear, turn and scale about the centre of the canvas, then shift; the canvas keeps its size.

    Args:
        scene: gives the canvas.
        fill: of what comes from outside.
        rotate_deg: clockwise on the screen.
        shift: right and down, in pixels.
        scale: above 1 magnifies.
        shear_deg: along x and along y.

    Source: `_get_inverse_affine_matrix` of torchvision.transforms.functional, which gives the inverse of this.
    """
    turn, along_x, along_y = (math.radians(angle) for angle in (rotate_deg, *shear_deg))
    cos_y = math.cos(along_y)
    a = scale * math.cos(turn - along_y) / cos_y
    b = scale * (-math.cos(turn - along_y) * math.tan(along_x) / cos_y - math.sin(turn))
    d = scale * math.sin(turn - along_y) / cos_y
    e = scale * (-math.sin(turn - along_y) * math.tan(along_x) / cos_y + math.cos(turn))
    x, y = scene.width / 2, scene.height / 2
    matrix = (a, b, x + shift[0] - a * x - b * y, d, e, y + shift[1] - d * x - e * y, 0, 0, 1)
    return Warp(matrix, scene.width, scene.height, fill)


class Rotate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Turn about the centre by an angle uniform in [-`max_deg`, `max_deg`]; the canvas keeps its size.

    Attributes:
        max_deg: from 0 to 180.
        fill: red, green and blue, 0 to 255, of the corners.

    Source: as `RandomRotation` of torchvision, with `expand=False`.
    """

    max_deg: Angle = 15.0
    fill: Color = MEAN_COLOR

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw an angle."""
        return about_center(scene, self.fill, rotate_deg=rng.uniform(-self.max_deg, self.max_deg))


class Shear(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shear about the centre by angles uniform in [-`x_deg`, `x_deg`] and [-`y_deg`, `y_deg`]; the canvas keeps its size.

    Attributes:
        x_deg: largest angle along x, below 90.
        y_deg: largest angle along y, below 90.
        fill: red, green and blue, 0 to 255, of what comes from outside.

    Source: as `RandomAffine` of torchvision, with `shear` alone.
    """

    x_deg: Slant = 15.0
    y_deg: Slant = 0.0
    fill: Color = MEAN_COLOR

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw the angles."""
        along_x, along_y = rng.uniform(-1.0, 1.0, size=2)
        return about_center(scene, self.fill, rotate_deg=0.0, shear_deg=(along_x * self.x_deg, along_y * self.y_deg))


class Translate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shift by whole pixels, uniform either way; the canvas keeps its size.

    Attributes:
        x_frac: largest shift right or left, as a share of the width.
        y_frac: largest shift down or up, as a share of the height.
        fill: red, green and blue, 0 to 255, of what comes from outside.

    Source: as `RandomAffine` of torchvision, with `translate` alone.
    """

    x_frac: Frac = 0.1
    y_frac: Frac = 0.1
    fill: Color = MEAN_COLOR

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw the shift."""
        most = round(self.x_frac * scene.width), round(self.y_frac * scene.height)
        right, down = (int(rng.integers(-side, side, endpoint=True)) for side in most)
        return Warp((1, 0, right, 0, 1, down, 0, 0, 1), scene.width, scene.height, self.fill)


class Affine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Turn, shift, scale and shear about the centre, each uniform in its range; the canvas keeps its size.

    Attributes:
        rotate_deg: largest turn either way, from 0 to 180.
        translate_frac: largest shift either way, as a share of width and of height.
        scale: smallest and largest magnification.
        shear_deg: largest shear along x either way, below 90.
        fill: red, green and blue, 0 to 255, of what comes from outside.

    Source: as `RandomAffine` of torchvision.
    """

    rotate_deg: Angle = 10.0
    translate_frac: tuple[Frac, Frac] = (0.1, 0.1)
    scale: tuple[Positive, Positive] = (0.9, 1.1)
    shear_deg: Slant = 5.0
    fill: Color = MEAN_COLOR

    def __post_init__(self) -> None:
        """Check the order of the pair."""
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: expected the smaller number first, got {list(self.scale)}")

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw turn, shift, scale and shear."""
        turn, right, down, shear = rng.uniform(-1.0, 1.0, size=4).tolist()
        return about_center(
            scene,
            self.fill,
            rotate_deg=turn * self.rotate_deg,
            shift=(right * self.translate_frac[0] * scene.width, down * self.translate_frac[1] * scene.height),
            scale=rng.uniform(*self.scale),
            shear_deg=(shear * self.shear_deg, 0.0),
        )
