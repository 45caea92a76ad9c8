"""Perspectives and displacements, rendered by one look-up of where each pixel comes from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from augsuite.augment.bend import Array, Bend
from augsuite.augment.resample import check_sides, decoded, opencv
from augsuite.dataset.images import Image
from augsuite.dataset.sample import Source

_PROBES = 9  # rows and columns where the scale is looked at


def remap(source: Source, bend: Bend, width: int, height: int) -> Image:
    """Make the last canvas of a bend.

    Args:
        source: where the image comes from.
        bend: from the image to the canvas.
        width: of the canvas.
        height: of the canvas.

    Returns:
        `(height, width, 3)` uint8; image wherever it may be seen, anything elsewhere.

    Raises:
        DataError: if the image cannot be read, is not of the size that its source said, or has a side too long to be warped.
        MissingExtraError: if OpenCV is not installed.
    """
    xs, ys = bend.maps((0, 0, width, height))
    step = _least_step(bend, width, height)
    pixels, shrink = decoded(source, _smallest(step))
    blocks = max(1, int(step / shrink + 1e-9))
    cv2 = opencv()
    if blocks > 1:
        rows, columns = (-side % blocks for side in pixels.shape[:2])
        pixels = cv2.copyMakeBorder(pixels, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
        size = pixels.shape[1] // blocks, pixels.shape[0] // blocks
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    check_sides(source, *pixels.shape[:2], width, height)
    scale = 1.0 / (shrink * blocks)
    across, down = (lookup(value * scale - 0.5) for value in (xs, ys))
    result: Image = cv2.remap(pixels, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return result


def reduction(bend: Bend, width: int, height: int) -> int:
    """The largest of 1, 2, 4, 8 by which the image may be shrunk first without being magnified anywhere on the canvas."""
    return _smallest(_least_step(bend, width, height))


def _smallest(step: float) -> int:
    return next((reduce for reduce in (8, 4, 2) if reduce <= step + 1e-9), 1)


def lookup(values: Array) -> NDArray[np.float32]:
    """Coordinates as OpenCV takes them: nowhere becomes far outside."""
    if np.isnan(values.min()):
        values = np.nan_to_num(values, nan=-1e6)
    return values.astype(np.float32)


def _least_step(bend: Bend, width: int, height: int) -> float:
    """The least number of pixels of the image that one pixel of the canvas steps over, in any direction, where it is seen."""
    xs, ys = np.linspace(0.5, width - 0.5, _PROBES), np.linspace(0.5, height - 0.5, _PROBES)
    centres = np.stack(np.meshgrid(xs, ys), axis=2).reshape(-1, 2)
    back = [bend.back(centres + shift) for shift in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))]
    (a, d), (b, e) = (back[0] - back[1]).T, (back[2] - back[3]).T
    # The smaller singular value of each 2 x 2 matrix.
    half = (a * a + b * b + d * d + e * e) / 2
    least: Array = half - np.sqrt(np.maximum(half * half - (a * e - b * d) ** 2, 0.0))
    least = least[np.isfinite(least)]
    return float(np.sqrt(max(least.min(), 0.0))) if len(least) else 1.0
