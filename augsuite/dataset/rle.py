"""Masks as run lengths: COCO's order of pixels (down the columns of the whole image) to windows of pixels, and back.

Source: COCO API, common/maskApi.c (`rleEncode`, `rleFrString`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

LARGEST_PIXELS = 178_956_970
"""Pixels of the largest image that Pillow opens (twice its `MAX_IMAGE_PIXELS`); a larger mask belongs to no image."""


class _Rle(msgspec.Struct):
    size: tuple[int, int]
    counts: list[int] | str


def window(value: Any) -> tuple[int, int, Mask] | None:
    """The set pixels of an RLE value of the extra `segmentation`.

    Args:
        value: an object with `size` (height, width) and `counts` (numbers, or COCO's compressed text), or its JSON as `msgspec.Raw`.

    Returns:
        Left, top and `(h, w)` bool: the smallest window that holds all set pixels; `(0, 0)` pixels where none is set. None for what is
        absent, malformed or larger than any image.
    """
    try:
        rle = msgspec.json.decode(value, type=_Rle) if isinstance(value, msgspec.Raw) else msgspec.convert(value, _Rle)
        counts = np.array(decompress(rle.counts) if isinstance(rle.counts, str) else rle.counts, np.int64)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        return None
    height, width = rle.size
    if not (0 < height <= LARGEST_PIXELS and 0 < width <= LARGEST_PIXELS and height * width <= LARGEST_PIXELS):
        return None
    if len(counts) and (counts.min() < 0 or counts.max() > height * width):
        return None
    if counts.sum() != height * width:
        return None
    ends = np.cumsum(counts)[1::2]
    starts = ends - counts[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts):
        return 0, 0, np.zeros((0, 0), bool)
    left, right = int(starts[0] // height), int((ends[-1] - 1) // height) + 1
    flat = np.zeros((right - left) * height + 1, np.int8)
    flat[starts - left * height] += 1
    flat[ends - left * height] -= 1
    mask = np.cumsum(flat[:-1], dtype=np.int8).astype(bool).reshape(right - left, height).T
    rows = np.flatnonzero(mask.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return left, top, mask[top:bottom]


def grown(left: int, top: int, mask: Mask, box: Sequence[float], width: int, height: int) -> tuple[int, int, Mask]:
    """A window of pixels made as large as a box, where that has whole corners, lies in the image and holds the window; else as it is."""
    x, y, right, bottom = box
    down, across = mask.shape
    holds = 0 <= x <= left and 0 <= y <= top and left + across <= right <= width and top + down <= bottom <= height
    if not holds or not all(float(number).is_integer() for number in box):
        return left, top, mask
    result = np.zeros((int(bottom - y), int(right - x)), bool)
    result[top - int(y) :, left - int(x) :][:down, :across] = mask
    return int(x), int(y), result


def size(value: Any) -> tuple[int, int] | None:
    """Width and height of the image that an RLE value of the extra `segmentation` belongs to; None where it does not say."""
    try:
        rle = msgspec.json.decode(value, type=_Rle) if isinstance(value, msgspec.Raw) else msgspec.convert(value, _Rle)
    except (msgspec.DecodeError, RecursionError):
        return None
    return rle.size[1], rle.size[0]


def encode(mask: Mask, left: int, top: int, width: int, height: int) -> dict[str, list[int]]:
    """A window of pixels as COCO's uncompressed RLE of the whole image.

    Args:
        mask: `(h, w)` bool; inside the image.
        left: column of its first pixel.
        top: row of its first pixel.
        width: of the image.
        height: of the image.

    Returns:
        `size` (height, width) and `counts`, of which the first counts pixels that are not set.
    """
    column, row = np.nonzero(mask.T)
    pixels = (column + left) * height + row + top
    breaks = np.flatnonzero(np.diff(pixels) != 1) + 1
    starts = pixels[np.concatenate([[0], breaks])] if len(pixels) else pixels
    ends = pixels[np.concatenate([breaks - 1, [-1]])] + 1 if len(pixels) else pixels
    edges = np.stack([starts, ends], axis=1).reshape(-1)
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    return {"size": [height, width], "counts": counts if counts[-1] else counts[:-1]}


def runs(mask: Mask) -> list[int]:
    """Lengths of the runs of `(h, w)` pixels along the rows, of which the first counts pixels that are not set."""
    flat = mask.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths: list[int] = np.diff(changes, prepend=0, append=len(flat)).tolist()
    return [0, *lengths] if len(flat) and flat[0] else lengths


def from_runs(lengths: NDArray[np.int64], width: int, height: int) -> Mask:
    """The way back from `runs`: `(height, width)` bool.

    Raises:
        ValueError: if the lengths are not those of so many pixels, or those are more than an image has.
    """
    total = width * height
    if not 0 < total <= LARGEST_PIXELS:
        raise ValueError(f"expected a mask of 1 to {LARGEST_PIXELS:,} pixels, got {width} x {height}")
    if not len(lengths) or lengths.min() < 0 or lengths.max() > total or lengths.sum() != total:
        raise ValueError(f"expected run lengths that add up to {width} x {height} pixels")
    values = np.zeros(len(lengths), bool)
    values[1::2] = True
    return np.repeat(values, lengths).reshape(height, width)


def decompress(text: str) -> list[int]:
    """The counts in COCO's compressed text: five bits a character, lowest first, each count as its change from the one before last.

    Raises:
        ValueError: if the text is none.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("no compressed RLE")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("no compressed RLE: it ends in the middle of a number")
    return counts
