"""Several images on one canvas, each warped straight to where it ends up, whatever warps follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augsuite.augment import resample
from augsuite.augment.moving import moved
from augsuite.augment.plan import Fill, Warp
from augsuite.augment.warp import Affine, Course, Frame, compose, is_aligned, pixels_of
from augsuite.dataset import ArraySource, Sample
from augsuite.dataset.images import Image
from augsuite.dataset.rle import Mask
from augsuite.dataset.sample import Source
from augsuite.dataset.sample_shapes import joined

Part = tuple[int, int, int, int]
"""First column, first row, one past last column and row."""


def as_array(matrix: Affine) -> NDArray[np.float64]:
    """`(3, 3)`."""
    return np.array([*matrix, 0.0, 0.0, 1.0]).reshape(3, 3)


@dataclass(frozen=True, slots=True)
class Layer:
    """An image on a collage.

    Attributes:
        source: its pixels.
        matrix: from its pixels to those of the collage.
        rect: what of the collage it covers: inside the collage, and inside what the matrix takes the image to.
        mask: `(h, w)` bool: which of the pixels of `rect` it covers; None for all.
    """

    source: Source
    matrix: Affine
    rect: Part
    mask: Mask | None = None


def lay(sample: Sample, matrix: Affine, rect: Part, width: int, height: int) -> Sample:
    """Bring what belongs to a sample onto a collage.

    Args:
        sample: an arranged sample.
        matrix: aligned; from its pixels to those of the collage.
        rect: what of the collage it covers, inside the collage; not empty.
        width: of the collage, in pixels.
        height: of the collage, in pixels.

    Returns:
        Boxes and shapes cut to `rect`, without those of which nothing is seen.
    """
    a, b, c, d, e, f = matrix
    left, top, right, bottom = rect
    cut = Warp((a, b, c - left, d, e, f - top, 0, 0, 1), right - left, bottom - top)
    shift = Warp((1, 0, left, 0, 1, top, 0, 0, 1), width, height)
    course = Course(sample.source.width, sample.source.height, [cut, shift])
    boxes, share = course.place(sample.boxes)
    kept = share > 0
    return Sample(
        source=sample.source,
        boxes=boxes[kept],
        labels=sample.labels[kept],
        weights=sample.weights[kept],
        rows=sample.rows[kept],
        targets=sample.targets,
        image_row=sample.image_row,
        matrix=as_array(matrix) @ sample.matrix,
        lazy=moved(sample.lazy, course, kept),
        seen_frac=share[kept] * seen(sample)[kept],
    )


def join(samples: Sequence[Sample], own: Sample, source: Source) -> Sample:
    """The boxes of several samples as one sample.

    Args:
        samples: with boxes and shapes in pixels of `source`.
        own: whose image row and matrix the result has.
        source: the pixels.
    """
    return Sample(
        source=source,
        boxes=np.concatenate([sample.boxes for sample in samples]),
        labels=np.concatenate([sample.labels for sample in samples]),
        weights=np.concatenate([sample.weights for sample in samples]),
        rows=np.concatenate([sample.rows for sample in samples]),
        targets=own.targets,
        image_row=own.image_row,
        matrix=own.matrix,
        lazy=joined([(sample.lazy, len(sample.boxes)) for sample in samples]),
        seen_frac=np.concatenate([seen(sample) for sample in samples]),
    )


def seen(sample: Sample) -> NDArray[np.float64]:
    """`(N,)` what share of each box's original area is seen so far."""
    return np.ones(len(sample.boxes)) if sample.seen_frac is None else sample.seen_frac


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
    onto = compose(matrix, (1.0, 0.0, float(x), 0.0, 1.0, float(y)))
    frame = Frame(onto, right - x, bottom - y)
    region = _within(pixels_of(frame.rect), width, height)
    left, top, right, bottom = region
    if right <= left or bottom <= top:
        return region, None
    shown: Image | None = None
    if not is_aligned(onto):
        spans = frame.spans(width, height)[top:bottom].astype(np.int32)
        columns = np.arange(left, right, dtype=np.int32)
        inside = (columns >= spans[:, :1]) & (columns < spans[:, 1:])
        shown = inside.view(np.uint8) * np.uint8(255)
    if layer.mask is not None:
        pixels = layer.mask.view(np.uint8)[..., None] * np.uint8(255)
        # A pixel is covered if more than half of it is.
        covered = resample.warp(ArraySource(pixels), onto, region).reshape(bottom - top, right - left) > 127
        shown = (covered if shown is None else covered & (shown > 0)).view(np.uint8) * np.uint8(255)
    return region, shown


def _within(part: Part, width: int, height: int) -> Part:
    left, top, right, bottom = part
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)
