"""Mixup: a blend of two images, with the labels and boxes of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import Scene
from augsuite.augment.affine import IDENTITY, Affine
from augsuite.augment.collage import Collage, Layer, Part, Piece, join
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite.dataset.sample import Source
from augsuite_mix.partners import others, shared_targets

Frac = Annotated[float, Meta(ge=0, le=1)]


class Mixup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Blend the image with another one, drawn with equal chances: `lam * own + (1 - lam) * other`.

    Both lie at the top left corner of the larger canvas. Class targets are blended alike; the boxes of both images stay, their
    weights times `lam` and `1 - lam`.

    Attributes:
        alpha: `lam` is drawn from Beta(`alpha`, `alpha`): 1.5 keeps both images visible and suits boxes; for classifying, 0.2 is
            usual; 1 is uniform.
        lam: draw uniformly between these two instead; twice the same number is no draw at all.

    Source: Zhang et al. 2018, mixup, section 2, arXiv:1710.09412; for boxes, the canvas and 1.5: Zhang et al. 2019, Bag of
    freebies for training object detection networks, section 3.1, arXiv:1902.04103.
    """

    alpha: Annotated[float, Meta(gt=0)] = 1.5
    lam: tuple[Frac, Frac] | None = None

    def __post_init__(self) -> None:
        """Check the order of the pair."""
        if self.lam and self.lam[0] > self.lam[1]:
            raise ValueError(f"lam: expected the smaller number first, got {list(self.lam)}")

    def draw(self, rng: np.random.Generator, scene: Scene) -> tuple[dict[str, Any], tuple[int, ...]] | None:
        """Draw the share and the other image: never the own one where there are more; None where there is none at all."""
        lam = float(rng.uniform(*self.lam) if self.lam else rng.beta(self.alpha, self.alpha))
        rows = others(rng, scene, 1)
        return None if rows is None else ({"lam": lam}, rows)

    def mix(self, samples: Sequence[Sample], drawn: Mapping[str, Any]) -> Sample:
        """Blend two samples."""
        first, second = samples
        lam = float(drawn["lam"])
        pieces = [
            Piece(replace(sample, weights=sample.weights * np.float32(share)), IDENTITY, _whole(sample.source))
            for sample, share in ((first, lam), (second, 1 - lam))
        ]
        return replace(
            join(pieces, first, Blend(first.source, second.source, lam)),
            targets=shared_targets(samples, [lam, 1 - lam]),
        )


def _whole(source: Source) -> Part:
    return (0, 0, source.width, source.height)


@dataclass(frozen=True)
class Blend:
    """`lam * first + (1 - lam) * second` on the larger canvas, made when the pixels are asked for.

    Pixels that one image alone covers keep its share over black.

    Source: Zhang et al. 2019, section 3.1, arXiv:1902.04103.
    """

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

    @property
    def shares(self) -> tuple[tuple[Source, float], ...]:
        """What is added up, each with its factor; `augsuite.augment.batched` does it on tensors."""
        return (self.first, self.lam), (self.second, 1 - self.lam)

    def decode(self, reduce: int = 1) -> Image:
        """Blend, at 1 / `reduce` of the size."""
        scale = 1 / reduce
        return self.onto(
            (scale, 0.0, 0.0, 0.0, scale, 0.0), (0, 0, -(-self.width // reduce), -(-self.height // reduce))
        )

    def onto(self, matrix: Affine, part: Part) -> Image:
        """A part of the canvas that a matrix takes the blend to; see `augsuite.augment.resample.warp`."""
        first, second = (
            Collage(self.width, self.height, [Layer(source, IDENTITY, _whole(source))])
            for source in (self.first, self.second)
        )
        mixed = first.onto(matrix, part)
        cv2.addWeighted(mixed, self.lam, second.onto(matrix, part), 1 - self.lam, 0, dst=mixed)
        return mixed
