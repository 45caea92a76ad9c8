"""What each product looks like.

Each is a function of two coordinate fields, as a shader would have it: `across` runs from -1 at the left edge of the
silhouette to 1 at its right, `down` from 0 at the top to 1 at the base, bent where the surface is round.
"""

from __future__ import annotations

import numpy as np

from augsuite_shelf.pictures import (
    DARK,
    METAL,
    WHITE,
    Colour,
    Picture,
    brand_colour,
    lines,
    mixed,
    ring,
    roundness,
    turn,
)


def paint_can(picture: Picture, rng: np.random.Generator, brand: Colour) -> None:
    """A drinks can: metal rims, a wave or a disc on the brand's colour."""
    can = turn(picture, [(0, 0.86), (0.1, 1), (0.92, 1), (1, 0.88)], bend=0.2)
    picture.fill(can.body, brand)
    second = mixed(WHITE, brand, rng.uniform(0.6, 1))
    if rng.random() < 0.5:
        wave = can.down - 0.5 - 0.14 * np.sin(2.6 * can.across + rng.uniform(0, 6))
        picture.fill(can.body & (np.abs(wave) < rng.uniform(0.08, 0.15)), second)
    else:
        disc = (can.across / 0.6) ** 2 + ((can.down - rng.uniform(0.4, 0.55)) / 0.22) ** 2 < 1
        picture.fill(can.body & disc, second)
        picture.fill(
            can.body & ((can.across / 0.35) ** 2 + ((can.down - 0.48) / 0.12) ** 2 < 1), mixed(DARK, brand, 0.4)
        )
    picture.fill(can.body & ((can.down < 0.07) | (can.down > 0.94)), METAL)
    picture.shade(can.body, *roundness(can.across, rng.uniform(-0.5, 0.5), rng.uniform(50, 95)))
    picture.fill(can.top, mixed(WHITE, METAL, 0.4))
    hole = (can.across / 0.34) ** 2 + ((can.down + 0.09) / 0.045) ** 2 < 1
    picture.fill(can.top & hole, mixed(DARK, METAL, 0.5))


def paint_bottle(picture: Picture, rng: np.random.Generator, brand: Colour) -> None:
    """A bottle: cap, neck, shoulder, a paper label around the body."""
    shoulder = rng.uniform(0.36, 0.44)
    bottle = turn(
        picture,
        [(0, 0.36), (0.11, 0.38), (0.115, 0.3), (0.24, 0.32), (shoulder - 0.03, 0.86), (shoulder + 0.04, 1), (1, 0.96)],
        bend=0.12,
    )
    picture.fill(bottle.body, brand)
    picture.shade(bottle.body & (bottle.down < shoulder + 0.02), np.full_like(bottle.down, 1.12))
    label = bottle.body & (np.abs(bottle.down - rng.uniform(0.66, 0.72)) < rng.uniform(0.13, 0.19))
    paper = mixed(WHITE, brand, rng.uniform(0.75, 1))
    picture.fill(label, paper)
    picture.fill(label & (np.abs(bottle.down - 0.69) < 0.03), mixed(brand, DARK, 0.6))
    picture.shade(bottle.body, *roundness(bottle.across, rng.uniform(-0.5, 0.5), rng.uniform(60, 110)))
    cap = brand_colour(rng, rng.uniform(0, 360), 0)
    picture.fill(bottle.body & (picture.y < 0.113 * picture.height), mixed(cap, DARK, 0.75))
    ridge = 0.85 + 0.2 * np.sin(9 * np.arcsin(np.clip(bottle.across, -1, 1)))
    picture.shade(bottle.body & (picture.y < 0.113 * picture.height), ridge.astype(np.float32))


def paint_jar(picture: Picture, rng: np.random.Generator, brand: Colour) -> None:
    """A jar of preserve: a wide lid, glass over the brand's colour, a round-edged label."""
    jar = turn(picture, [(0, 0.9), (0.19, 0.9), (0.2, 0.8), (0.26, 0.82), (0.36, 1), (0.86, 1), (1, 0.84)], bend=0.14)
    picture.fill(jar.body, brand)
    speckle = np.sin(picture.x * 0.55 + rng.uniform(0, 6)) * np.sin(picture.y * 0.47 + rng.uniform(0, 6))
    picture.shade(jar.body, (1 + 0.13 * speckle).astype(np.float32))
    label = ((jar.across / 0.68) ** 4 + ((jar.down - 0.64) / 0.22) ** 4) < 1
    picture.fill(jar.body & label, mixed(WHITE, brand, rng.uniform(0.8, 1)))
    fruit = (jar.across / 0.26) ** 2 + ((jar.down - 0.58) / 0.11) ** 2 < 1
    picture.fill(jar.body & fruit, mixed(brand, DARK, 0.85))
    lines(picture, jar.across, jar.down - 0.75, jar.body & label, rng)
    picture.shade(jar.body, *roundness(jar.across, rng.uniform(-0.6, 0.6), rng.uniform(80, 120)))
    lid = jar.body & (picture.y < 0.195 * picture.height)
    colour = mixed(METAL, brand_colour(rng, rng.uniform(0, 360), 0), rng.uniform(0.2, 0.8))
    picture.fill(lid, colour)
    picture.shade(lid, *roundness(jar.across, rng.uniform(-0.5, 0.5), 60))
    picture.fill(jar.top, mixed(WHITE, colour, 0.35))


def paint_box(picture: Picture, rng: np.random.Generator, brand: Colour) -> None:
    """A carton that faces right: its side shows at the right, its print leads there."""
    edge = rng.uniform(0.76, 0.82)
    across, down = picture.x / picture.width, picture.y / picture.height
    front = (across < edge) & (down > 0.0)
    slope = (across - edge) * 0.3
    side = (across >= edge) & (down > slope) & (down < 1 - slope * 0.6)
    picture.fill(front, brand)
    second = mixed(WHITE, brand, rng.uniform(0.75, 1))
    along = across / edge
    band = down - (0.78 - 0.5 * along)
    picture.fill(front & (np.abs(band) < rng.uniform(0.09, 0.13)), second)
    picture.fill(front & (band > 0.2), mixed(brand, DARK, 0.62))
    sun = ((along - 0.72) / 0.2) ** 2 + ((down - 0.2) / 0.13) ** 2 < 1
    picture.fill(front & sun, brand_colour(rng, 48, 6))
    lines(picture, (along - 0.3) * 1.6, down - 0.14, front & (along < 0.55), rng)
    picture.shade(front, (1.02 - 0.12 * along).astype(np.float32))
    picture.fill(side, mixed(brand, DARK, 0.6))
    picture.fill(side & (down > 0.3) & (down < 0.62), mixed(second, DARK, 0.55))
    picture.shade(side, (1 - 0.3 * (across - edge) / (1 - edge)).astype(np.float32))


def paint_spray(picture: Picture, rng: np.random.Generator, brand: Colour) -> None:
    """A spray bottle that faces right: nozzle and trigger on that side."""
    left, right = 0.02, 0.78
    body = turn(
        picture,
        [(0, 0.3), (0.26, 0.3), (0.3, 0.36), (0.46, 0.8), (0.54, 0.86), (0.68, 0.9), (0.8, 1), (1, 1)],
        left,
        right,
        bend=0.08,
    )
    below = body.body & (picture.y > 0.24 * picture.height)
    picture.fill(below, brand)
    label = below & (np.abs(body.down - 0.72) < 0.16) & (np.abs(body.across) < 0.8)
    picture.fill(label, mixed(WHITE, brand, rng.uniform(0.7, 0.95)))
    lines(picture, body.across, body.down - 0.72, label, rng)
    picture.shade(below, *roundness(body.across, rng.uniform(-0.4, 0.4), rng.uniform(40, 90)))
    head = mixed(brand_colour(rng, rng.uniform(0, 360), 0), WHITE, rng.uniform(0.2, 0.8))
    trigger = picture.polygon([(0.5, 0.1), (0.74, 0.14), (0.8, 0.33), (0.71, 0.36), (0.64, 0.22), (0.5, 0.22)])
    picture.fill(trigger, mixed(head, DARK, 0.6))
    top = picture.polygon(
        [(0.22, 0.07), (0.34, 0.0), (0.82, 0.0), (0.99, 0.045), (0.99, 0.115), (0.62, 0.15), (0.58, 0.26), (0.23, 0.26)]
    )
    picture.fill(top, head)
    picture.shade(top, (1.15 - 1.6 * picture.y / picture.height).astype(np.float32))
    picture.fill(top & (picture.x > 0.92 * picture.width), DARK)


def paint_mug(picture: Picture, rng: np.random.Generator, brand: Colour) -> None:
    """A mug with its handle at the left; all else is drawn alike on either side."""
    ring(picture, (0.31, 0.53), (0.31, 0.34), 0.36, brand)
    mug = turn(picture, [(0, 1), (0.75, 0.98), (0.93, 0.92), (1, 0.8)], 0.26, 1.0, bend=0.17)
    picture.fill(mug.body, brand)
    second = mixed(WHITE, brand, rng.uniform(0.75, 1))
    motif = rng.integers(3)
    if motif == 0:
        picture.fill(mug.body & (np.abs(mug.down - 0.5) < 0.1), second)
        picture.fill(mug.body & (np.abs(mug.down - 0.5) < 0.03), mixed(brand, DARK, 0.6))
    elif motif == 1:
        x, y = mug.across / 0.5, (0.5 - mug.down) / 0.26
        picture.fill(mug.body & (x**2 + (1.2 * y - 0.75 * np.sqrt(np.abs(x))) ** 2 < 0.9), second)
    else:
        dots = np.cos(3 * np.pi * np.arcsin(np.clip(mug.across, -1, 1))) * np.cos(5 * np.pi * (mug.down - 0.5))
        picture.fill(mug.body & (dots > 0.35), second)
    picture.shade(mug.body, *roundness(mug.across, rng.uniform(-0.5, 0.5), rng.uniform(40, 80)))
    picture.fill(mug.top, mixed(brand, WHITE, 0.5))
    inner = mug.top & ((mug.across / 0.88) ** 2 + ((picture.y / picture.height - 0.105) / 0.075) ** 2 < 1)
    picture.fill(inner, mixed(brand, DARK, 0.3))


def paint_jug(picture: Picture, rng: np.random.Generator, brand: Colour) -> None:
    """A jug with its handle at the left and its spout at the right."""
    ring(picture, (0.25, 0.42), (0.25, 0.31), 0.3, brand)
    picture.fill(
        picture.polygon([(0.62, 0.05), (1.0, 0.01), (0.97, 0.08), (0.78, 0.32), (0.6, 0.3)]), mixed(brand, DARK, 0.85)
    )
    jug = turn(
        picture,
        [(0, 0.72), (0.1, 0.62), (0.24, 0.62), (0.45, 0.92), (0.66, 1), (0.85, 0.86), (0.94, 0.7), (1, 0.72)],
        0.19,
        0.87,
        bend=0.13,
    )
    picture.fill(jug.body, brand)
    second = mixed(WHITE, brand, rng.uniform(0.7, 1))
    if rng.random() < 0.5:
        picture.fill(jug.body & (np.abs(jug.down - 0.62) < 0.09), second)
        zigzag = np.abs(np.abs((np.arcsin(np.clip(jug.across, -1, 1)) * 2.5) % 1 - 0.5) - 0.25) * 0.3
        picture.fill(jug.body & (np.abs(jug.down - 0.58 - zigzag) < 0.02), mixed(brand, DARK, 0.6))
    else:
        for centre in (-0.5, 0.0, 0.5):
            petal = ((jug.across - centre) / 0.2) ** 2 + ((jug.down - 0.62) / 0.1) ** 2
            picture.fill(jug.body & (petal < 1), second)
            picture.fill(jug.body & (petal < 0.15), mixed(brand, DARK, 0.5))
    picture.shade(jug.body, *roundness(jug.across, rng.uniform(-0.5, 0.5), rng.uniform(50, 90)))
    picture.fill(jug.top, mixed(brand, DARK, 0.45))
