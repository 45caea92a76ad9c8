"""From a source to a part of an affine canvas: the smallest decode that serves, slices where they are exact, one warp else."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import ModuleType

import numpy as np

from augsuite.augment.affine import IDENTITY, Affine, compose, invert
from augsuite.dataset import FileSource
from augsuite.dataset.images import Image
from augsuite.dataset.sample import Source
from augsuite.errors import DataError, MissingExtraError

HALF: Affine = (1.0, 0.0, 0.5, 0.0, 1.0, 0.5)
BACK: Affine = (1.0, 0.0, -0.5, 0.0, 1.0, -0.5)
_LONGEST = 32_766  # OpenCV's warp counts pixels in 16 bits
_NEAR = 1e-6  # of a pixel: what rounding leaves of a whole one
_WORTH = 1.6  # a warp takes 1.6 to 2.9 times as long as stretching as many pixels


@functools.cache
def opencv() -> ModuleType:
    """OpenCV.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("rendering a policy", "augment", error.name or "cv2") from error
    return cv2


def private(source: Source, reduce: int = 1) -> Image:
    """The pixels, in memory that nobody else holds."""
    if reduce == 1 and hasattr(source, "onto"):
        return warp(source, IDENTITY, (0, 0, source.width, source.height))
    pixels = source.decode(reduce)
    return pixels if isinstance(source, FileSource) else pixels.copy()


def warp(source: Source, matrix: Affine, part: tuple[int, int, int, int]) -> Image:
    """Make a part of the canvas that a matrix takes an image to.

    Args:
        source: where the image comes from.
        matrix: from pixels of the image to pixels of the canvas.
        part: first column, first row, one past last column and row of the canvas; not empty. Beyond the image, its border is
            repeated.

    Returns:
        `(H, W, 3)` uint8, contiguous, in memory that nobody else holds.

    Raises:
        DataError: if the image cannot be read, is not of the size that its source said, or has a side too long to be warped.
        MissingExtraError: if it takes more than slicing and OpenCV is not installed.
    """
    onto: Callable[[Affine, tuple[int, int, int, int]], Image] | None = getattr(source, "onto", None)
    if onto is not None:  # an image that is still to be made is made where it ends up
        return onto(matrix, part)
    if is_lattice(matrix):
        sliced = _slice(source, matrix, part)
        if sliced is not None:
            return sliced
    reduce = reduction(matrix)
    rows = _rows(matrix, part, reduce)
    pixels, shrink = decoded(source, reduce, rows)
    matrix = compose(matrix, (float(shrink), 0.0, 0.0, 0.0, float(shrink), 0.0))
    stretched = _stretched(pixels, matrix, part, min(rows // shrink, pixels.shape[0]))
    if stretched is not None:
        return stretched
    pixels, matrix = _prefiltered(pixels, matrix, part)
    left, top, right, bottom = part
    check_sides(source, *pixels.shape[:2], right - left, bottom - top)
    back = compose(BACK, compose(invert(matrix), compose((1.0, 0.0, float(left), 0.0, 1.0, float(top)), HALF)))
    cv2 = opencv()
    result: Image = cv2.warpAffine(
        pixels,
        np.array(back).reshape(2, 3),
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return result


def check_sides(source: Source, *sides: int) -> None:
    """Stop where OpenCV would count pixels wrong.

    Raises:
        DataError: if a side is too long to be warped.
    """
    longest = max(sides)
    if longest > _LONGEST:
        where = source.path if isinstance(source, FileSource) else "image"
        raise DataError(
            f"{where}: warping takes a side of {longest:,} pixels, and OpenCV's limit is {_LONGEST:,}. "
            "Cut the image into tiles, or end the policy with a smaller size."
        )


def decoded(source: Source, reduce: int, rows: int | None = None) -> tuple[Image, int]:
    """The pixels of a source and the fraction that it gave: `reduce`, or 1 where it cannot decode smaller.

    Args:
        source: where the image comes from.
        reduce: 1, 2, 4 or 8.
        rows: how many rows of the full-size image are needed, from the top; there may be more. None for all.

    Raises:
        DataError: if the image is not of the size that its source said.
    """
    if rows is not None and rows < source.height and isinstance(source, FileSource):
        pixels = source.decode(reduce, rows)
    else:
        pixels = source.decode(reduce)
        rows = source.height
    height, width = pixels.shape[:2]
    for shrink in (reduce, 1):
        if width == -(-source.width // shrink) and -(-rows // shrink) <= height <= -(-source.height // shrink):
            return pixels, shrink
    where = source.path if isinstance(source, FileSource) else "image"
    raise DataError(
        f"{where}: the annotations say {source.width}x{source.height} pixels, the file has {width}x{height}. "
        "Correct the annotations, or replace the file."
    )


def _rows(matrix: Affine, part: tuple[int, int, int, int], reduce: int) -> int:
    """How many rows of the image, from the top, a part of the canvas may need, neighbours and averaged blocks included.

    Args:
        matrix: from pixels of the image to pixels of the canvas.
        part: of the canvas.
        reduce: how much smaller the file may be decoded.
    """
    _, _, _, d, e, f = invert(matrix)
    lowest = max(d * x + e * y + f for x in part[0::2] for y in part[1::2])
    block = abs(d) + abs(e) + reduce  # averaging takes whole blocks, of pixels as they were decoded
    return max(1, math.ceil(min(lowest + 4 * block, 1e9)))


def _stretched(pixels: Image, matrix: Affine, part: tuple[int, int, int, int], rows: int) -> Image | None:
    """A part of the canvas that is a rectangle of whole pixels, stretched and mirrored, or a part of one; None for any other.

    The same bilinear interpolation as a warp, for half the time: rows and columns have weights of their own, that are
    computed once.

    Args:
        pixels: the image.
        matrix: from its pixels to those of the canvas.
        part: as for `warp`.
        rows: how many rows of the image may be used: the same number wherever it comes from, or a cache would change pixels.
    """
    a, b, _, d, e, _ = matrix
    if b or d or max(abs(a), abs(e)) < 1 / 3:
        return None
    p, _, r, _, t, u = invert(matrix)
    columns = _grown(part[0], part[2], p, r, pixels.shape[1])
    lines = _grown(part[1], part[3], t, u, rows)
    if columns is None or lines is None:
        return None
    grown = (columns[0], lines[0], columns[1], lines[1])
    if grown != part:
        larger = (grown[2] - grown[0]) * (grown[3] - grown[1]) / ((part[2] - part[0]) * (part[3] - part[1]))
        if larger > _WORTH:
            return None
        whole = _stretched(pixels, matrix, grown, rows)
        if whole is None:
            return None
        x, y = part[0] - grown[0], part[1] - grown[1]
        return np.ascontiguousarray(whole[y : y + part[3] - part[1], x : x + part[2] - part[0]])
    xs, ys = sorted((p * part[0] + r, p * part[2] + r)), sorted((t * part[1] + u, t * part[3] + u))
    left, top, right, bottom = (round(value) for value in (xs[0], ys[0], xs[1], ys[1]))
    near = max(abs(xs[0] - left), abs(ys[0] - top), abs(xs[1] - right), abs(ys[1] - bottom))
    if near > _NEAR or left < 0 or top < 0 or right > pixels.shape[1] or bottom > pixels.shape[0]:
        return None
    cv2 = opencv()
    result: Image = pixels[top:bottom, left:right]
    # Between two and three pixels for one, pairs are averaged first: the interpolation looks at two neighbours only.
    halves = [
        2 if size * 2 <= whole else 1
        for whole, size in ((right - left, part[2] - part[0]), (bottom - top, part[3] - part[1]))
    ]
    if halves != [1, 1]:
        result = cv2.resize(result, ((right - left) // halves[0], (bottom - top) // halves[1]))
    size = part[2] - part[0], part[3] - part[1]
    if (result.shape[1], result.shape[0]) != size:
        result = cv2.resize(result, size)
    if a < 0 or e < 0:
        result = cv2.flip(result, 0 if a > 0 else 1 if e > 0 else -1)
    # What no step above has made anew may belong to a cache.
    return result.copy() if np.may_share_memory(result, pixels) else np.ascontiguousarray(result)


def _grown(low: int, high: int, scale: float, shift: float, size: int) -> tuple[int, int] | None:
    """The smallest interval of the canvas around one whose ends are whole pixels of the image, too; None where there is none near.

    Args:
        low: begin, in pixels of the canvas.
        high: end.
        scale: from there to the image.
        shift: from there to the image.
        size: of the image.
    """
    ends = []
    for end, step in ((low, -1), (high, 1)):
        at = scale * end + shift
        if abs(at - round(at)) <= _NEAR and -_NEAR <= at <= size + _NEAR:
            ends.append(end)
            continue
        steps = np.arange(1, int((high - low) * (_WORTH - 1)) + 2)
        places = at + scale * step * steps
        whole = (np.abs(places - np.rint(places)) <= _NEAR) & (places >= -_NEAR) & (places <= size + _NEAR)
        if not whole.any():
            return None
        ends.append(end + step * int(steps[whole.argmax()]))
    return ends[0], ends[1]


def reduction(matrix: Affine) -> int:
    """The largest of 1, 2, 4, 8 by which the image may be shrunk first without being magnified afterwards."""
    a, b, _, d, e, _ = matrix
    # The larger singular value of the 2 x 2 part: the most that any direction is stretched.
    half = (a * a + b * b + d * d + e * e) / 2
    most = math.sqrt(half + math.sqrt(max(half * half - (a * e - b * d) ** 2, 0.0)))
    return next((reduce for reduce in (8, 4, 2) if reduce * most <= 1 + 1e-9), 1)


def _prefiltered(pixels: Image, matrix: Affine, part: tuple[int, int, int, int]) -> tuple[Image, Affine]:
    """Average whole pixels first where the warp would step over some: it looks at two neighbours only."""
    a, b, _, d, e, _ = matrix
    across, down = (max(1, int(1 / max(math.hypot(*column), 1e-9) + 1e-9)) for column in ((a, d), (b, e)))
    if across == 1 and down == 1:
        return pixels, matrix
    height, width = pixels.shape[:2]
    p, q, r, s, t, u = invert(matrix)
    xs = [p * x + q * y + r for x in part[0::2] for y in part[1::2]]
    ys = [s * x + t * y + u for x in part[0::2] for y in part[1::2]]
    left, right = _stretch(min(xs), max(xs), across, width)
    top, bottom = _stretch(min(ys), max(ys), down, height)
    cv2 = opencv()
    needed = pixels[top:bottom, left:right]
    if right > width or bottom > height:
        needed = cv2.copyMakeBorder(needed, 0, max(bottom - height, 0), 0, max(right - width, 0), cv2.BORDER_REPLICATE)
    size = (right - left) // across, (bottom - top) // down
    # The mean of two neighbours is also what lies in their middle, which OpenCV computes four times faster; four it averages well.
    pairs = {across, down} == {1, 2}
    small: Image = cv2.resize(needed, size, interpolation=cv2.INTER_LINEAR if pairs else cv2.INTER_AREA)
    return small, compose(matrix, (float(across), 0.0, float(left), 0.0, float(down), float(top)))


def _stretch(low: float, high: float, factor: int, limit: int) -> tuple[int, int]:
    """Whole pixels of the image around an interval, with room for the neighbours.

    Always a multiple of `factor` (OpenCV averages whole blocks several times faster), so the last may lie beyond the image.
    """
    first = min(max(math.floor(low) - 2 * factor, 0), limit - 1)
    last = min(max(math.ceil(high) + 2 * factor, first + 1), limit)
    return first, first + -(-(last - first) // factor) * factor


def is_lattice(matrix: Affine) -> bool:
    """Whether pixels fall on pixels: mirrors, quarter turns and whole shifts."""
    a, b, c, d, e, f = matrix
    straight = abs(a) == 1 and abs(e) == 1 and b == 0 and d == 0
    turned = abs(b) == 1 and abs(d) == 1 and a == 0 and e == 0
    return (straight or turned) and c.is_integer() and f.is_integer()


def _slice(source: Source, matrix: Affine, part: tuple[int, int, int, int]) -> Image | None:
    """The part by slicing; None where it reaches beyond the image."""
    a, b, c, d, e, f = invert(matrix)
    left, right = sorted(round(a * x + b * y + c) for x, y in (part[:2], part[2:]))
    top, bottom = sorted(round(d * x + e * y + f) for x, y in (part[:2], part[2:]))
    if left < 0 or top < 0 or right > source.width or bottom > source.height:
        return None
    pixels, _ = decoded(source, 1, bottom)
    view = pixels[top:bottom, left:right]
    across, down = (matrix[1], matrix[3]) if b else (matrix[0], matrix[4])
    if b:
        view = view.transpose(1, 0, 2)
    if across > 0 and down > 0:
        return view if view.flags.c_contiguous and isinstance(source, FileSource) else view.copy()
    # OpenCV mirrors forty times faster than numpy copies a mirrored view.
    result: Image = opencv().flip(np.ascontiguousarray(view), 0 if across > 0 else 1 if down > 0 else -1)
    return result
