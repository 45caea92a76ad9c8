"""Anchors, and the way from boxes to anchors and back.

Boxes here are float32 XYXY as fractions of the image, so that nothing depends on the input size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from augsuite_ssd.settings import Shape

Array = NDArray[np.float32]

CENTER_VARIANCE = 0.1
SIZE_VARIANCE = 0.2
LARGEST_GROWTH = math.log(1000 / 16)
"""Logarithm of how many times larger than its anchor a box may be, as torchvision has it: an offset of an untrained network cannot
overflow."""


def anchor_shapes(
    sizes: Sequence[Sequence[float]], ratios: Sequence[float], given: Sequence[Shape] = ()
) -> list[list[Shape]]:
    """The shapes of the anchors at each position, scale by scale.

    `n` sizes and `m` ratios give `n + m - 1` shapes: every size with the first ratio, then the first size with every other ratio.
    Sizes are fractions of the image; a ratio is width over height as fractions too, so that a ratio of 1 is a square on a square
    input. Shapes that are given go each to the scale one of whose sizes is nearest, in ratio, to the square root of their area, and
    replace what that scale would have had; a scale that gets none keeps its sizes and ratios.

    Args:
        sizes: the sizes of each scale.
        ratios: the ratios, for all scales.
        given: shapes, such as `augsuite anchors` suggests.

    Source: Zhang et al., Dive into Deep Learning, section 14.4.1, after Liu et al. 2016, SSD, section 2.2, arXiv:1512.02325.
    """
    placed: list[list[Shape]] = [[] for _ in sizes]
    for width, height in given:
        side = (width * height) ** 0.5
        distances = [min(abs(math.log(side / size)) for size in own) for own in sizes]
        placed[distances.index(min(distances))].append((width, height))
    return [
        own
        or [(size * ratios[0] ** 0.5, size / ratios[0] ** 0.5) for size in scale]
        + [(scale[0] * ratio**0.5, scale[0] / ratio**0.5) for ratio in ratios[1:]]
        for own, scale in zip(placed, sizes, strict=True)
    ]


def make_anchors(grids: Sequence[tuple[int, int]], shapes: Sequence[Sequence[Shape]]) -> Array:
    """The anchors of all scales.

    Args:
        grids: height and width of each scale's feature map.
        shapes: the shapes at each position of each scale.

    Returns:
        `(A, 4)` XYXY, ordered by scale, row, column, anchor; those at the border reach beyond [0, 1].
    """
    scales = []
    for (height, width), own in zip(grids, shapes, strict=True):
        half = np.array(own) / 2
        y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
        centers = np.stack([x, y], axis=-1)[:, :, None, :]
        scales.append(np.concatenate([centers - half, centers + half], axis=-1).reshape(-1, 4))
    return np.concatenate(scales).astype(np.float32)


def encode(boxes: Array, anchors: Array) -> Array:
    """`(K, 4)` offsets (x, y, log width, log height, each over its variance) from `(K, 4)` anchors to `(K, 4)` boxes.

    Source: Liu et al. 2016, SSD, section 2.2; the variances are those of its published code.
    """
    size = anchors[:, 2:] - anchors[:, :2]
    extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    shift = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2 / size
    return np.concatenate([shift / CENTER_VARIANCE, np.log(extent / size) / SIZE_VARIANCE], axis=1).astype(np.float32)


def decode(offsets: Tensor, anchors: Tensor) -> Tensor:
    """`(..., A, 4)` boxes that `(..., A, 4)` offsets from `(A, 4)` anchors mean; the inverse of `encode`.

    A box may grow to at most 62.5 times its anchor (`LARGEST_GROWTH`).
    """
    size = anchors[:, 2:] - anchors[:, :2]
    center = (anchors[:, :2] + anchors[:, 2:]) / 2 + offsets[..., :2] * CENTER_VARIANCE * size
    half = torch.exp((offsets[..., 2:] * SIZE_VARIANCE).clamp(max=LARGEST_GROWTH)) * size / 2
    return torch.cat([center - half, center + half], dim=-1)
