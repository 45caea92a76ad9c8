"""The operations of the search spaces, each with a strength from 0 to 1, as operations of a plan."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from augsuite.augment import PixelOp, Scene, Warp

Byte = Annotated[int, Meta(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]
Name = Literal[
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "saturation",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
]

MEAN_COLOR = (124, 116, 104)
"""The mean of ImageNet's training images, red, green and blue."""

TRANSFORMS = frozenset(
    {"brightness", "saturation", "contrast", "sharpness", "posterize", "solarize", "autocontrast", "equalize"}
)
"""The operations that are transforms of the same name."""


@dataclass(frozen=True, slots=True)
class Strength:
    """What an operation does at strength 0 and at strength 1.

    Attributes:
        weak: value at 0.
        strong: value at 1.
        signed: the value is taken negative half of the time.
    """

    weak: float
    strong: float
    signed: bool = False

    def at(self, strength: float, sign: int) -> float:
        """The value at a strength in [0, 1]."""
        value = self.weak + strength * (self.strong - self.weak)
        return value * sign if self.signed else value


NOTHING = Strength(0.0, 0.0)


def operation(
    name: str, value: float, scene: Scene, fill: tuple[int, int, int], step: str
) -> tuple[Warp | PixelOp, ...]:
    """An operation with its value, for a scene; nothing for `identity`.

    Args:
        name: one of `Name`.
        value: a shear as Pillow has it: (x, y) shows what was at (x + value y, y); shifts in pixels; `rotate` in degrees, counterclockwise; factors of `brightness`, `saturation`,
            `contrast` and `sharpness` less 1; bits of `posterize`; threshold of `solarize`.
        scene: gives the canvas.
        fill: of what comes from outside.
        step: what the operation is called in the plan.
    """
    if name == "identity":
        return ()
    matrix = _matrix(name, value, scene.width, scene.height)
    if matrix is not None:
        return (Warp(matrix, scene.width, scene.height, fill, step=step),)
    return (PixelOp(step, name, {}, _drawn(name, value)),)


def _matrix(
    name: str, value: float, width: int, height: int
) -> tuple[float, float, float, float, float, float, float, float, float] | None:
    """Where points go; None for what does not move them."""
    if name == "shear_x":
        return (1, -value, 0, 0, 1, 0, 0, 0, 1)
    if name == "shear_y":
        return (1, 0, 0, -value, 1, 0, 0, 0, 1)
    if name == "translate_x":
        return (1, 0, int(value), 0, 1, 0, 0, 0, 1)
    if name == "translate_y":
        return (1, 0, 0, 0, 1, int(value), 0, 0, 1)
    if name == "rotate":
        c, s = math.cos(math.radians(value)), math.sin(math.radians(value))
        x, y = width / 2, height / 2
        return (c, s, x - c * x - s * y, -s, c, y + s * x - c * y, 0, 0, 1)
    return None


def _drawn(name: str, value: float) -> dict[str, Any]:
    """What the transform of that name draws."""
    if name in {"autocontrast", "equalize"}:
        return {}
    if name == "posterize":
        return {"bits": round(value)}
    if name == "solarize":
        return {"threshold": math.ceil(value)}  # of whole levels, those from there on are at least the value
    return {"factor" if name == "sharpness" else name: 1.0 + value}
