"""Random parts of an image."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from augsuite import boxes as box
from augsuite.augment import Scene, Warp
from augsuite_geometry.canvas import Color, Side

Positive = Annotated[float, Meta(gt=0)]
Unit = Annotated[float, Meta(gt=0, le=1)]


def _ordered(name: str, pair: tuple[float, float]) -> None:
    if pair[0] > pair[1]:
        raise ValueError(f"{name}: expected the smaller number first, got {list(pair)}")


def cut(left: int, top: int, width: int, height: int, keep: tuple[int, ...] | None = None) -> Warp:
    """The warp that cuts out a part."""
    return Warp((1, 0, -left, 0, 1, -top, 0, 0, 1), width, height, keep=keep)


class Crop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cut out a part of random area and shape; ten attempts, then the largest centred part of an allowed shape.

    Attributes:
        area_frac: smallest and largest share of the area, each in (0, 1].
        ratio: smallest and largest width / height, drawn uniformly in the logarithm.

    Source: Szegedy et al. 2015, section 6, arXiv:1409.4842; as `RandomResizedCrop.make_params` of torchvision, without its resize.
    """

    area_frac: tuple[Unit, Unit] = (0.08, 1.0)
    ratio: tuple[Positive, Positive] = (0.75, 4 / 3)

    def __post_init__(self) -> None:
        """Check the order of each pair."""
        _ordered("area_frac", self.area_frac)
        _ordered("ratio", self.ratio)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw area, shape and place."""
        shares = rng.uniform(*self.area_frac, size=10).tolist()
        logs = rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), size=10).tolist()
        places = rng.random((10, 2)).tolist()
        # Mostly the first attempt fits, so they are looked at one by one.
        for share, log, (x, y) in zip(shares, logs, places, strict=True):
            area, ratio = scene.width * scene.height * share, math.exp(log)
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 1 <= width <= scene.width and 1 <= height <= scene.height:
                return cut(int(x * (scene.width - width + 1)), int(y * (scene.height - height + 1)), width, height)
        shape = min(max(scene.width / scene.height, self.ratio[0]), self.ratio[1])
        width = max(1, min(scene.width, round(scene.height * shape)))
        height = max(1, min(scene.height, round(scene.width / shape)))
        return cut((scene.width - width) // 2, (scene.height - height) // 2, width, height)


class CenterCrop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cut a size out of the centre, on whole pixels; fill where the image is smaller.

    Attributes:
        size: width, then height, in pixels.
        fill: red, green and blue, 0 to 255, of what the image does not cover.

    Source: as `CenterCrop` of torchvision, whose rounding it has.
    """

    size: tuple[Side, Side] = (224, 224)
    fill: Color = (0, 0, 0)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp | None:
        """Nothing is random; None where the size is right."""
        del rng
        if self.size == (scene.width, scene.height):
            return None
        pairs = zip((scene.width, scene.height), self.size, strict=True)
        left, top = (-((wanted - side) // 2) if wanted > side else round((side - wanted) / 2) for side, wanted in pairs)
        return Warp((1, 0, -left, 0, 1, -top, 0, 0, 1), *self.size, fill=self.fill)


class SafeCrop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cut out a part on whole pixels that holds every box whole: each of its edges is uniform between the image's and the boxes'.

    An image without boxes keeps a point drawn at random.

    Attributes:
        least_frac: the part is at least so large, as a share of width and of height; a smaller one grows about its centre.

    Source: as `BBoxSafeRandomCrop` of albumentations, without its erosion.
    """

    least_frac: Annotated[float, Meta(ge=0, le=1)] = 0.1

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp:
        """Draw the edges."""
        shares, point = rng.random((2, 2)), rng.random(2)
        spans = []
        for axis, side in enumerate((scene.width, scene.height)):
            first = last = float(point[axis]) * side
            if len(scene.boxes):
                first, last = float(scene.boxes[:, axis].min()), float(scene.boxes[:, axis + 2].max())
            low = int(shares[0, axis] * (math.floor(first) + 1))
            high = side - int(shares[1, axis] * (side - math.ceil(last) + 1))
            least = max(1, math.ceil(self.least_frac * side))
            if high - low < least:
                low = min(max(low - (least - high + low) // 2, 0), side - least)
                high = low + least
            spans.append((low, high))
        (left, right), (top, bottom) = spans
        return cut(left, top, right - left, bottom - top)


class IouCrop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cut out a part that overlaps an object by a drawn minimum; boxes whose centre is outside go.

    One of these is drawn, each as likely: the whole image; a part whose intersection over union with at least one box reaches a
    number of `min_iou`, one option for each number; a part without such a condition. A part must hold the centre of a box where
    there is one. What 50 attempts do not find is given up: the whole image stays.

    Attributes:
        min_iou: the minima, each in [0, 1].
        scale: smallest and largest square root of the part's share of the area, each in (0, 1].
        ratio: smallest and largest width / height, relative to the image's.

    Source: Liu et al. 2016, SSD, section 2.2, arXiv:1512.02325; sizes, condition and centre rule as `SampleBBox`,
    `SatisfySampleConstraint` and `emit_type: CENTER` of github.com/weiliu89/caffe; drawing the option first is the paper's.
    """

    min_iou: tuple[Annotated[float, Meta(ge=0, le=1)], ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    scale: tuple[Unit, Unit] = (0.3, 1.0)
    ratio: tuple[Positive, Positive] = (0.5, 2.0)

    def __post_init__(self) -> None:
        """Check the order of each pair."""
        _ordered("scale", self.scale)
        _ordered("ratio", self.ratio)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp | None:
        """Draw an option, then 50 parts at once, and take the first that satisfies it."""
        option = int(rng.integers(len(self.min_iou) + 2)) - 1
        if option < 0:
            return None
        floor = self.min_iou[option] if option < len(self.min_iou) else 0.0
        boxes = scene.boxes
        if not len(boxes) and option < len(self.min_iou):
            return None
        parts = self._parts(rng, scene)
        first, keep = 0, None
        if len(boxes):
            x, y = box.centers(boxes).T
            lefts, tops, rights, bottoms = parts.T[:, :, None]
            held = (x > lefts) & (x < rights) & (y > tops) & (y < bottoms)
            good = np.flatnonzero(held.any(axis=1))
            if floor > 0:
                good = good[box.iou(parts[good], boxes).max(axis=1) >= floor]
            if not len(good):
                return None
            first = int(good[0])
            keep = tuple(np.flatnonzero(held[first]).tolist())
        left, top, right, bottom = map(int, parts[first].tolist())
        return cut(left, top, right - left, bottom - top, keep)

    def _parts(self, rng: np.random.Generator, scene: Scene) -> box.Boxes:
        """`(50, 4)` parts on whole pixels, XYXY."""
        scales, ratios, x, y = rng.random((4, 50))
        scales = self.scale[0] + scales * (self.scale[1] - self.scale[0])
        low, high = np.maximum(self.ratio[0], scales**2), np.minimum(self.ratio[1], 1 / scales**2)
        ratios = np.sqrt(low + ratios * (high - low))
        # Written out: np.clip and np.stack take several times as long as what they do here.
        widths = np.minimum(np.maximum(np.rint(scene.width * scales * ratios), 1), scene.width)
        heights = np.minimum(np.maximum(np.rint(scene.height * scales / ratios), 1), scene.height)
        parts = np.empty((4, 50))
        np.floor(x * (scene.width - widths + 1), out=parts[0])
        np.floor(y * (scene.height - heights + 1), out=parts[1])
        np.add(parts[0], widths, out=parts[2])
        np.add(parts[1], heights, out=parts[3])
        return parts.T
