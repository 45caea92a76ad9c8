"""Several images on one canvas, each warped straight to where it ends up, whatever warps follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augsuite import boxes as box
from augsuite.augment import resample
from augsuite.augment.affine import Affine, compose, is_aligned
from augsuite.augment.moving import moved
from augsuite.augment.plan import Fill, Warp
from augsuite.augment.warp import Course, Frame, pixels_of
from augsuite.dataset import ArraySource, Sample
from augsuite.dataset.images import Image
from augsuite.dataset.rle import Mask
from augsuite.dataset.sample import Source
from augsuite.dataset.sample_shapes import Lazy, joined

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


class Piece(NamedTuple):
    """A sample on a collage.

    Attributes:
        sample: with its boxes inside its canvas.
        matrix: from its pixels to those of the collage; it stretches and shifts, and neither turns nor mirrors.
        rect: what of the collage it is seen in, inside the collage.
    """

    sample: Sample
    matrix: Affine
    rect: Part


def join(pieces: Sequence[Piece], own: Sample, source: Source) -> Sample:
    """The boxes and shapes of several samples as one sample, each cut to where its sample is seen.

    Args:
        pieces: in any order; one may come without a layer.
        own: whose image row, matrix and targets the result has.
        source: the pixels.

    Returns:
        The sample, without boxes of which nothing is seen; `seen_frac` says what is seen of the others.
    """
    samples = [piece.sample for piece in pieces]
    counts = [len(sample.boxes) for sample in samples]
    boxes = np.concatenate([sample.boxes for sample in samples])
    places = np.repeat(np.array([_numbers(piece) for piece in pieces]), counts, axis=0)
    boxes = boxes * places[:, 0:4] + places[:, 4:8]
    before = box.area(boxes)
    boxes = np.minimum(np.maximum(boxes, places[:, 8:12]), places[:, 12:16])
    share = np.divide(box.area(boxes), before, out=np.zeros(len(boxes)), where=before > 0)
    share = np.minimum(share, 1.0)
    kept = share > 0
    share *= np.concatenate([seen(sample) for sample in samples])
    return Sample(
        source=source,
        boxes=boxes[kept],
        labels=np.concatenate([sample.labels for sample in samples])[kept],
        weights=np.concatenate([sample.weights for sample in samples])[kept],
        rows=np.concatenate([sample.rows for sample in samples])[kept],
        targets=own.targets,
        image_row=own.image_row,
        matrix=own.matrix,
        lazy=_joined_shapes(pieces, counts, kept, source),
        seen_frac=share[kept],
    )


def _numbers(piece: Piece) -> tuple[float, ...]:
    """Factors, shifts, lower and upper limits of four coordinates."""
    a, _, c, _, e, f = piece.matrix
    left, top, right, bottom = piece.rect
    return (a, e, a, e, c, f, c, f, left, top, left, top, right, bottom, right, bottom)


def _joined_shapes(
    pieces: Sequence[Piece], counts: Sequence[int], kept: NDArray[np.bool_], source: Source
) -> Lazy | None:
    if not any(piece.sample.lazy for piece in pieces):
        return None
    parts = []
    at = 0
    for (sample, matrix, rect), count in zip(pieces, counts, strict=True):
        rows = kept[at : at + count]
        at += count
        a, b, c, d, e, f = matrix
        left, top, right, bottom = rect
        cut = Warp((a, b, c - left, d, e, f - top, 0, 0, 1), max(right - left, 1), max(bottom - top, 1))
        shift = Warp((1, 0, left, 0, 1, top, 0, 0, 1), source.width, source.height)
        course = Course(sample.source.width, sample.source.height, [cut, shift])
        parts.append((moved(sample.lazy, course, rows), int(rows.sum())))
    return joined(parts)


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
