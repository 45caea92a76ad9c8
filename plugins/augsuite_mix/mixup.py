"""Mixup: a blend of two images, with the labels and boxes of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from augsuite.augment import Scene
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite.dataset.sample import Source
from augsuite.dataset.sample_shapes import joined


class Mixup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Blend the image with another one, drawn with equal chances: `lam * own + (1 - lam) * other`.

    Both lie at the top left corner of the larger canvas. Class targets are blended alike; the boxes of both images stay, their
    weights times `lam` and `1 - lam`.

    Attributes:
        alpha: `lam` is drawn from Beta(`alpha`, `alpha`): 1.5 keeps both images visible and suits boxes; for classifying, 0.2 is
            usual.

    Source: Zhang et al. 2018, mixup, section 2, arXiv:1710.09412; for boxes, the canvas and 1.5: Zhang et al. 2019, Bag of
    freebies for training object detection networks, section 3.1, arXiv:1902.04103.
    """

    alpha: Annotated[float, Meta(gt=0)] = 1.5

    def draw(self, rng: np.random.Generator, scene: Scene) -> tuple[dict[str, Any], tuple[int, ...]] | None:
        """Draw the share and the other image: never the own one where there are more; None where there is none at all."""
        lam = float(rng.beta(self.alpha, self.alpha))
        others = scene.pool - (0 <= scene.row < scene.pool)
        if others < 1:
            return None
        row = int(rng.integers(others))
        return {"lam": lam}, (row + (0 <= scene.row <= row),)

    def mix(self, samples: Sequence[Sample], drawn: Mapping[str, Any]) -> Sample:
        """Blend two samples."""
        first, second = samples
        lam = float(drawn["lam"])
        return replace(
            first,
            source=Blend(first.source, second.source, lam),
            boxes=np.concatenate([first.boxes, second.boxes]),
            labels=np.concatenate([first.labels, second.labels]),
            weights=np.concatenate([first.weights * np.float32(lam), second.weights * np.float32(1 - lam)]),
            rows=np.concatenate([first.rows, second.rows]),
            targets=_blend_targets(first.targets, second.targets, lam),
            lazy=joined([(sample.lazy, len(sample.boxes)) for sample in samples]),
        )


def _blend_targets(
    first: NDArray[np.float32] | None, second: NDArray[np.float32] | None, lam: float
) -> NDArray[np.float32] | None:
    """`(C,)` targets that sum to 1; an image without a label leaves all to the other."""
    if first is None or second is None:
        return second if first is None else first
    return np.float32(lam) * first + np.float32(1 - lam) * second


@dataclass(frozen=True)
class Blend:
    """The pixels of two images, blended when they are asked for."""

    first: Source
    second: Source
    lam: float

    @property
    def width(self) -> int:
        """Pixels."""
        return max(self.first.width, self.second.width)

    @property
    def height(self) -> int:
        """Pixels."""
        return max(self.first.height, self.second.height)

    def decode(self, reduce: int = 1) -> Image:
        """Blend; at a smaller size where both can give it."""
        parts = [source.decode(reduce) for source in (self.first, self.second)]
        wanted = [(-(-source.height // reduce), -(-source.width // reduce), 3) for source in (self.first, self.second)]
        if [part.shape for part in parts] != wanted:
            parts = [source.decode() for source in (self.first, self.second)]
        first, second = parts
        return blend(first, second, self.lam)


def blend(first: Image, second: Image, lam: float) -> Image:
    """Mix two images as `lam * first + (1 - lam) * second` on the larger canvas.

    Args:
        first: `(H, W, 3)` uint8; placed at the top left corner.
        second: `(h, w, 3)` uint8; may differ in size.
        lam: share of `first`, in [0, 1].

    Returns:
        `(max(H, h), max(W, w), 3)` uint8; pixels that one image alone covers keep its share over black.

    Source: Zhang et al. 2019, section 3.1, arXiv:1902.04103.
    """
    height, width = max(first.shape[0], second.shape[0]), max(first.shape[1], second.shape[1])
    mixed = cv2.addWeighted(_padded(first, height, width), lam, _padded(second, height, width), 1 - lam, 0)
    return np.asarray(mixed, np.uint8)


def _padded(image: Image, height: int, width: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas
