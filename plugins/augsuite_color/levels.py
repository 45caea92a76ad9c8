"""Transforms of levels: fewer bits, negatives of the bright, gamma, light, and what stretches or evens out a histogram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import cv2
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from augsuite.dataset.images import Image
from augsuite_color.ops import LEVELS, Table, apply_table, check_range, table_of

if TYPE_CHECKING:
    from augsuite.augment import Scene

Bits = Annotated[int, Meta(ge=1, le=8)]
Threshold = Annotated[int, Meta(ge=0, le=256)]
Power = Annotated[float, Meta(gt=0)]

_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
"""Of the covariance of red, green and blue, in [0, 1], over ImageNet's training images, as fb.resnet.torch publishes them."""


class Posterize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keep the highest bits of each value.

    Attributes:
        bits: fewest and most bits that stay, 1 to 8; each number in between is as likely.

    Source: Pillow's ImageOps.posterize.
    """

    pointwise: ClassVar[bool] = True

    bits: tuple[Bits, Bits] = (4, 7)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("bits", self.bits)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the number of bits."""
        del scene
        return {"bits": int(rng.integers(self.bits[0], self.bits[1], endpoint=True))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Clear the other bits."""
        return apply_table(image, self.table(drawn))

    def table(self, drawn: Mapping[str, Any]) -> Table:
        """What each value becomes."""
        return np.arange(256, dtype=np.uint8) & np.uint8(256 - (1 << (8 - drawn["bits"])))


class Solarize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Invert all values from a threshold on.

    Attributes:
        threshold: lowest and highest threshold, 0 to 256; 0 is the negative, 256 the image.

    Source: Pillow's ImageOps.solarize.
    """

    pointwise: ClassVar[bool] = True

    threshold: tuple[Threshold, Threshold] = (128, 224)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("threshold", self.threshold)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the threshold."""
        del scene
        return {"threshold": int(rng.integers(self.threshold[0], self.threshold[1], endpoint=True))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Invert what is bright."""
        return apply_table(image, self.table(drawn))

    def table(self, drawn: Mapping[str, Any]) -> Table:
        """What each value becomes."""
        return table_of(np.where(drawn["threshold"] <= LEVELS, 255 - LEVELS, LEVELS))


class Gamma(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Raise all values, as shares of 255, to a power.

    Attributes:
        gamma: range of the power, drawn uniformly in the logarithm; above 1 darkens, below 1 lightens.

    Source: torchvision.transforms.v2.functional.adjust_gamma.
    """

    pointwise: ClassVar[bool] = True

    gamma: tuple[Power, Power] = (0.7, 1.4)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("gamma", self.gamma)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the power."""
        del scene
        low, high = np.log(self.gamma)
        return {"gamma": float(np.exp(rng.uniform(low, high)))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Raise."""
        return apply_table(image, self.table(drawn))

    def table(self, drawn: Mapping[str, Any]) -> Table:
        """What each value becomes."""
        return table_of(255 * (LEVELS / 255) ** drawn["gamma"])


class PcaLighting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Add one colour to all pixels, drawn along the principal components of ImageNet's colours: another light.

    Attributes:
        std: standard deviation of the factor of each component.

    Source: Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks, section 4.1; eigenvalues
    and eigenvectors of github.com/facebookarchive/fb.resnet.torch, datasets/imagenet.lua.
    """

    pointwise: ClassVar[bool] = True

    std: Annotated[float, Meta(ge=0)] = 0.1

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the factors of the three components."""
        del scene
        return {"alphas": rng.normal(0.0, self.std, size=3).tolist()}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Add the colour."""
        return apply_table(image, self.table(drawn))

    def table(self, drawn: Mapping[str, Any]) -> Table:
        """What each value of each channel becomes."""
        shift = 255 * (_EIGENVECTORS @ (np.array(drawn["alphas"]) * _EIGENVALUES))
        return table_of(LEVELS[:, None] + shift)


class Autocontrast(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stretch each channel so that its lowest value becomes 0 and its highest 255; one of a single value stays.

    Source: Pillow's ImageOps.autocontrast, with a cutoff of 0.
    """

    pointwise: ClassVar[bool] = False

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Nothing is random."""
        del rng, scene
        return {}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Stretch."""
        del drawn
        pixels = image.reshape(-1, 3)
        if not len(pixels):
            return image
        tables = np.stack([_stretched(*_ends(image, channel)) for channel in range(3)], axis=1)
        return apply_table(image, tables)


class Equalize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spread the values of each channel so that all levels are about as frequent.

    Source: Pillow's ImageOps.equalize.
    """

    pointwise: ClassVar[bool] = False

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Nothing is random."""
        del rng, scene
        return {}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Spread."""
        del drawn
        return apply_table(image, np.stack([_evened(_counts(image, channel)) for channel in range(3)], axis=1))


def _counts(image: Image, channel: int) -> NDArray[np.int64]:
    """`(256,)` how many pixels have each value."""
    found = cv2.calcHist([image], [channel], None, [256], [0, 256])
    return np.asarray(found[:, 0], np.int64)  # float32 counts exactly up to 2^24 of one value


def _ends(image: Image, channel: int) -> tuple[int, int]:
    there = np.flatnonzero(_counts(image, channel))
    return int(there[0]), int(there[-1])


def _stretched(low: int, high: int) -> Table:
    if high <= low:
        return np.arange(256, dtype=np.uint8)
    scale = 255 / (high - low)
    # Pillow cuts the fraction off, and this is its arithmetic to the letter.
    return np.clip((LEVELS * scale + -low * scale).astype(np.int64), 0, 255).astype(np.uint8)


def _evened(counts: NDArray[np.int64]) -> Table:
    there = counts[counts > 0]
    step = int(there[:-1].sum()) // 255
    if not step:
        return np.arange(256, dtype=np.uint8)
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.asarray(np.minimum((step // 2 + below) // step, 255), np.uint8)


class Grayscale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Replace each pixel by its grey, on three channels.

    Source: ITU-R BT.601, as Pillow's mode L and torchvision.transforms.v2.functional.rgb_to_grayscale have it.
    """

    pointwise: ClassVar[bool] = True

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Nothing is random."""
        del rng, scene
        return {}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Take the colour away."""
        del drawn
        return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
