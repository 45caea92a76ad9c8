"""RandAugment and TrivialAugment: random operations, with next to nothing to tune."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import PixelOp, Scene, Warp
from augsuite_search.operations import MEAN_COLOR, NOTHING, TRANSFORMS, Color, Name, Strength, operation
from augsuite_search.race import race

_LEVELS = 30
"""Magnitudes are 0, 1, ..., 30."""


def rand_space(width: int, height: int) -> Mapping[str, Strength]:
    """RandAugment's operations on a canvas of that size."""
    factor = Strength(0.0, 0.9, signed=True)
    shift = 150 / 331
    return {
        "identity": NOTHING,
        "shear_x": Strength(0.0, 0.3, signed=True),
        "shear_y": Strength(0.0, 0.3, signed=True),
        "translate_x": Strength(0.0, shift * width, signed=True),
        "translate_y": Strength(0.0, shift * height, signed=True),
        "rotate": Strength(0.0, 30.0, signed=True),
        **dict.fromkeys(("brightness", "saturation", "contrast", "sharpness"), factor),
        "posterize": Strength(8.0, 4.0),
        "solarize": Strength(255.0, 0.0),
        "autocontrast": NOTHING,
        "equalize": NOTHING,
    }


def trivial_space() -> Mapping[str, Strength]:
    """TrivialAugment's wide operations."""
    factor = Strength(0.0, 0.99, signed=True)
    return {
        "identity": NOTHING,
        "shear_x": Strength(0.0, 0.99, signed=True),
        "shear_y": Strength(0.0, 0.99, signed=True),
        "translate_x": Strength(0.0, 32.0, signed=True),
        "translate_y": Strength(0.0, 32.0, signed=True),
        "rotate": Strength(0.0, 135.0, signed=True),
        **dict.fromkeys(("brightness", "saturation", "contrast", "sharpness"), factor),
        "posterize": Strength(8.0, 2.0),
        "solarize": Strength(255.0, 0.0),
        "autocontrast": NOTHING,
        "equalize": NOTHING,
    }


class RandAugment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several operations, each drawn with equal chances, all of one magnitude, in either direction.

    Attributes:
        ops: how many.
        magnitude: of all, from 0 to 30.
        without: operations that are never drawn.
        fill: red, green and blue, 0 to 255, of what comes from outside.

    Source: Cubuk et al. 2020, RandAugment, section 3, arXiv:1909.13719; ranges as `RandAugment` of torchvision.
    """

    ops: Annotated[int, Meta(ge=1, le=20)] = 2
    magnitude: Annotated[float, Meta(ge=0, le=_LEVELS)] = 9
    without: tuple[Name, ...] = ()
    fill: Color = MEAN_COLOR

    def names(self) -> Iterable[str]:
        """The transforms that it may choose."""
        return TRANSFORMS - set(self.without)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Sequence[Warp | PixelOp]:
        """Draw operations and directions."""
        space = rand_space(scene.width, scene.height)
        found: list[Warp | PixelOp] = []
        for place in range(self.ops):
            chosen, sign = _choose(rng, space, self.without)
            if chosen:
                value = space[chosen].at(self.magnitude / _LEVELS, sign)
                found += operation(chosen, value, scene, self.fill, f"{place}.{chosen}")
        return found


class TrivialAugment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One operation, drawn with equal chances, of a magnitude from 0 to 30 drawn with equal chances, in either direction.

    Attributes:
        without: operations that are never drawn.
        fill: red, green and blue, 0 to 255, of what comes from outside.

    Source: Müller and Hutter 2021, TrivialAugment, section 3, arXiv:2103.10158, its wide space; as `TrivialAugmentWide` of
    torchvision. It shifts by up to 32 pixels of the canvas at this step.
    """

    without: tuple[Name, ...] = ()
    fill: Color = MEAN_COLOR

    def names(self) -> Iterable[str]:
        """The transforms that it may choose."""
        return TRANSFORMS - set(self.without)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Sequence[Warp | PixelOp]:
        """Draw operation, magnitude and direction."""
        space = trivial_space()
        chosen, sign = _choose(rng, space, self.without)
        strength = int(rng.integers(_LEVELS, endpoint=True)) / _LEVELS
        if not chosen:
            return ()
        return operation(chosen, space[chosen].at(strength, sign), scene, self.fill, chosen)


def _choose(rng: np.random.Generator, space: Iterable[str], without: Sequence[str]) -> tuple[str | None, int]:
    """An operation, and a sign."""
    chosen = race(rng, {name: 1.0 for name in space if name not in without})
    return chosen, 1 if rng.random() < 0.5 else -1
