"""Turns a scene into pixels and boxes.

Boxes hold a product's full extent, what a neighbour hides included, cut to the image. A product of which less than
`LEAST_VISIBLE` can be seen is not drawn at all, so nothing in an image is without its box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
from numpy.typing import NDArray

from augsuite_shelf.pictures import DARK, DETAIL, Colour, brand_colour, mixed
from augsuite_shelf.products import Product, draw
from augsuite_shelf.scene import HEIGHT, WIDTH, Light, Scene

LEAST_VISIBLE = 0.4
"""Share of a product's silhouette that neighbours and the image's border must leave in sight."""
BOARD_THICKNESS = 7

_SIZE = (WIDTH * DETAIL, HEIGHT * DETAIL)
_WOOD: Colour = (186, 142, 96)
_PAINTED: Colour = (226, 224, 218)
_STEEL: Colour = (138, 144, 152)
_TAGS: tuple[Colour, ...] = ((250, 248, 240), (250, 222, 90), (228, 70, 60), (250, 248, 240))
# which of the seven strokes of a digit are set: top, upper left, upper right, middle, lower left, lower right, bottom
_STROKES = (
    "1110111",
    "0010010",
    "1011101",
    "1011011",
    "0111010",
    "1101011",
    "1101111",
    "1010010",
    "1111111",
    "1111011",
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A product that was drawn.

    Attributes:
        product: what it is.
        box: x, y, width, height of its full extent within the image, in pixels; multiples of `1 / DETAIL`.
        visible: share of its silhouette in sight, from `LEAST_VISIBLE` to 1.
    """

    product: Product
    box: tuple[float, float, float, float]
    visible: float


def render(scene: Scene) -> tuple[NDArray[np.uint8], list[Placed]]:
    """Draw a scene.

    Returns:
        `(HEIGHT, WIDTH, 3)` uint8 RGB, and the products drawn, from the furthest to the nearest.
    """
    rng = np.random.default_rng(scene.key)
    canvas = _wall(rng)
    _boards(canvas, scene.boards, rng)
    placed = []
    for product, image, corner, visible in _in_sight(scene.products):
        _shadow(canvas, image, corner)
        canvas.paste(image, corner, image)
        placed.append(Placed(product, _extent(image, corner), visible))
    pixels = np.asarray(canvas.reduce(DETAIL), np.float32)
    return expose(pixels, scene.light, rng), placed


def _in_sight(
    products: tuple[Product, ...],
) -> list[tuple[Product, PIL.Image.Image, tuple[int, int], float]]:
    """Draw each product and leave out those hidden too much by the ones kept in front of them."""
    covered = np.zeros((HEIGHT * DETAIL, WIDTH * DETAIL), np.bool_)
    kept = []
    for product in reversed(products):
        image = draw(product)
        left = round(product.middle * DETAIL - image.width / 2)
        top = round(product.base * DETAIL) - image.height
        silhouette = np.asarray(image.getchannel("A")) > 0
        rows = slice(max(top, 0), max(top + image.height, 0))
        columns = slice(max(left, 0), max(left + image.width, 0))
        within = silhouette[max(-top, 0) : HEIGHT * DETAIL - top, max(-left, 0) : WIDTH * DETAIL - left]
        free = within & ~covered[rows, columns]
        visible = float(free.sum() / silhouette.sum())
        if visible < LEAST_VISIBLE:
            continue
        covered[rows, columns] |= within
        kept.append((product, image, (left, top), visible))
    return kept[::-1]


def _extent(image: PIL.Image.Image, corner: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top = (max(value, 0) for value in corner)
    right = min(corner[0] + image.width, _SIZE[0])
    bottom = min(corner[1] + image.height, _SIZE[1])
    return left / DETAIL, top / DETAIL, (right - left) / DETAIL, (bottom - top) / DETAIL


def _shadow(canvas: PIL.Image.Image, image: PIL.Image.Image, corner: tuple[int, int]) -> None:
    """Darken the board under a product and the wall and neighbours close behind it."""
    pad = 3 * DETAIL
    mask = PIL.Image.new("L", (image.width + 2 * pad, image.height + 2 * pad))
    mask.paste(70, (pad, pad), image.getchannel("A"))
    foot = (pad, pad + image.height - 2 * DETAIL, pad + image.width, pad + image.height + 2 * DETAIL)
    PIL.ImageDraw.Draw(mask).ellipse(foot, fill=150)
    mask = mask.filter(PIL.ImageFilter.BoxBlur(1.5 * DETAIL))
    canvas.paste((24, 20, 22), (corner[0] - pad, corner[1] - pad), mask)


def _wall(rng: np.random.Generator) -> PIL.Image.Image:
    """The back wall: pegboard, planks, tiles or plain paint, in a quiet colour, with stains."""
    base = mixed(brand_colour(rng, rng.uniform(0, 360), 0), (200, 198, 192), rng.uniform(0.05, 0.3))
    base = mixed(base, DARK, rng.uniform(0.55, 1))
    pitch = rng.uniform(8, 14) * DETAIL
    x, y = np.arange(_SIZE[0]) + rng.uniform(0, pitch), np.arange(_SIZE[1])[:, None] + rng.uniform(0, pitch)
    column, row = (x % pitch).astype(np.float32), (y % pitch).astype(np.float32)
    stains = PIL.Image.fromarray(rng.uniform(0.86, 1.1, size=(6, 7)).astype(np.float32))
    factor = np.array(stains.resize(_SIZE, PIL.Image.Resampling.BICUBIC))
    pattern = int(rng.integers(4))
    if pattern == 0:  # pegboard
        factor[(column - pitch / 2) ** 2 + (row - pitch / 2) ** 2 < (1.1 * DETAIL) ** 2] *= 0.62
    elif pattern == 1:  # planks
        factor *= rng.uniform(0.9, 1.08, size=64).astype(np.float32)[(x // pitch).astype(np.int64)]
        factor[:, column < 0.6 * DETAIL] *= 0.7
    elif pattern == 2:  # tiles
        joint = float(rng.choice([0.8, 1.12]))
        factor[:, column < 0.7 * DETAIL] *= joint
        factor[row[:, 0] < 0.7 * DETAIL] *= joint
    pixels = np.clip(factor[..., None] * np.asarray(base, np.float32), 0, 255)
    return PIL.Image.fromarray(pixels.astype(np.uint8))


def _boards(canvas: PIL.Image.Image, boards: tuple[float, ...], rng: np.random.Generator) -> None:
    """The shelves: a surface seen from above, a front edge with price labels, and the shadow each throws."""
    pen = PIL.ImageDraw.Draw(canvas)
    material = mixed((_WOOD, _PAINTED, _STEEL)[int(rng.integers(3))], DARK, rng.uniform(0.75, 1))
    width = _SIZE[0]
    shade = PIL.Image.new("L", _SIZE)
    shadow_pen = PIL.ImageDraw.Draw(shade)
    for board in (-4.0, *boards):
        below = round((board + 4 + BOARD_THICKNESS) * DETAIL)
        for line in range(16 * DETAIL):
            shadow_pen.line((0, below + line, width, below + line), fill=round(110 * (1 - line / (16 * DETAIL))))
    canvas.paste((20, 18, 24), (0, 0), shade)
    for board in boards:
        surface, front = round((board - 3) * DETAIL), round((board + 4) * DETAIL)
        pen.rectangle((0, surface, width, front), fill=_rgb(mixed(material, DARK, 0.84)))
        pen.rectangle((0, front, width, front + BOARD_THICKNESS * DETAIL), fill=_rgb(material))
        for _ in range(24):  # grain
            y = int(rng.integers(surface, front + BOARD_THICKNESS * DETAIL))
            start = int(rng.integers(-width // 4, width))
            tone = mixed(material, DARK, rng.uniform(0.72, 0.95))
            pen.line((start, y, start + int(rng.integers(width // 8, width // 2)), y), fill=_rgb(tone), width=1)
        pen.line((0, front, width, front), fill=_rgb(mixed(material, (255, 255, 255), 0.6)), width=DETAIL // 2)
        _price_labels(pen, front, rng)


def _price_labels(pen: PIL.ImageDraw.ImageDraw, front: int, rng: np.random.Generator) -> None:
    """Clutter on the front edge: labels of several colours, each with a price."""
    x = rng.uniform(0, 20) * DETAIL
    while x < _SIZE[0]:
        width, height = rng.uniform(13, 19) * DETAIL, rng.uniform(6, 8) * DETAIL
        top = front + rng.uniform(-0.5, 0.8) * DETAIL
        tag = _TAGS[int(rng.integers(len(_TAGS)))]
        pen.rectangle((x, top, x + width, top + height), fill=_rgb(tag), outline=_rgb(mixed(tag, DARK, 0.7)))
        ink = _rgb(DARK if tag[1] > 100 else (250, 248, 240))
        digit_height = height - 2.4 * DETAIL
        for place in range(3):
            left = x + (2 + place * 3.6 + (1 if place else 0)) * DETAIL
            _digit(pen, int(rng.integers(10)), (left, top + 1.2 * DETAIL, 2.2 * DETAIL, digit_height), ink)
        x += width + rng.uniform(4, 46) * DETAIL


def _digit(
    pen: PIL.ImageDraw.ImageDraw, value: int, place: tuple[float, float, float, float], ink: tuple[int, int, int]
) -> None:
    x, y, width, height = place
    right, middle, bottom = x + width, y + height / 2, y + height
    strokes = (
        (x, y, right, y),
        (x, y, x, middle),
        (right, y, right, middle),
        (x, middle, right, middle),
        (x, middle, x, bottom),
        (right, middle, right, bottom),
        (x, bottom, right, bottom),
    )
    for stroke, is_set in zip(strokes, _STROKES[value], strict=True):
        if is_set == "1":
            pen.line(stroke, fill=ink, width=DETAIL // 2 + 1)


def expose(pixels: NDArray[np.float32], light: Light, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light a picture and take it with a noisy sensor.

    Args:
        pixels: `(H, W, 3)` float32 in 0 to 255 under even white light.
        light: the light.
        rng: of the noise alone.

    Returns:
        `(H, W, 3)` uint8.
    """
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    level = light.brightness * (1 + light.slope[0] * (x / width - 0.5) + light.slope[1] * (y / height - 0.5))
    lit = pixels * level[..., None] * np.asarray(light.gains, np.float32)
    lit += light.veil * (235 * np.asarray(light.gains, np.float32) - lit)
    for centre_x, centre_y, radius, stretch, angle, strength in light.glares:
        along = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
        beside = (y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)
        spot = strength * np.exp(-((along / (radius * stretch)) ** 2) - (beside / radius) ** 2)
        lit += spot[..., None].astype(np.float32)
    lit += rng.normal(0, light.noise, size=lit.shape).astype(np.float32)
    exposed: NDArray[np.uint8] = np.clip(lit + 0.5, 0, 255).astype(np.uint8)
    return exposed


def _rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(value) for value in colour)
    return red, green, blue
