"""The bundled policies: what they draw, against the definitions of their sources."""

import colorsys
import math

import numpy as np
import pytest

from augsuite import registry
from augsuite.augment import PixelOp, Plan, Policy, Warp, policy, render
from augsuite.augment.plan import Mix
from augsuite.dataset import Sample
from augsuite_color.jitter import Hsv

NAMES = sorted(name for name, spec in registry.default().policies().items() if "." not in name)
BUNDLED = {"none", "flip", "d2l", "ssd", "ssdlite", "yolo", "imagenet", "trivialaugment"}


class Pool:
    """A few images of several sizes."""

    def __len__(self):
        return 6

    def original(self, row):
        random = np.random.default_rng(row)
        width, height = 60 + 10 * row, 90 - 5 * row
        box = [5 + row, 7, width - 9, height - 4.5]
        return Sample.of(random.integers(0, 256, (height, width, 3), np.uint8), [box], [row])


POOL = Pool()


def plans(name, count, row=0):
    chosen = policy(name)
    return [chosen.plan(POOL.original(row), (0, epoch, row), POOL) for epoch in range(count)]


def drawn(found, step):
    return [op for plan in found for op in plan.ops if op.step == step]


def uniform(values, low, high):
    """Whether numbers may be uniform: ends, mean and variance, each within four standard errors."""
    values, width = np.asarray(values), high - low
    assert low <= values.min()
    assert values.max() <= high
    assert abs(values.mean() - (low + high) / 2) < 4 * width / math.sqrt(12 * len(values))
    assert abs(values.var() - width**2 / 12) < 4 * width**2 / math.sqrt(180 * len(values))


def half(count, total):
    assert abs(count - total / 2) < 4 * math.sqrt(total / 4)


def test_those_that_are_promised_are_there():
    assert set(NAMES) >= BUNDLED
    specs = registry.default().policies()
    assert all(specs[name].source for name in BUNDLED - {"none", "flip"})


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_is_yaml_and_draws_the_same_for_the_same_key(name):
    chosen = policy(name)
    assert Policy.from_yaml(chosen.to_yaml()) == chosen
    for key in [(0, 0, 0), (1, 2, 3)]:
        sample = POOL.original(key[2])
        plan = chosen.plan(sample, key, POOL)
        assert Plan.from_json(plan.to_json()) == plan
        first, second = chosen(sample, key=key, pool=POOL), render(plan, sample, POOL)
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.boxes, second.boxes)
    small = chosen.resized(48, 40)(POOL.original(1), key=(0, 0, 1), pool=POOL)
    assert small.image.shape == (40, 48, 3)


def crops(found, width=60, height=90):
    """Area and shape of the parts that `crop` cut out."""
    sizes = np.array([(op.width, op.height) for op in drawn(found, "crop")])
    return sizes.prod(axis=1) / (width * height), sizes[:, 0] / sizes[:, 1]


def test_d2l():
    found = plans("d2l", 1500)
    half(len(drawn(found, "hflip")), 1500)
    areas, ratios = crops(found)
    assert 0.075 < areas.min() < 0.12
    assert areas.max() > 0.85
    assert 0.7 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.4
    jitter = [dict(op.drawn["parts"]) for op in drawn(found, "color_jitter")]
    assert len(jitter) == 1500
    for part in ("brightness", "contrast", "saturation"):
        uniform([one[part] for one in jitter], 0.5, 1.5)
    uniform([one["hue_deg"] for one in jitter], -180, 180)


def test_ssdlite_is_ssd_without_colour_and_zoom():
    assert [step.do for step in policy("ssdlite").steps] == ["iou_crop", "hflip"]
    found = plans("ssdlite", 1500)
    half(len(drawn(found, "hflip")), 1500)
    assert 0 < len(drawn(found, "iou_crop")) < 1500
    assert not any(isinstance(op, PixelOp) for plan in found for op in plan.ops)


def test_ssd_draws_the_same_as_ever_where_steps_are_shared():
    """A step's draws hang on its id alone."""
    for first, second in zip(plans("ssd", 40), plans("flip", 40), strict=True):
        assert [op.step for op in first.ops if op.step == "hflip"] == [op.step for op in second.ops]


def test_yolo():
    found = plans("yolo", 600)
    assert all(isinstance(plan.start, Mix) and plan.start.do == "mosaic" for plan in found)
    assert {len(plan.start.parts) for plan in found} == {4}
    half(len(drawn(found, "hflip")), 600)
    warps = drawn(found, "affine")
    scales = np.array([warp.matrix[0] for warp in warps])
    uniform(scales, 0.5, 1.5)
    assert all(warp.matrix[1] == warp.matrix[3] == 0 and warp.matrix[4] == warp.matrix[0] for warp in warps)
    # Half a canvas of 1280 moves by (1 - scale) * 640 when it is scaled about its middle; the rest is the shift, 10 % of 640.
    shifts = np.array([(warp.matrix[2], warp.matrix[5]) for warp in warps]) - 640 * (1 - scales[:, None])
    uniform(shifts[:, 0], -64, 64)
    uniform(shifts[:, 1], -64, 64)
    colour = [op.drawn for op in drawn(found, "hsv")]
    uniform([one["hue_deg"] for one in colour], -0.015 * 360, 0.015 * 360)
    uniform([one["saturation"] for one in colour], 0.3, 1.7)
    uniform([one["value"] for one in colour], 0.6, 1.4)
    result = policy("yolo")(POOL.original(0), key=(0, 0, 0), pool=POOL)
    assert result.image.shape == (640, 640, 3)


def test_imagenet():
    found = plans("imagenet", 800)
    half(len(drawn(found, "hflip")), 800)
    areas, ratios = crops(found)
    assert 0.075 < areas.min() < 0.13
    assert ratios.min() > 0.7
    assert ratios.max() < 1.4
    assert all(op.width == op.height == 224 for op in drawn(found, "resize"))
    jitter = [dict(op.drawn["parts"]) for op in drawn(found, "color_jitter")]
    for part in ("brightness", "contrast", "saturation"):
        uniform([one[part] for one in jitter], 0.6, 1.4)
    assert not any("hue_deg" in one for one in jitter)
    alphas = np.array([op.drawn["alphas"] for op in drawn(found, "pca_lighting")])
    assert abs(alphas.std() / 0.1 - 1) < 4 / math.sqrt(2 * alphas.size)
    assert policy("imagenet")(POOL.original(2)).image.shape == (224, 224, 3)


def test_trivialaugment():
    found = plans("trivialaugment", 800)
    counts = [sum(op.step.startswith("trivialaugment/") for op in plan.ops) for plan in found]
    assert set(counts) == {0, 1}
    assert abs(counts.count(0) - 800 / 14) < 4 * math.sqrt(800 / 14)
    shifts = {abs(op.matrix[2]) for op in drawn(found, "trivialaugment/translate_x") if isinstance(op, Warp)}
    assert max(shifts) <= 32
    assert policy("trivialaugment")(POOL.original(2)).image.shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("turn", "saturation", "value"), [(5.0, 1.6, 1.3), (-5.4, 0.3, 0.6), (0.0, 1.0, 1.4), (3, 1, 1)]
)
def test_hsv_as_colorsys(turn, saturation, value):
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    ours = Hsv().apply(image.copy(), {"hue_deg": turn, "saturation": saturation, "value": value})
    expected = np.empty(image.shape)
    for index in np.ndindex(image.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(image[index] / 255))
        expected[index] = colorsys.hsv_to_rgb((h + turn / 360) % 1, min(1, s * saturation), min(1, v * value))
    assert np.abs(ours - expected * 255).max() <= 1
