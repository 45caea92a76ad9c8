"""What a number of seeds can show: published tables, another library, simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from augsuite.study.power import detectable, seeds_for, student


@pytest.mark.parametrize(("seeds", "level"), [(2, 0.05), (3, 0.05), (3, 0.0125), (5, 0.05), (5, 0.00125), (20, 0.01)])
def test_detectable_by_simulation(seeds, level):
    # Draw studies whose true effect is the one returned: four in five of them must show it.
    effect = detectable(1.5, seeds, student(seeds, level))
    rng = np.random.default_rng(3)
    judged = stats.ttest_1samp(rng.normal(effect, 1.5, (100_000, seeds)), 0.0, axis=1)
    assert np.mean(judged.pvalue < level) == pytest.approx(0.8, abs=0.006)


def test_published():
    # Cohen's tables, as G*Power 3.1 gives them: dz = 0.5 needs 34 pairs for 80 % at 5 % two-sided; 33 do not suffice.
    assert detectable(1.0, 34, student(34)) < 0.5 < detectable(1.0, 33, student(33))
    assert seeds_for(0.5, 1.0) == 34


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("level", [0.05, 0.0125])
def test_seeds_agree_with_statsmodels(ratio, level):
    power = pytest.importorskip("statsmodels.stats.power").TTestPower()
    seeds = seeds_for(3 * ratio, 3.0, level)
    assert seeds is not None
    assert power.power(ratio, seeds, level) >= 0.8
    assert seeds == 2 or power.power(ratio, seeds - 1, level) < 0.8


def test_what_no_number_of_seeds_shows():
    assert seeds_for(1e-6, 1.0) is None
    assert detectable(1.0, 3, math.inf) == math.inf


@pytest.mark.parametrize(("seeds", "critical"), [(2, 900.0), (2, 1100.0), (2, 28_520.0), (3, 5000.0)])
def test_power_where_thousands_of_comparisons_ask_for_a_huge_t(seeds, critical):
    """P(T > critical) integrated over the standard deviation that is estimated: T = (Z + shift) / V, V² a chi square over its freedom."""
    shift = detectable(1.0, seeds, critical) * math.sqrt(seeds)

    def beyond(share):
        estimated = math.sqrt(stats.chi2.ppf(share, seeds - 1) / (seeds - 1))
        return stats.norm.sf(critical * estimated - shift)

    power, _ = integrate.quad(beyond, 0, 1, limit=300, points=[0.7, 0.79, 0.799, 0.8, 0.801, 0.81, 0.9])
    assert power == pytest.approx(0.8, abs=1e-4)
