"""Pixel operations in a row: the tables against passes over the image, one by one."""

from dataclasses import replace

import numpy as np
import pytest

from augsuite.augment import PixelOp, Plan, policy, render
from augsuite.augment.plan import Origin
from augsuite.augment.pointwise import compose, look_up, operate
from augsuite.augment.transforms import instance
from augsuite.dataset import Sample

RANDOM = np.random.default_rng(5)
IMAGE = RANDOM.integers(0, 256, (40, 50, 3), np.uint8)


def op(do, **drawn):
    return PixelOp(do, do, {}, drawn)


TABLES = [
    op("brightness", brightness=1.3),
    op("posterize", bits=4),
    op("solarize", threshold=130),
    op("gamma", gamma=0.7),
    op("pca_lighting", alphas=[0.1, -0.2, 0.05]),
    op("photometric", brightness=-20.0, contrast=1.4, contrast_last=True),
    op("color_jitter", parts=[["brightness", 0.8]]),
]
OTHERS = [op("autocontrast"), op("hue", hue_deg=30.0), op("contrast", contrast=1.5), op("grayscale")]


def one_by_one(image, ops):
    for each in ops:
        image = instance(each.do, each.params).apply(image.copy(), each.drawn)
    return image


@pytest.mark.parametrize("seed", range(20))
def test_fused_is_exactly_one_by_one(seed):
    random = np.random.default_rng(seed)
    ops = [[*TABLES, *OTHERS][index] for index in random.integers(0, len(TABLES) + len(OTHERS), 6)]
    np.testing.assert_array_equal(operate(IMAGE.copy(), ops), one_by_one(IMAGE, ops))


@pytest.mark.parametrize("shapes", [((256,), (256,)), ((256, 3), (256,)), ((256,), (256, 3)), ((256, 3), (256, 3))])
def test_tables_compose(shapes):
    first, second = (RANDOM.integers(0, 256, shape, np.uint8) for shape in shapes)

    def slow(image, table):
        table = np.broadcast_to(table if table.ndim == 2 else table[:, None], (256, 3))
        return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)

    np.testing.assert_array_equal(look_up(IMAGE, first), slow(IMAGE, first))
    np.testing.assert_array_equal(look_up(IMAGE, compose(first, second)), slow(slow(IMAGE, first), second))


def test_tables_are_looked_up_once(monkeypatch):
    import cv2

    calls = []
    actual = cv2.LUT
    monkeypatch.setattr(cv2, "LUT", lambda *args: calls.append(1) or actual(*args))
    operate(IMAGE.copy(), TABLES)
    assert len(calls) == 1


@pytest.mark.parametrize("seed", range(10))
def test_steps_wait_for_each_other_across_warps_only_where_nothing_is_filled(seed):
    steps = [
        {"do": "brightness"},
        {"do": "hflip"},
        {"do": "gamma"},
        {"do": "expand", "max_ratio": 1.6, "p": 0.5, "fill": [10, 20, 30]},
        {"do": "solarize"},
        {"do": "crop", "area_frac": [0.4, 0.9], "p": 0.5},
        {"do": "pca_lighting", "std": 1.0},
    ]
    chosen = policy(steps)
    sample = Sample.of(IMAGE)
    plan = chosen.plan(sample, (seed, 0, 0))
    slow = sample
    for each in plan.ops:
        slow = render(Plan(Origin(-1, slow.source.width, slow.source.height), (each,)), replace(slow, image_row=-1))
    np.testing.assert_array_equal(render(plan, sample).image, slow.image)
