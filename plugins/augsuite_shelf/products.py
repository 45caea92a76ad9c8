"""The classes of products, and one product as a small picture with a transparent background."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import PIL.Image

from augsuite_shelf.paints import paint_bottle, paint_box, paint_can, paint_jar, paint_jug, paint_mug, paint_spray
from augsuite_shelf.pictures import DETAIL, Colour, Picture, brand_colour


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of products.

    Attributes:
        height: smallest and largest, in pixels of the finished image.
        aspect: smallest and largest width over height.
        hue_deg: centre of the brand's colours on the colour circle.
        paint: draws it.
        faces: whether it has a front that can point left or right without becoming another class.
        mirrored: whether it is drawn as the mirror image of what `paint` draws: the other hand of its pair.
    """

    height: tuple[float, float]
    aspect: tuple[float, float]
    hue_deg: float
    paint: Callable[[Picture, np.random.Generator, Colour], None]
    faces: bool = False
    mirrored: bool = False


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "can": Kind((44, 54), (0.6, 0.68), 4, paint_can),
        "bottle": Kind((60, 68), (0.36, 0.42), 125, paint_bottle),
        "jar": Kind((40, 50), (0.84, 0.94), 36, paint_jar),
        "box": Kind((50, 64), (0.7, 0.82), 222, paint_box, faces=True),
        "spray": Kind((58, 67), (0.56, 0.64), 285, paint_spray, faces=True),
        "mug_left": Kind((36, 44), (1.16, 1.28), 178, paint_mug),
        "mug_right": Kind((36, 44), (1.16, 1.28), 178, paint_mug, mirrored=True),
        "jug_left": Kind((50, 60), (0.92, 1.02), 75, paint_jug),
        "jug_right": Kind((50, 60), (0.92, 1.02), 75, paint_jug, mirrored=True),
    }
)


@dataclass(frozen=True, slots=True)
class Product:
    """One object on a shelf.

    Attributes:
        kind: a name of `KINDS`.
        height: in pixels of the finished image, before the tilt.
        aspect: width over height.
        middle: x of the middle of its base, in pixels of the finished image.
        base: y of its base.
        turned: shown as its mirror image; for a kind that faces, this is facing left instead of right.
        look: key of everything else about it: colours, print, gloss, tilt.
    """

    kind: str
    height: float
    aspect: float
    middle: float
    base: float
    turned: bool
    look: tuple[int, ...]


def draw(product: Product) -> PIL.Image.Image:
    """Draw a product, `DETAIL` times its size, cut to its silhouette.

    Two products that differ only by `mug_left` and `mug_right`, or by `jug_left` and `jug_right`, are exact mirror images.

    Returns:
        An RGBA image whose alpha is 0 or 255 and touches all four borders.
    """
    kind = KINDS[product.kind]
    rng = np.random.default_rng(product.look)
    height = round(product.height * DETAIL)
    picture = Picture(round(product.height * product.aspect * DETAIL), height)
    kind.paint(picture, rng, brand_colour(rng, kind.hue_deg))
    pixels = np.dstack([np.clip(picture.colours, 0, 255), picture.inside * np.float32(255)]).astype(np.uint8)
    image = _tilt(PIL.Image.fromarray(pixels), rng)
    if kind.mirrored != product.turned:
        image = image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    return image


def _tilt(image: PIL.Image.Image, rng: np.random.Generator) -> PIL.Image.Image:
    """Turn by a few degrees and see from slightly above, below or beside; then cut to the silhouette."""
    width, height = image.size
    angle, narrow, lean = np.deg2rad(rng.normal(0, 1.5)), rng.uniform(-0.05, 0.05), rng.normal(0, 0.02)
    half = width / 2
    corners = np.array(
        [
            [-half * (1 + narrow) + lean * height, -height],
            [half * (1 + narrow) + lean * height, -height],
            [half * (1 - narrow), 0],
            [-half * (1 - narrow), 0],
        ]
    )
    corners = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners -= corners.min(axis=0)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int).tolist()
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    # the eight numbers of the projective map from the picture wanted to the picture drawn, from its four corners
    rows = []
    for (x, y), (u, v) in zip(corners, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    numbers = np.linalg.solve(np.array(rows), source.reshape(-1))
    moved = image.transform(
        (right, bottom), PIL.Image.Transform.PERSPECTIVE, numbers.tolist(), PIL.Image.Resampling.NEAREST
    )
    return moved.crop(moved.getchannel("A").getbbox())
