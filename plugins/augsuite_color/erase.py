"""Transforms that hide rectangles. What a box loses to them counts as not visible."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import Erase, Scene
from augsuite_color.ops import check_range

Byte = Annotated[int, Meta(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]
Frac = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=1, le=100)]
Ratio = Annotated[float, Meta(gt=0)]

_ATTEMPTS = 10


class RandomErasing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hide one rectangle of random area and shape that lies inside; ten attempts, then nothing.

    Attributes:
        area_frac: smallest and largest share of the area.
        ratio: smallest and largest height / width, drawn uniformly in the logarithm.
        fill: red, green and blue, 0 to 255; none is noise, each value random.

    Source: Zhong et al. 2020, Random erasing data augmentation, algorithm 1, arXiv:1708.04896; the logarithm is that of
    `RandomErasing.get_params` of torchvision.
    """

    area_frac: tuple[Frac, Frac] = (0.02, 0.4)
    ratio: tuple[Ratio, Ratio] = (0.3, 3.3)
    fill: Color | None = None

    def __post_init__(self) -> None:
        """Refuse swapped ranges."""
        check_range("area_frac", self.area_frac)
        check_range("ratio", self.ratio)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Erase | None:
        """Draw area, shape and place."""
        areas = scene.width * scene.height * rng.uniform(*self.area_frac, size=_ATTEMPTS)
        ratios = np.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), size=_ATTEMPTS))
        x, y = rng.random(2)
        seed = _seed(rng)
        heights, widths = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
        fits = (heights < scene.height) & (widths < scene.width) & (heights > 0) & (widths > 0)
        if not fits.any():
            return None
        first = int(fits.argmax())
        width, height = int(widths[first]), int(heights[first])
        left, top = int(x * (scene.width - width + 1)), int(y * (scene.height - height + 1))
        return Erase(((left, top, left + width, top + height),), self.fill, seed)


class Cutout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hide one square whose centre is anywhere in the image, so that it may reach beyond the border.

    Attributes:
        size_frac: its side, as a share of the image's shorter side.
        fill: red, green and blue, 0 to 255.

    Source: DeVries and Taylor 2017, Improved regularization of convolutional neural networks with cutout, section 3,
    arXiv:1708.04552: a side of 16 pixels of 32 for CIFAR-10, filled with the mean, which is 0 after normalisation.
    """

    size_frac: Frac = 0.5
    fill: Color = (124, 116, 104)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Erase:
        """Draw the centre."""
        side = max(1, round(self.size_frac * min(scene.width, scene.height)))
        left = int(rng.integers(scene.width)) - side // 2
        top = int(rng.integers(scene.height)) - side // 2
        return Erase(((left, top, left + side, top + side),), self.fill)


class CoarseDropout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hide several rectangles that lie inside and may overlap.

    Attributes:
        holes: fewest and most, up to 100.
        height_frac: smallest and largest height of one, as a share of the image's.
        width_frac: smallest and largest width of one, as a share of the image's.
        fill: red, green and blue, 0 to 255; none is noise, each value random.

    Source: albumentations 2.0.8, CoarseDropout.
    """

    holes: tuple[Count, Count] = (1, 8)
    height_frac: tuple[Frac, Frac] = (0.05, 0.15)
    width_frac: tuple[Frac, Frac] = (0.05, 0.15)
    fill: Color | None = (0, 0, 0)

    def __post_init__(self) -> None:
        """Refuse swapped ranges."""
        for name in ("holes", "height_frac", "width_frac"):
            check_range(name, getattr(self, name))

    def draw(self, rng: np.random.Generator, scene: Scene) -> Erase:
        """Draw how many, how large, and where."""
        count = int(rng.integers(self.holes[0], self.holes[1], endpoint=True))
        shares = np.array([scene.height, scene.width])[:, None]
        ends = np.array([self.height_frac, self.width_frac])
        sizes = shares * (ends[:, :1] + rng.random((2, count)) * (ends[:, 1:] - ends[:, :1]))
        sizes = np.clip(np.rint(sizes), 1, shares)
        starts = np.floor(rng.random((2, count)) * (shares - sizes + 1))
        seed = _seed(rng)
        rects = np.stack([starts[1], starts[0], starts[1] + sizes[1], starts[0] + sizes[0]], axis=1).astype(int)
        return Erase(tuple(tuple(rect) for rect in rects.tolist()), self.fill, seed)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 63))
