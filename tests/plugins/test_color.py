"""The colour transforms against torchvision and the standard library's colorsys."""

import colorsys

import numpy as np
import pytest

from augsuite import config
from augsuite.errors import ConfigError
from augsuite_color import jitter, ops
from augsuite_color.photometric import Photometric


@pytest.fixture(scope="module")
def image():
    """Every hue, saturation and value there is, near enough, with greys, black and white."""
    levels = np.array([0, 1, 17, 60, 100, 128, 129, 200, 254, 255], np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(40, 25, 3)
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return np.concatenate([grid, noise], axis=1)


def torchvision_result(name, image, value):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    return getattr(functional, name)(tensor, value).permute(1, 2, 0).numpy()


def levels_apart(first, second):
    return int(np.abs(first.astype(int) - second.astype(int)).max())


@pytest.mark.parametrize("factor", [0.0, 0.37, 0.9, 1.0, 1.6])
@pytest.mark.parametrize("part", ["brightness", "contrast", "saturation"])
def test_factors_as_torchvision(image, part, factor):
    transform = getattr(jitter, part.capitalize())()
    ours = transform.apply(image.copy(), {part: factor})
    theirs = torchvision_result(f"adjust_{part}", image, factor)
    assert ours.dtype == np.uint8
    assert levels_apart(ours, theirs) <= (2 if part == "saturation" else 1)


@pytest.mark.parametrize("turn", [-180.0, -90.0, -18.0, -1.0, 0.5, 7.3, 60.0, 179.0])
def test_hue_as_colorsys(image, turn):
    ours = jitter.Hue().apply(image.copy(), {"hue_deg": turn})
    expected = np.empty(image.shape)
    for index in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[index] / 255))
        expected[index] = colorsys.hsv_to_rgb((hue + turn / 360) % 1, saturation, value)
    assert np.abs(ours - expected * 255).max() <= 1


@pytest.mark.parametrize("turn", [-30.0, -29.9, -11.3, 0.01, 18.0, 30.0])
def test_small_turns_of_hue_are_exact_values_rounded(image, turn):
    ours = ops.turn_hsv(image.copy(), hue_deg=turn)
    expected = np.empty(image.shape)
    for index in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[index] / 255))
        expected[index] = colorsys.hsv_to_rgb((hue + turn / 360) % 1, saturation, value)
    assert np.abs(ours - expected * 255).max() <= 0.5 + 1e-6


def test_hue_as_torchvision(image):
    theirs = torchvision_result("adjust_hue", image, 0.05)
    assert levels_apart(jitter.Hue().apply(image.copy(), {"hue_deg": 18.0}), theirs) <= 2


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.5, 4.0])
def test_hsv_saturation_as_colorsys(image, factor):
    ours = Photometric().apply(image.copy(), {"saturation": factor})
    expected = np.empty(image.shape)
    for index in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[index] / 255))
        expected[index] = colorsys.hsv_to_rgb(hue, min(1, saturation * factor), value)
    assert np.abs(ours - expected * 255).max() <= 1


def test_turn_is_the_same_in_strips_and_whole():
    wide = np.random.default_rng(1).integers(0, 256, (90, 701, 3), dtype=np.uint8)
    whole = ops.turn_hsv(wide, 1.3, 12.0)
    rows = np.concatenate([ops.turn_hsv(row[None], 1.3, 12.0) for row in wide])
    assert levels_apart(whole, rows) <= 1  # vector and scalar code of OpenCV round differently


def test_photometric_order_by_hand():
    pixel = np.array([[[100, 40, 200]]], np.uint8)
    first = Photometric().apply(pixel.copy(), {"brightness": 30.0, "contrast": 1.5, "contrast_last": False})
    assert first.tolist() == [[[195, 105, 255]]]  # (100 + 30) * 1.5, (40 + 30) * 1.5, (200 + 30) * 1.5 cut at 255
    # Pure blue keeps hue and saturation: value 200 + 55 = 255, halved last to 127.5, which rounds to even.
    blue = np.array([[[0, 0, 200]]], np.uint8)
    drawn = {"brightness": 55.0, "saturation": 1.5, "contrast": 0.5, "contrast_last": True}
    # Brightness first: (55, 55, 255), S = 200/255; times 1.5 is cut at 1: (0, 0, 255); then half.
    assert Photometric().apply(blue.copy(), drawn).tolist() == [[[0, 0, 128]]]


@pytest.mark.parametrize(
    ("factor", "shift"), [(0.0, 0.0), (0.37, 0.0), (1.61, 0.0), (1.0, -31.6), (0.6, 47.3), (1.4, -51.2)]
)
def test_a_line_is_what_its_table_is(factor, shift):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    found = ops.scale_shift(levels, factor, shift)
    assert found.dtype == np.uint8
    assert np.array_equal(found, np.clip(np.rint(factor * levels.astype(float) + shift), 0, 255))


def test_tables_compose_exactly(image):
    first, second = ops.shift_table(-31.6), ops.blend_table(1.37)
    twice = ops.apply_table(ops.apply_table(image, first), second)
    assert np.array_equal(ops.apply_table(image, ops.compose(first, second)), twice)


def test_color_jitter_does_its_parts_in_the_order_drawn(image):
    parts = [["contrast", 1.4], ["brightness", 0.7], ["hue_deg", 10.0], ["saturation", 0.5]]
    ours = jitter.ColorJitter().apply(image.copy(), {"parts": parts})
    theirs = image
    for name, value in parts:
        scale = 1 / 360 if name == "hue_deg" else 1
        theirs = torchvision_result(f"adjust_{name.removesuffix('_deg')}", theirs, value * scale)
    assert np.abs(ours.astype(int) - theirs).mean() < 1.5
    swapped = jitter.ColorJitter().apply(image.copy(), {"parts": parts[::-1]})
    assert levels_apart(ours, swapped) > 5


def test_photometric_draws_within_its_ranges_and_each_part_half_of_the_time():
    transform = Photometric()
    drawn = [transform.draw(np.random.default_rng(seed), None) or {} for seed in range(2000)]
    for name, low, high in (
        ("brightness", -32, 32),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue_deg", -18, 18),
    ):
        values = [one[name] for one in drawn if name in one]
        assert 900 < len(values) < 1100  # 1000 expected, standard deviation 22
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
    last = [one["contrast_last"] for one in drawn if "contrast" in one]
    assert 0.4 < np.mean(last) < 0.6
    assert 2000 / 16 * 0.6 < drawn.count({}) < 2000 / 16 * 1.4


def test_color_jitter_draws_every_order():
    orders = {
        tuple(name for name, _ in jitter.ColorJitter().draw(np.random.default_rng(seed), None)["parts"])
        for seed in range(500)
    }
    assert len(orders) == 24


def test_color_jitter_that_can_change_nothing_draws_nothing():
    still = jitter.ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=(1, 1), hue_deg=(0, 0))
    assert still.draw(np.random.default_rng(0), None) is None


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (Photometric, {"contrast": [1.5, 0.5]}, "low, high"),
        (Photometric, {"hue_deg": 200}, "hue_deg"),
        (Photometric, {"brightnes": 3}, "Did you mean 'brightness'?"),
        (jitter.ColorJitter, {"saturation": [-1, 1]}, "saturation"),
        (jitter.Hue, {"hue_deg": [-270, 0]}, "hue_deg"),
    ],
)
def test_bad_parameters_are_one_line(kind, values, said):
    with pytest.raises(ConfigError, match=said) as caught:
        config.build(kind, values, "p.yaml: steps[0]", "parameter")
    assert "\n" not in str(caught.value)
