"""Several images on one canvas, each warped straight to where it ends up, whatever warps follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augsuite.augment import resample
from augsuite.augment.plan import Fill
from augsuite.augment.warp import Affine, Frame, compose, is_aligned, pixels_of
from augsuite.dataset.images import Image
from augsuite.dataset.sample import Source

Part = tuple[int, int, int, int]
"""First column, first row, one past last column and row."""


@dataclass(frozen=True, slots=True)
class Layer:
    """An image on a collage.

    Attributes:
        source: its pixels.
        matrix: from its pixels to those of the collage.
        rect: what of the collage it covers: inside the collage, and inside what the matrix takes the image to.
    """

    source: Source
    matrix: Affine
    rect: Part


@dataclass(frozen=True, slots=True)
class Collage:
    """A canvas with images on it, the later on top, made when its pixels are asked for.

    Attributes:
        width: pixels.
        height: pixels.
        layers: the images.
        fill: red, green and blue, 0 to 255, of what none covers.
    """

    width: int
    height: int
    layers: Sequence[Layer]
    fill: Fill = (0, 0, 0)

    def decode(self, reduce: int = 1) -> Image:
        """The whole canvas, at 1 / `reduce` of its size."""
        scale = 1 / reduce
        return self.onto(
            (scale, 0.0, 0.0, 0.0, scale, 0.0), (0, 0, -(-self.width // reduce), -(-self.height // reduce))
        )

    def onto(self, matrix: Affine, part: Part) -> Image:
        """A part of the canvas that a matrix takes the collage to; see `resample.warp`. Each image is warped once."""
        left, top, right, bottom = part
        width, height = right - left, bottom - top
        matrix = compose((1.0, 0.0, -left, 0.0, 1.0, -top), matrix)
        placed = [(layer, *_place(layer, matrix, width, height)) for layer in self.layers]
        canvas = np.empty((height, width, 3), np.uint8)
        if not any(region == (0, 0, width, height) and mask is None for _, region, mask in placed):
            # Whole rows are copied much faster than pixels.
            canvas.reshape(height, width * 3)[:] = np.tile(np.array(self.fill, np.uint8), width)
        for layer, (x, y, right, bottom), mask in placed:
            if right <= x or bottom <= y:
                continue
            pixels = resample.warp(layer.source, compose(matrix, layer.matrix), (x, y, right, bottom))
            if mask is None:
                canvas[y:bottom, x:right] = pixels
            else:
                resample.opencv().copyTo(pixels, mask, canvas[y:bottom, x:right])
        return canvas


def _place(layer: Layer, matrix: Affine, width: int, height: int) -> tuple[Part, Image | None]:
    """The pixels of a canvas among which a layer's are; and which of them are, 255 or 0, or None for all."""
    x, y, right, bottom = layer.rect
    frame = Frame(compose(matrix, (1.0, 0.0, x, 0.0, 1.0, y)), right - x, bottom - y)
    region = _within(pixels_of(frame.rect), width, height)
    left, top, right, bottom = region
    if is_aligned(frame.matrix) or right <= left or bottom <= top:
        return region, None
    spans = frame.spans(width, height)[top:bottom].astype(np.int32)
    columns = np.arange(left, right, dtype=np.int32)
    inside = (columns >= spans[:, :1]) & (columns < spans[:, 1:])
    return region, inside.view(np.uint8) * np.uint8(255)


def _within(part: Part, width: int, height: int) -> Part:
    left, top, right, bottom = part
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)
