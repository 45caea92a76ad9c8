"""Transforms that look at neighbours or add what was not there: sharpness, blur, noise, JPEG."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import cv2
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from augsuite.dataset.images import Image
from augsuite_color.ops import Factor, check_range

if TYPE_CHECKING:
    from augsuite.augment import Scene

Sigma = Annotated[float, Meta(gt=0, le=100)]
Quality = Annotated[int, Meta(ge=1, le=100)]

_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
"""Pillow's ImageFilter.SMOOTH."""
_SAME = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32)


class Sharpness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Move each pixel away from a smooth version of the image, or towards it; the outermost pixels stay.

    Attributes:
        factor: range; 0 is the smooth version, 1 the image, above that is sharper.

    Source: Pillow's ImageEnhance.Sharpness; torchvision.transforms.v2.functional.adjust_sharpness.
    """

    pointwise: ClassVar[bool] = False

    factor: tuple[Factor, Factor] = (0.0, 2.0)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("factor", self.factor)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the factor."""
        del scene
        return {"factor": float(rng.uniform(*self.factor))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Blend with the smooth version."""
        if min(image.shape[:2]) < 3:
            return image
        factor = drawn["factor"]
        # The blend of both is one filter: less work, and rounded once.
        result = np.asarray(cv2.filter2D(image, cv2.CV_8U, (1 - factor) * _SMOOTH + factor * _SAME), np.uint8)
        for edge in np.s_[:1], np.s_[-1:], np.s_[:, :1], np.s_[:, -1:]:
            result[edge] = image[edge]
        return result


class Blur(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Blur with a Gaussian; the image is mirrored at its border.

    Attributes:
        sigma: range of the standard deviation, in pixels of the result.

    Source: torchvision.transforms.v2.GaussianBlur, with a kernel that reaches three standard deviations.
    """

    pointwise: ClassVar[bool] = False

    sigma: tuple[Sigma, Sigma] = (0.1, 2.0)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("sigma", self.sigma)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the deviation."""
        del scene
        return {"sigma": float(rng.uniform(*self.sigma))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Blur."""
        sigma = drawn["sigma"]
        side = 2 * max(1, int(np.ceil(3 * sigma))) + 1
        return np.asarray(cv2.GaussianBlur(image, (side, side), sigma, borderType=cv2.BORDER_REFLECT_101), np.uint8)


class GaussianNoise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Add normal noise to every value of every channel.

    Attributes:
        std: range of the standard deviation, in levels of 0..255.

    Source: torchvision.transforms.v2.GaussianNoise, in levels instead of shares. The normal distribution is that of 2^16 equally
    likely numbers, the farthest 4.3 deviations out, so that a value costs two random bytes.
    """

    pointwise: ClassVar[bool] = False

    std: tuple[Annotated[float, Meta(ge=0, le=255)], Annotated[float, Meta(ge=0, le=255)]] = (2.0, 12.0)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("std", self.std)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the deviation, and the seed of the noise: a plan holds no pixels."""
        del scene
        return {"std": float(rng.uniform(*self.std)), "seed": int(rng.integers(1 << 63))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Add the noise."""
        bits = np.random.Philox(key=drawn["seed"]).random_raw(-(-image.size // 4)).astype("<u8").view("<u2")
        # Values are whole, so rounding the noise rounds the sum.
        steps = np.rint(drawn["std"] * _normal()).astype(np.int16)
        noise = steps.take(bits[: image.size]).reshape(image.shape)
        return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


@functools.cache
def _normal() -> NDArray[np.float64]:
    """`(65536,)` standard normal numbers, one in the middle of each of as many equally likely intervals."""
    normal = statistics.NormalDist()
    half = np.array([normal.inv_cdf((index + 0.5) / 65536) for index in range(32768)])
    return np.concatenate([half, -half[::-1]])


class JpegQuality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compress as JPEG and read again.

    Attributes:
        quality: lowest and highest, 1 to 100, as libjpeg counts; colour has half the resolution.

    Source: torchvision.transforms.v2.JPEG.
    """

    pointwise: ClassVar[bool] = False

    quality: tuple[Quality, Quality] = (50, 95)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("quality", self.quality)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the quality."""
        del scene
        return {"quality": int(rng.integers(self.quality[0], self.quality[1], endpoint=True))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Compress, and read."""
        swapped = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", swapped, [cv2.IMWRITE_JPEG_QUALITY, drawn["quality"]])
        again = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return np.asarray(cv2.cvtColor(again, cv2.COLOR_BGR2RGB), np.uint8)
