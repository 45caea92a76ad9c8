"""AugMix: the image blended with chains of operations on itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

import cv2
import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import PixelOp, Plan, Scene, Warp, render
from augsuite.augment.plan import Origin
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite_search.operations import MEAN_COLOR, NOTHING, TRANSFORMS, Color, Strength, operation

_LEVELS = 10
_DEEPEST = 3
_MOVING = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
_STILL = ("autocontrast", "equalize", "posterize", "solarize")
_WHOLE = frozenset({"translate_x", "translate_y", "rotate"})
"""Operations whose value the paper's code cuts to a whole number."""


def mix_space(width: int, height: int) -> Mapping[str, Strength]:
    """AugMix's operations on a canvas of that size: none that is a corruption of ImageNet-C."""
    return {
        "autocontrast": NOTHING,
        "equalize": NOTHING,
        "posterize": Strength(4.0, 0.0),
        "solarize": Strength(256.0, 0.0),
        "shear_x": Strength(0.0, 0.3, signed=True),
        "shear_y": Strength(0.0, 0.3, signed=True),
        "translate_x": Strength(0.0, width / 3, signed=True),
        "translate_y": Strength(0.0, height / 3, signed=True),
        "rotate": Strength(0.0, 30.0, signed=True),
    }


class AugMix(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Blend the image with several chains of one to three random operations on it.

    It runs on the finished canvas, chains included, and boxes stay where they are: for detection, leave out what moves pixels.

    Attributes:
        severity: of the operations, from 1 to 10; each magnitude is uniform in [0.1, `severity`].
        width: how many chains.
        depth: operations in a chain; 0 draws 1, 2 or 3 for each.
        alpha: the shares of the chains are Dirichlet(`alpha`, ...), that of them all together Beta(`alpha`, `alpha`).
        moving: with the operations that move pixels: shears, shifts and turns.
        fill: red, green and blue, 0 to 255, of what comes from outside.

    Source: Hendrycks et al. 2020, AugMix, section 3, arXiv:1912.02781; operations and ranges of
    github.com/google-research/augmix, augmentations.py.
    """

    pointwise: ClassVar[bool] = False

    severity: Annotated[float, Meta(ge=1, le=_LEVELS)] = 3
    width: Annotated[int, Meta(ge=1, le=10)] = 3
    depth: Annotated[int, Meta(ge=0, le=10)] = 0
    alpha: Annotated[float, Meta(gt=0)] = 1.0
    moving: bool = True
    fill: Color = MEAN_COLOR

    def names(self) -> Iterable[str]:
        """The transforms that it may use."""
        return TRANSFORMS & set(_STILL)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw shares and chains."""
        space = mix_space(scene.width, scene.height)
        names = (*_STILL, *_MOVING) if self.moving else _STILL
        shares = rng.dirichlet([self.alpha] * self.width)
        mixed = float(rng.beta(self.alpha, self.alpha))
        chains = []
        for _ in range(self.width):
            depth = self.depth or int(rng.integers(1, _DEEPEST, endpoint=True))
            chain: list[Warp | PixelOp] = []
            for name in rng.choice(names, size=depth).tolist():
                strength = rng.uniform(0.1, self.severity) / _LEVELS
                value = _cut(name, space[name], strength) * (-1 if space[name].signed and rng.random() < 0.5 else 1)
                chain += operation(name, value, scene, self.fill, "")
            chains.append([msgspec.to_builtins(op) for op in chain])
        return {
            "shares": [1 - mixed, *(mixed * shares).tolist()],
            "chains": chains,
            "size": [scene.width, scene.height],
        }

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Render the chains, and blend."""
        height, width = image.shape[:2]
        scale = width / drawn["size"][0], height / drawn["size"][1]
        total, *shares = drawn["shares"]
        mixed = image.astype(np.float32)
        for share, chain in zip(shares, drawn["chains"], strict=True):
            total += share
            if share <= 0:
                continue
            ops = tuple(_scaled(msgspec.convert(op, Warp | PixelOp), scale, width, height) for op in chain)
            part = render(Plan(Origin(-1, width, height), ops), Sample.of(image))
            cv2.accumulateWeighted(part.image, mixed, share / total)  # a running mean of what came so far
        return np.asarray(cv2.convertScaleAbs(mixed), np.uint8)


def _cut(name: str, strength: Strength, at: float) -> float:
    """The value at a strength, cut to a whole number as the paper's code does, which counts from the weak end."""
    span = at * (strength.strong - strength.weak)
    if name in _STILL or name in _WHOLE:
        span = float(int(span))
    return strength.weak + span


def _scaled(op: Warp | PixelOp, scale: tuple[float, float], width: int, height: int) -> Warp | PixelOp:
    """An operation drawn for one canvas, on another."""
    if isinstance(op, PixelOp):
        return op
    a, b, c, d, e, f, *last = op.matrix
    x, y = scale
    matrix = (a, b * x / y, c * x, d * y / x, e, f * y, *last)
    return Warp(matrix, width, height, op.fill)  # type: ignore[arg-type]  # nine of them
