"""CutMix: a rectangle of another image pasted over the own one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import Scene
from augsuite.augment.affine import IDENTITY, Affine
from augsuite.augment.collage import Collage, Layer, Piece, join
from augsuite.augment.covering import covered
from augsuite.dataset import Sample
from augsuite_mix.partners import others, shared_targets


class Cutmix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paste a rectangle of another image, drawn with equal chances, over the same place of the own one.

    The other image is first stretched to the own canvas, as if both had been resized to one size before. The rectangle has the
    shape of the canvas and an area of `1 - lam` of it; its centre is uniform, and what reaches beyond the canvas is cut off. Class
    targets are shared out by the area that is pasted in the end.

    Boxes keep their weights, since what is seen of an object is seen in full strength: of the other image those stay that the
    rectangle shows enough of, of the own one those that it leaves enough of, each judged against its original area. A side of a
    box that is cut off or hidden moves to what is left.

    Attributes:
        alpha: `lam` is drawn from Beta(`alpha`, `alpha`); 1 is uniform.

    Source: Yun et al. 2019, CutMix, section 3.1, arXiv:1905.04899; the rectangle as `CutMix` of torchvision.transforms.v2. Boxes are
    ours: the paper has none.
    """

    alpha: Annotated[float, Meta(gt=0)] = 1.0

    def draw(self, rng: np.random.Generator, scene: Scene) -> tuple[dict[str, Any], tuple[int, ...]] | None:
        """Draw the rectangle and the other image; None where there is no other, or the rectangle is empty."""
        half = 0.5 * math.sqrt(1.0 - float(rng.beta(self.alpha, self.alpha)))
        x, y = int(rng.integers(scene.width)), int(rng.integers(scene.height))
        rows = others(rng, scene, 1)
        wide, high = int(half * scene.width), int(half * scene.height)
        if rows is None or not wide or not high:
            return None
        left, top = max(x - wide, 0), max(y - high, 0)
        return {"rect": [left, top, min(x + wide, scene.width), min(y + high, scene.height)]}, rows

    def mix(self, samples: Sequence[Sample], drawn: Mapping[str, Any]) -> Sample:
        """Paste the rectangle."""
        own, other = samples
        width, height = own.source.width, own.source.height
        left, top, right, bottom = rect = tuple(drawn["rect"])
        stretch: Affine = (width / other.source.width, 0.0, 0.0, 0.0, height / other.source.height, 0.0)
        whole = (0, 0, width, height)
        layers = (Layer(own.source, IDENTITY, whole), Layer(other.source, stretch, rect))
        rest = covered(own, (left, top, np.ones((bottom - top, right - left), bool)))
        share = (right - left) * (bottom - top) / (width * height)
        return replace(
            join([Piece(rest, IDENTITY, whole), Piece(other, stretch, rect)], own, Collage(width, height, layers)),
            targets=shared_targets(samples, [1 - share, share]),
        )
