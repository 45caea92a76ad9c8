"""Other sizes of the same shape."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import Scene, Warp
from augsuite_geometry.canvas import MEAN_COLOR, Color, Side

Positive = Annotated[float, Meta(gt=0)]


def scaled(scene: Scene, scale: float) -> Warp | None:
    """The warp to `scale` times the size, on whole pixels: the shape bends by half a pixel at most. None where nothing changes."""
    width, height = max(1, round(scene.width * scale)), max(1, round(scene.height * scale))
    if (width, height) == (scene.width, scene.height):
        return None
    return Warp((width / scene.width, 0, 0, 0, height / scene.height, 0, 0, 0, 1), width, height)


class ResizeShort(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bring the shorter side to a length, keeping the shape; the longer one may be limited.

    Attributes:
        sizes: lengths in pixels to choose from, each as likely.
        most: the longer side gets no longer than this, in pixels; None for no limit.

    Source: as `RandomShortestSize` of torchvision; sizes and limit as Carion et al. 2020, DETR, section 4, arXiv:2005.12872.
    """

    sizes: tuple[Side, ...] = (800,)
    most: Side | None = 1333

    def __post_init__(self) -> None:
        """There must be something to choose from."""
        if not self.sizes:
            raise ValueError("sizes: expected at least one length")

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp | None:
        """Draw a length; None where the size is right."""
        scale = self.sizes[int(rng.integers(len(self.sizes)))] / min(scene.width, scene.height)
        if self.most is not None:
            scale = min(scale, self.most / max(scene.width, scene.height))
        return scaled(scene, scale)


class ResizeLong(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bring the longer side to a length, keeping the shape.

    Attributes:
        sizes: lengths in pixels to choose from, each as likely.
    """

    sizes: tuple[Side, ...] = (640,)

    def __post_init__(self) -> None:
        """There must be something to choose from."""
        if not self.sizes:
            raise ValueError("sizes: expected at least one length")

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp | None:
        """Draw a length; None where the size is right."""
        return scaled(scene, self.sizes[int(rng.integers(len(self.sizes)))] / max(scene.width, scene.height))


class ScaleJitter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fit into a size times a random factor, keeping the shape; cut to the size where larger, fill right and below where smaller.

    The factor is uniform in `scale`; the part cut out is anywhere, on whole pixels.

    Attributes:
        size: width, then height, in pixels.
        scale: smallest and largest factor: 0.1 and 2 are the large scale jitter, 0.8 and 1.25 the standard one.
        fill: red, green and blue, 0 to 255, of what the image does not cover.

    Source: Ghiasi et al. 2021, Simple copy-paste, section 3, arXiv:2012.07177.
    """

    size: tuple[Side, Side] = (1024, 1024)
    scale: tuple[Positive, Positive] = (0.1, 2.0)
    fill: Color = MEAN_COLOR

    def __post_init__(self) -> None:
        """Check the order of the pair."""
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: expected the smaller number first, got {list(self.scale)}")

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw factor and place."""
        width, height = self.size
        factor = rng.uniform(*self.scale) * min(width / scene.width, height / scene.height)
        inner = max(1, round(scene.width * factor)), max(1, round(scene.height * factor))
        left = -int(rng.integers(max(inner[0] - width, 0), endpoint=True))
        top = -int(rng.integers(max(inner[1] - height, 0), endpoint=True))
        matrix = (inner[0] / scene.width, 0, left, 0, inner[1] / scene.height, top, 0, 0, 1)
        return Warp(matrix, width, height, self.fill)
