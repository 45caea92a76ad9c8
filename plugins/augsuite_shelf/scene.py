"""Draws what stands where and in which light: plain values, no pixels.

Scene `index` depends on `(seed, index)` alone, never on how many images are made. A shift changes the values it is about
and nothing else: every other draw comes from a stream of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from augsuite_shelf.products import KINDS, Product

Shift = Literal["none", "light", "mirror", "scale"]

WIDTH, HEIGHT = 192, 160
BOARDS = (72, 152)
"""y of the surfaces that products stand on, before their jitter."""
FACING_RIGHT = 0.9
"""Share of the facing products that face right; under the shift `mirror`, the share that faces left."""
SMALLER = 0.6
"""What the shift `scale` multiplies the size of every product by."""

# one stream for each idea, so that a change to one leaves the draws of the others as they are
_LAYOUT, _LOOK, _SURROUNDINGS, _LIGHT, _SHIFTED_LIGHT = range(5)


@dataclass(frozen=True, slots=True)
class Light:
    """How the scene is lit.

    Attributes:
        gains: factor of red, green and blue: 1 is the light of the training split.
        slope: change of brightness across the image, to the right and downwards, as a fraction.
        brightness: factor over the whole image.
        veil: 0 to 1: how far stray light lifts everything towards white.
        glares: bright spots: x, y, radius, stretch (all in pixels but the last), angle in radians, strength in grey levels.
        noise: standard deviation of the sensor's noise, in grey levels.
    """

    gains: tuple[float, float, float]
    slope: tuple[float, float]
    brightness: float
    veil: float
    glares: tuple[tuple[float, float, float, float, float, float], ...]
    noise: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One image before it is drawn.

    Attributes:
        boards: y of each surface that products stand on.
        products: from the furthest to the nearest.
        light: how it is lit.
        key: of wall, boards, price labels and noise.
    """

    boards: tuple[float, ...]
    products: tuple[Product, ...]
    light: Light
    key: tuple[int, ...]


def draw_scene(seed: int, index: int, shift: Shift = "none") -> Scene:
    """Draw one scene.

    Args:
        seed: of the dataset; 0 or more.
        index: which image, from 0.
        shift: what to change.
    """
    rng = np.random.default_rng((seed, index, _LAYOUT))
    boards = tuple(float(board + rng.integers(-3, 4)) for board in BOARDS)
    count = int(rng.integers(3, 10))
    upper = int(rng.integers(max(0, count - 5), min(count, 5) + 1))
    products: list[Product] = []
    for board, many in zip(boards, (upper, count - upper), strict=True):
        products += _row(rng, board, many, (seed, index, _LOOK, len(products)))
    if shift == "mirror":
        products = [replace(item, turned=not item.turned) if KINDS[item.kind].faces else item for item in products]
    if shift == "scale":
        products = [replace(item, height=item.height * SMALLER) for item in products]
    light = _light(np.random.default_rng((seed, index, _LIGHT)))
    if shift == "light":
        light = _shifted(light, np.random.default_rng((seed, index, _SHIFTED_LIGHT)))
    products.sort(key=lambda item: item.base)
    return Scene(boards, tuple(products), light, (seed, index, _SURROUNDINGS))


def _row(rng: np.random.Generator, board: float, count: int, key: tuple[int, ...]) -> list[Product]:
    """Place products beside each other, about half of the neighbours overlapping, until the board is full."""
    names = list(KINDS)
    kinds = [names[number] for number in rng.integers(len(names), size=count)]
    heights = [rng.uniform(*KINDS[kind].height) for kind in kinds]
    aspects = [rng.uniform(*KINDS[kind].aspect) for kind in kinds]
    widths = [height * aspect for height, aspect in zip(heights, aspects, strict=True)]
    lefts: list[float] = []
    end = 0.0
    for row, width in enumerate(widths):
        gap = 0.0
        if row:
            smaller = min(width, widths[row - 1])
            gap = -rng.uniform(0.05, 0.3) * smaller if rng.random() < 0.5 else rng.uniform(0, 14)
        if end + gap + width > WIDTH + 12:  # the last may stick out of the image a little
            break
        lefts.append(end + gap)
        end += gap + width
    start = rng.uniform(-6, max(WIDTH - end, 0) + 6) if end < WIDTH else rng.uniform(WIDTH - end - 4, 4)
    products = []
    for row, left in enumerate(lefts):
        faces = KINDS[kinds[row]].faces
        handed = kinds[row].endswith(("_left", "_right"))
        coin = rng.random()
        turned = coin >= FACING_RIGHT if faces else (coin < 0.5 and not handed)
        products.append(
            Product(
                kind=kinds[row],
                height=heights[row],
                aspect=aspects[row],
                middle=start + left + widths[row] / 2,
                base=board + rng.uniform(0, 4),
                turned=bool(turned),
                look=(*key, row),
            )
        )
    return products


def _light(rng: np.random.Generator) -> Light:
    """The light of the training split: near white, uneven, sometimes a faint glare."""
    red, green, blue = rng.normal(1, 0.025, size=3)
    angle, steep = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3)
    glares = (_glare(rng, 10, 25),) if rng.random() < 0.2 else ()
    return Light(
        gains=(red, green, blue),
        slope=(steep * np.cos(angle), steep * np.sin(angle)),
        brightness=rng.uniform(0.88, 1.06),
        veil=0.0,
        glares=glares,
        noise=rng.uniform(2, 5),
    )


def _shifted(light: Light, rng: np.random.Generator) -> Light:
    """The same light at another colour temperature, with stray light and strong glare."""
    strength = rng.uniform(0.5, 0.8)
    warm = (1.22, 0.98, 0.52)
    cold = (0.55, 0.92, 1.3)
    red, green, blue = (1 + strength * (gain - 1) for gain in (warm if rng.random() < 0.5 else cold))
    glares = tuple(_glare(rng, 50, 100) for _ in range(int(rng.integers(1, 3))))
    return replace(
        light,
        gains=(light.gains[0] * red, light.gains[1] * green, light.gains[2] * blue),
        brightness=light.brightness * rng.uniform(0.72, 1.1),
        veil=rng.uniform(0.0, 0.12),
        glares=light.glares + glares,
    )


def _glare(rng: np.random.Generator, least: float, most: float) -> tuple[float, float, float, float, float, float]:
    return (
        rng.uniform(0, WIDTH),
        rng.uniform(0, HEIGHT),
        rng.uniform(12, 26),
        rng.uniform(1, 2.5),
        rng.uniform(0, np.pi),
        rng.uniform(least, most),
    )
