"""Mirrors and quarter turns: exact, pixel for pixel."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from augsuite.augment import Scene, Warp

Turns = Literal[0, 1, 2, 3]


class HFlip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mirror left and right: `x -> width - x`."""

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Nothing is random."""
        del rng
        return Warp((-1, 0, scene.width, 0, 1, 0, 0, 0, 1), scene.width, scene.height)


class VFlip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mirror top and bottom: `y -> height - y`."""

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Nothing is random."""
        del rng
        return Warp((1, 0, 0, 0, -1, scene.height, 0, 0, 1), scene.width, scene.height)


class Transpose(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Mirror about the diagonal from the top left: `x` and `y` trade places."""

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Nothing is random."""
        del rng
        return Warp((0, 1, 0, 1, 0, 0, 0, 0, 1), scene.height, scene.width)


class Rot90(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Turn by quarters, counter-clockwise.

    Attributes:
        turns: the numbers of quarter turns to choose from, each as likely.

    Source: as `numpy.rot90`.
    """

    turns: tuple[Turns, ...] = (0, 1, 2, 3)

    def __post_init__(self) -> None:
        """There must be something to choose from."""
        if not self.turns:
            raise ValueError("turns: expected at least one number")

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp | None:
        """Draw a number of turns; None for no turn."""
        width, height = scene.width, scene.height
        turns = self.turns[int(rng.integers(len(self.turns)))]
        if turns == 0:
            return None
        if turns == 1:
            return Warp((0, 1, 0, -1, 0, width, 0, 0, 1), height, width)
        if turns == 2:
            return Warp((-1, 0, width, 0, -1, height, 0, 0, 1), width, height)
        return Warp((0, -1, height, 1, 0, 0, 0, 0, 1), height, width)
