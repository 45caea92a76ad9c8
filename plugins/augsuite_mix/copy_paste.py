"""Copy-paste: objects of another image, cut out along their masks, pasted over the own one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import Scene
from augsuite.augment.affine import IDENTITY, Affine
from augsuite.augment.collage import Collage, Layer, Piece, join
from augsuite.augment.covering import covered, rectangle, union, within
from augsuite.dataset import Sample
from augsuite.dataset.sample_shapes import Window
from augsuite.errors import DataError
from augsuite_mix.partners import others


class CopyPaste(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paste objects of another image, drawn with equal chances, over the own one: new objects on new ground, some of them hidden.

    The canvas of the other image is laid over the own one at a uniform place, inside it where it is smaller, around it where it is
    larger; it is not scaled: let `scale_jitter` and `hflip` stand before, as the paper does. Each of its objects is
    pasted with the probability `p_object`, without blending at the edges.

    Objects of the own image that get hidden are judged by how many of the pixels of their mask stay visible, or how much of their
    box where they have no mask; boxes, polygons and masks shrink to what is left. Weights and class targets stay as they are.

    Attributes:
        p_object: of each object of the other image, that it is pasted.
        rectangles: paste an object that has neither polygon nor mask as the rectangle of its box. Otherwise such an object is an error.

    Source: Ghiasi et al. 2021, Simple copy-paste, section 3, arXiv:2012.07177.
    """

    p_object: Annotated[float, Meta(gt=0, le=1)] = 0.5
    rectangles: bool = False

    def draw(self, rng: np.random.Generator, scene: Scene) -> tuple[dict[str, Any], tuple[int, ...]] | None:
        """Draw the other image, the place, and a seed for the choice of objects, of which the number is not known yet."""
        place = rng.random(2).tolist()
        seed = int(rng.integers(2**53))
        rows = others(rng, scene, 1)
        return None if rows is None else ({"place": place, "seed": seed}, rows)

    def mix(self, samples: Sequence[Sample], drawn: Mapping[str, Any]) -> Sample:
        """Paste the objects.

        Raises:
            DataError: if an object of the other image has no mask, and `rectangles` is off.
        """
        own, other = samples
        chosen = np.random.default_rng(drawn["seed"]).random(len(other.boxes)) < self.p_object
        windows = [self._window(other, int(row)) for row in np.flatnonzero(chosen)]
        width, height = own.source.width, own.source.height
        left, top = (
            int(place * (whole - part))
            for place, whole, part in zip(
                drawn["place"], (width, height), (other.source.width, other.source.height), strict=True
            )
        )
        x, y, mask = within(_shifted(union(windows), left, top), width, height)
        if not mask.any():
            return own
        shift: Affine = (1.0, 0.0, float(left), 0.0, 1.0, float(top))
        whole = (0, 0, width, height)
        pasted = Layer(other.source, shift, (x, y, x + mask.shape[1], y + mask.shape[0]), mask)
        right, bottom = left + other.source.width, top + other.source.height
        room = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        return join(
            [Piece(covered(own, (x, y, mask)), IDENTITY, whole), Piece(other.take(chosen), shift, room)],
            own,
            Collage(width, height, (Layer(own.source, IDENTITY, whole), pasted)),
        )

    def _window(self, sample: Sample, row: int) -> Window:
        """The pixels of an object."""
        width, height = sample.source.width, sample.source.height
        window = sample.shapes.window(row, width, height)
        if window is not None:
            return window
        if not self.rectangles:
            raise DataError(
                f"copy_paste: image row {sample.image_row} has an object with neither polygon nor mask. Give the dataset masks, "
                "or set rectangles: true to paste the rectangles of boxes."
            )
        return rectangle(sample.boxes[row], width, height)


def _shifted(window: Window, right: int, down: int) -> Window:
    return window[0] + right, window[1] + down, window[2]
