"""Seeds and images both drawn: coverage by simulation, Student's interval as the limit, and image by image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from augsuite.study.bootstrap import joint


def weighted(values):
    """A metric that is a mean over images."""
    return lambda times: float(values @ times / times.sum())


def drawn(rng, seeds, images, effect=0.0, by_image=1.0, by_seed=0.2, by_both=0.5):
    """Two arms on a population of images: what the arm does differs from image to image, from seed to seed, and in both."""
    base = rng.normal(0, 5, images)
    gain = effect + rng.normal(0, by_image, images)
    runs = {"none": {}, "arm": {}}
    for seed in range(seeds):
        noise = rng.normal(0, 3) + base
        runs["none"][seed] = weighted(50 + noise + rng.normal(0, by_both, images) * 0.7)
        runs["arm"][seed] = weighted(50 + noise + gain + rng.normal(0, by_seed) + rng.normal(0, by_both, images) * 0.7)
    return runs


def test_with_many_images_it_is_students_interval():
    rng = np.random.default_rng(3)
    runs = drawn(rng, 4, 20_000, effect=1.0, by_image=0.01, by_both=0.01)
    (effect,) = joint(runs, "none", "AP", 20_000, draws=60)
    judged = stats.ttest_1samp(effect.differences, 0.0)
    interval = judged.confidence_interval(0.95)
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high), abs=0.002)
    assert effect.p == pytest.approx(judged.pvalue, rel=0.02)


def test_with_one_answer_of_all_seeds_it_is_the_bootstrap_of_images():
    # Differences of seeds that are as good as equal: what is left is the standard error of a mean over 400 images.
    rng = np.random.default_rng(5)
    runs = drawn(rng, 12, 400, by_image=2.0, by_seed=1e-4, by_both=1e-4)
    (effect,) = joint(runs, "none", "AP", 400, draws=2_000)
    gains = [runs["arm"][0](row) - runs["none"][0](row) for row in np.eye(400, dtype=int)]
    assert (effect.high - effect.low) / 2 == pytest.approx(1.96 * np.std(gains, ddof=1) / 20, rel=0.06)


@pytest.mark.parametrize("seeds", [3, 6])
def test_intervals_cover_the_effect_on_all_images(seeds):
    # 200 studies on 60 images each, of a population on which the arm does nothing: at least 95 % hold 0, Student's alone do not.
    rng = np.random.default_rng(seeds)
    covered = claimed = alone = 0
    for number in range(200):
        (effect,) = joint(drawn(rng, seeds, 60, by_image=3.0), "none", "AP", 60, draws=100, seed=number)
        covered += effect.low <= 0 <= effect.high
        claimed += effect.verdict in {"helps", "hurts"}
        alone += stats.ttest_1samp(effect.differences, 0.0).pvalue >= 0.05
    assert stats.binomtest(covered, 200, 0.95, alternative="less").pvalue > 0.01
    assert claimed == 200 - covered
    assert alone < covered - 20


def test_correction_and_verdicts():
    rng = np.random.default_rng(8)
    runs = drawn(rng, 5, 300, effect=4.0, by_image=1.0)
    runs["same"] = runs["none"]
    found = {effect.arm: effect for effect in joint(runs, "none", "AP", 300, draws=50)}
    assert found["arm"].verdict == "helps"
    assert found["same"].verdict == "identical"
    assert found["arm"].images == 300
    (one,) = joint({arm: {0: runs[arm][0]} for arm in ("none", "arm")}, "none", "AP", 300, draws=5)
    assert (one.verdict, one.low) == ("too few seeds", None)
