"""Levels, detail and erasing: Pillow, torchvision, and sums by hand as judges."""

import io
import math

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest

from augsuite import config
from augsuite.augment import Scene, policy
from augsuite.dataset import Sample
from augsuite.errors import ConfigError
from augsuite_color import detail, erase, levels


@pytest.fixture(scope="module")
def image():
    """A smooth picture, whose channels miss the lowest and highest values, with noise beside it and a flat patch."""
    y, x = np.mgrid[:60, :80].astype(float)
    smooth = np.stack([90 + 60 * np.sin(x / 9), 120 + 50 * np.cos(y / 7), 100 + 40 * np.sin((x + y) / 5)], axis=2)
    noise = np.random.default_rng(0).integers(20, 231, (60, 30, 3))
    flat = np.full((60, 10, 3), (7, 250, 128))
    return np.concatenate([np.rint(smooth), noise, flat], axis=1).astype(np.uint8)


def torchvision_result(name, image, *args, **kwargs):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    return getattr(functional, name)(tensor, *args, **kwargs).permute(1, 2, 0).numpy()


def levels_apart(first, second):
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second)).max())


def pillow(image):
    return PIL.Image.fromarray(image)


class TestLevels:
    @pytest.mark.parametrize("bits", range(1, 9))
    def test_posterize(self, image, bits):
        ours = levels.Posterize().apply(image.copy(), {"bits": bits})
        np.testing.assert_array_equal(ours, PIL.ImageOps.posterize(pillow(image), bits))
        np.testing.assert_array_equal(ours, torchvision_result("posterize", image, bits))

    @pytest.mark.parametrize("threshold", [0, 1, 100, 128, 255, 256])
    def test_solarize(self, image, threshold):
        ours = levels.Solarize().apply(image.copy(), {"threshold": threshold})
        np.testing.assert_array_equal(ours, PIL.ImageOps.solarize(pillow(image), threshold))
        if threshold < 256:  # which it refuses
            np.testing.assert_array_equal(ours, torchvision_result("solarize", image, threshold))

    @pytest.mark.parametrize("part", [np.s_[:], np.s_[:, -10:], np.s_[:1, :1], np.s_[:3, :5], np.s_[:, :80]])
    def test_autocontrast_and_equalize(self, image, part):
        image = np.ascontiguousarray(image[part])
        stretched = levels.Autocontrast().apply(image.copy(), {})
        np.testing.assert_array_equal(stretched, PIL.ImageOps.autocontrast(pillow(image)))
        assert levels_apart(stretched, torchvision_result("autocontrast", image)) <= 1
        evened = levels.Equalize().apply(image.copy(), {})
        np.testing.assert_array_equal(evened, PIL.ImageOps.equalize(pillow(image)))
        np.testing.assert_array_equal(evened, torchvision_result("equalize", image))

    @pytest.mark.parametrize("gamma", [0.3, 0.7, 1.0, 1.4, 3.0])
    def test_gamma(self, image, gamma):
        ours = levels.Gamma().apply(image.copy(), {"gamma": gamma})
        assert levels_apart(ours, torchvision_result("adjust_gamma", image, gamma)) <= 1
        assert np.abs(ours - 255 * (image / 255.0) ** gamma).max() <= 0.5

    def test_grayscale(self, image):
        ours = levels.Grayscale().apply(image.copy(), {})
        assert levels_apart(ours, np.asarray(pillow(image).convert("L"))[..., None]) <= 1
        assert levels_apart(ours, torchvision_result("rgb_to_grayscale", image, 3)) <= 1

    def test_pca_lighting_by_hand(self):
        # The first component alone, its factor 0.1: 255 * 0.1 * 0.2175 * (-0.5675, -0.5808, -0.5836) = -3.148, -3.221, -3.237;
        # the second, 0.5: 255 * 0.5 * 0.0188 * (0.7192, -0.0045, -0.6948) = 1.724, -0.011, -1.665.
        pixel = np.array([[[100, 2, 250]]], np.uint8)
        assert levels.PcaLighting().apply(pixel.copy(), {"alphas": [0.1, 0.5, 0.0]}).tolist() == [[[99, 0, 245]]]

    def test_pca_lighting_draws_normal_factors(self):
        drawn = [levels.PcaLighting(std=0.2).draw(np.random.default_rng(seed), None)["alphas"] for seed in range(2000)]
        assert np.abs(np.mean(drawn, axis=0)).max() < 4 * 0.2 / math.sqrt(2000)
        assert np.abs(np.std(drawn, axis=0) / 0.2 - 1).max() < 4 / math.sqrt(2 * 2000)

    def test_draws_stay_in_their_ranges_and_reach_the_ends(self):
        random = np.random.default_rng(0)
        bits = {levels.Posterize(bits=(3, 5)).draw(random, None)["bits"] for _ in range(200)}
        assert bits == {3, 4, 5}
        thresholds = {levels.Solarize(threshold=(7, 9)).draw(random, None)["threshold"] for _ in range(200)}
        assert thresholds == {7, 8, 9}
        logs = np.log([levels.Gamma(gamma=(0.5, 2.0)).draw(random, None)["gamma"] for _ in range(2000)])
        assert np.abs(logs).max() <= math.log(2)
        assert abs(logs.mean()) < 4 * (2 * math.log(2) / math.sqrt(12)) / math.sqrt(2000)


class TestDetail:
    @pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.9, 5.0])
    def test_sharpness(self, image, factor):
        ours = detail.Sharpness().apply(image.copy(), {"factor": factor})
        # The smooth version is rounded first, and its error of half a level is multiplied by 1 - factor.
        room = 1 + math.ceil(abs(1 - factor) / 2)
        assert levels_apart(ours, PIL.ImageEnhance.Sharpness(pillow(image)).enhance(factor)) <= room
        assert levels_apart(ours, torchvision_result("adjust_sharpness", image, factor)) <= room

    def test_sharpness_leaves_a_narrow_image(self, image):
        for part in (np.s_[:2], np.s_[:, :1]):
            narrow = np.ascontiguousarray(image[part])
            np.testing.assert_array_equal(detail.Sharpness().apply(narrow.copy(), {"factor": 0.0}), narrow)

    @pytest.mark.parametrize("sigma", [0.1, 0.5, 1.3, 2.0, 4.0])
    def test_blur(self, image, sigma):
        side = 2 * max(1, math.ceil(3 * sigma)) + 1
        theirs = torchvision_result("gaussian_blur", image, [side, side], [sigma, sigma])
        assert levels_apart(detail.Blur().apply(image.copy(), {"sigma": sigma}), theirs) <= 1

    def test_noise_is_normal(self):
        grey = np.full((300, 400, 3), 128, np.uint8)
        noise = detail.GaussianNoise().apply(grey, {"std": 10.0, "seed": 5}).astype(float) - 128
        count = noise.size
        assert abs(noise.mean()) < 4 * 10 / math.sqrt(count)
        # Rounding to whole levels adds a variance of 1/12.
        assert abs(noise.var() / (100 + 1 / 12) - 1) < 4 * math.sqrt(2 / count)
        for threshold in (5, 15, 25):
            share = np.mean(np.abs(noise) > threshold)
            expected = math.erfc((threshold + 0.5) / 10 / math.sqrt(2))
            assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / count)
        assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 4 / math.sqrt(count)
        assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 4 / math.sqrt(count / 3)

    def test_noise_is_cut_at_the_ends_and_depends_on_its_seed(self):
        black = np.zeros((20, 20, 3), np.uint8)
        values = detail.GaussianNoise().apply(black.copy(), {"std": 3.0, "seed": 1})
        assert values.max() < 20
        assert 0.4 < np.mean(values == 0) < 0.7
        assert not np.array_equal(values, detail.GaussianNoise().apply(black.copy(), {"std": 3.0, "seed": 2}))

    @pytest.mark.parametrize("quality", [10, 50, 90])
    def test_jpeg(self, image, quality):
        stream = io.BytesIO()
        pillow(image).save(stream, "jpeg", quality=quality)
        theirs = np.asarray(PIL.Image.open(stream))
        ours = detail.JpegQuality().apply(image.copy(), {"quality": quality})
        # Two builds of libjpeg-turbo round the last step apart; a wrong channel order or quality would be tens of levels.
        assert levels_apart(ours, theirs) <= 2


class TestErasing:
    def scene(self, width=200, height=100):
        return Scene(width, height, np.zeros((0, 4)))

    def test_random_erasing_draws_what_the_paper_says(self):
        drawn = [erase.RandomErasing().draw(np.random.default_rng(seed), self.scene()) for seed in range(3000)]
        (rects,) = zip(*(one.rects for one in drawn if one), strict=True)
        left, top, right, bottom = np.array(rects).T
        assert (left >= 0).all()
        assert (top >= 0).all()
        assert (right <= 200).all()
        assert (bottom <= 100).all()
        width, height = right - left, bottom - top
        areas, ratios = width * height / 20_000, height / width
        assert 0.018 < areas.min() < 0.03
        assert 0.3 < areas.max() < 0.41
        assert ratios.min() > 0.28
        assert ratios.max() < 3.5
        assert len(rects) > 2900
        # Every place that fits is as likely.
        places = left / (200 - width)
        assert abs(places.mean() - 0.5) < 4 / math.sqrt(12 * len(rects)) + 0.01

    def test_random_erasing_as_torchvision(self):
        torch = pytest.importorskip("torch")
        transforms = pytest.importorskip("torchvision.transforms.v2")
        theirs = transforms.RandomErasing(scale=(0.02, 0.33), ratio=(0.3, 3.3))
        flat = torch.zeros(3, 100, 200)
        torch.manual_seed(0)
        sizes = np.array([theirs.make_params([flat])[key] for _ in range(2000) for key in ("h", "w")]).reshape(-1, 2)
        ours = erase.RandomErasing(area_frac=(0.02, 0.33))
        found = [ours.draw(np.random.default_rng(seed), self.scene()).rects[0] for seed in range(2000)]
        own = np.array([[bottom - top, right - left] for left, top, right, bottom in found])
        for side in range(2):  # means of the same distribution: their difference is within 4 standard errors
            spread = math.sqrt(own[:, side].var() / 2000 + sizes[:, side].var() / 2000)
            assert abs(own[:, side].mean() - sizes[:, side].mean()) < 4 * spread

    def test_cutout_is_a_square_about_a_pixel_of_the_image(self):
        rects = [
            erase.Cutout(size_frac=0.4).draw(np.random.default_rng(seed), self.scene()).rects[0] for seed in range(3000)
        ]
        left, top, right, bottom = np.array(rects).T
        assert set(right - left) == set(bottom - top) == {40}
        centers = np.stack([left + 20, top + 20], axis=1)
        assert centers.min(axis=0).tolist() == [0, 0]
        assert centers.max(axis=0).tolist() == [199, 99]

    def test_coarse_dropout_stays_inside(self):
        transform = erase.CoarseDropout(holes=(2, 4), height_frac=(0.1, 0.2), width_frac=(0.3, 0.4))
        counts = set()
        for seed in range(500):
            rects = transform.draw(np.random.default_rng(seed), self.scene()).rects
            counts.add(len(rects))
            left, top, right, bottom = np.array(rects).T
            assert left.min() >= 0
            assert top.min() >= 0
            assert right.max() <= 200
            assert bottom.max() <= 100
            assert set(bottom - top) <= set(range(10, 21))
            assert set(right - left) <= set(range(60, 81))
        assert counts == {2, 3, 4}

    def test_a_box_is_judged_by_what_is_left_of_it(self):
        # One hole over the whole width, 100 of 100 pixels high: nothing is left of any box.
        gone = policy([{"do": "coarse_dropout", "holes": [1, 1], "height_frac": [1, 1], "width_frac": [1, 1]}])
        sample = Sample.of(np.full((100, 200, 3), 9, np.uint8), [[10, 10, 60, 40]], [0])
        result = gone(sample)
        assert len(result.boxes) == 0
        assert result.image.max() == 0


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (levels.Posterize, {"bits": [7, 4]}, "low, high"),
        (levels.Posterize, {"bits": [0, 4]}, "bits"),
        (levels.Gamma, {"gamma": [0, 1]}, "gamma"),
        (detail.JpegQuality, {"quality": [50, 101]}, "quality"),
        (detail.Blur, {"sigma": [-1, 1]}, "sigma"),
        (erase.RandomErasing, {"area_frac": [0.5, 0.1]}, "low, high"),
        (erase.CoarseDropout, {"hole": [1, 2]}, "Did you mean 'holes'?"),
    ],
)
def test_bad_parameters_are_one_line(kind, values, said):
    with pytest.raises(ConfigError, match=said) as caught:
        config.build(kind, values, "p.yaml: steps[0]", "parameter")
    assert "\n" not in str(caught.value)
