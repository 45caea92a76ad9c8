"""Larger canvases and other sizes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import Scene, Warp

Side = Annotated[int, Meta(ge=1)]
Byte = Annotated[int, Meta(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]

MEAN_COLOR = (124, 116, 104)
"""The mean of ImageNet's training images, red, green and blue."""


class Expand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Place the image at random on a canvas up to `max_ratio` times as wide and high: objects get smaller.

    The ratio is uniform in [1, `max_ratio`], the place uniform on whole pixels.

    Attributes:
        max_ratio: at least 1.
        fill: red, green and blue, 0 to 255, of the rest of the canvas.

    Source: Liu et al. 2016, SSD, section 3.6, arXiv:1512.02325; as `ExpandImage` of github.com/weiliu89/caffe.
    """

    max_ratio: Annotated[float, Meta(ge=1)] = 4.0
    fill: Color = MEAN_COLOR

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw a ratio and a place."""
        ratio = rng.uniform(1.0, self.max_ratio)
        width, height = int(scene.width * ratio), int(scene.height * ratio)
        left = int(rng.integers(0, width - scene.width, endpoint=True))
        top = int(rng.integers(0, height - scene.height, endpoint=True))
        return Warp((1, 0, left, 0, 1, top, 0, 0, 1), width, height, self.fill)


class Pad(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make the canvas large enough; the image keeps its size.

    Attributes:
        least: width, then height, that the canvas has at least, in pixels.
        multiple: then up to a multiple of that many pixels.
        place: where the image goes: the `center` (the odd pixel right and below), the `corner` at the top left, or `random`.
        fill: red, green and blue, 0 to 255, of the rest of the canvas.

    Source: as `PadIfNeeded` of albumentations.
    """

    least: tuple[Side, Side] = (1, 1)
    multiple: Side = 32
    place: Literal["center", "corner", "random"] = "corner"
    fill: Color = MEAN_COLOR

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp | None:
        """Draw the place; None where the canvas is large enough."""
        pairs = zip((scene.width, scene.height), self.least, strict=True)
        width, height = (-(-max(pair) // self.multiple) * self.multiple for pair in pairs)
        if (width, height) == (scene.width, scene.height):
            return None
        spare = width - scene.width, height - scene.height
        left, top = (0, 0) if self.place == "corner" else (spare[0] // 2, spare[1] // 2)
        if self.place == "random":
            left, top = (int(rng.integers(side, endpoint=True)) for side in spare)
        return Warp((1, 0, left, 0, 1, top, 0, 0, 1), width, height, self.fill)


class Resize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stretch to a size, whatever the shape was.

    Attributes:
        size: width, then height, in pixels.
    """

    size: tuple[Side, Side] = (300, 300)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp | None:
        """Nothing is random; None where the size is right."""
        del rng
        width, height = self.size
        if (width, height) == (scene.width, scene.height):
            return None
        return Warp((width / scene.width, 0, 0, 0, height / scene.height, 0, 0, 0, 1), width, height)


class Letterbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fit into a size, keeping the shape to within a pixel, and fill both sides alike.

    Attributes:
        size: width, then height, in pixels.
        fill: red, green and blue, 0 to 255, of the bars.

    Source: `letterbox` of github.com/ultralytics/yolov5, utils/augmentations.py; the grey of 114 is theirs.
    """

    size: tuple[Side, Side] = (300, 300)
    fill: Color = (114, 114, 114)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp | None:
        """Nothing is random; None where the size is right."""
        del rng
        width, height = self.size
        if (width, height) == (scene.width, scene.height):
            return None
        scale = min(width / scene.width, height / scene.height)
        # Whole pixels, so that the bars have sharp edges; this bends the shape by half a pixel at most.
        inner = max(1, round(scene.width * scale)), max(1, round(scene.height * scale))
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        matrix = (inner[0] / scene.width, 0, left, 0, inner[1] / scene.height, top, 0, 0, 1)
        return Warp(matrix, width, height, self.fill)
