"""Mirrors."""

from __future__ import annotations

import msgspec
import numpy as np

from augsuite.augment import Scene, Warp


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
