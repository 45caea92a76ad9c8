"""Adding seeds until the answer is clear: the error rate of whoever looks after every seed, and when more seeds are asked for."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, stats

from augsuite.study.effects import measure
from augsuite.study.sequential import SPREAD, critical, evidence, next_seeds


@pytest.mark.parametrize(("t", "count"), [(0.0, 3), (1.3, 3), (4.0, 5), (-2.0, 12), (9.0, 4), (2.1, 40)])
def test_evidence_is_a_ratio_of_likelihoods(t, count):
    # The density of t under an effect drawn from N(0, SPREAD) in units of sd, integrated numerically, over that without effect.
    def under(delta):
        return stats.nct.pdf(t, count - 1, delta * math.sqrt(count)) * stats.norm.pdf(delta, scale=math.sqrt(SPREAD))

    near = t / math.sqrt(count)
    mixed = integrate.quad(under, near - 12, near + 12, points=[near], limit=400)[0]
    assert evidence(t, count) == pytest.approx(mixed / stats.t.pdf(t, count - 1), rel=1e-4)


@pytest.mark.parametrize("count", [3, 4, 7, 30])
@pytest.mark.parametrize("level", [0.05, 0.0125])
def test_critical_is_where_the_evidence_suffices(count, level):
    t = critical(count, level)
    if math.isinf(t):
        assert evidence(1e9, count) < 1 / level
    else:
        assert evidence(t * 1.0001, count) > 1 / level > evidence(t * 0.9999, count)


def test_evidence_of_a_huge_t_is_a_number():
    assert math.isfinite(evidence(1e300, 50))


@pytest.mark.parametrize("spread", [0.01, 1.0, 700.0])
def test_looking_after_every_seed_is_wrong_in_at_most_one_study_of_twenty(spread):
    # 4,000 studies without an effect, each looked at after every seed from 3 to 60 and claimed if ever it says so.
    rng = np.random.default_rng(17)
    values = rng.normal(0, spread, (4_000, 60))
    counts = np.arange(1, 61)
    means = values.cumsum(1) / counts
    variances = ((values**2).cumsum(1) - counts * means**2)[:, 2:] / (counts[2:] - 1)
    t = means[:, 2:] / np.sqrt(variances / counts[2:])
    wrong = (np.abs(t) >= [critical(int(count), 0.05) for count in counts[2:]]).any(1).sum()
    assert wrong > 0
    assert stats.binomtest(int(wrong), 4_000, 0.05, alternative="greater").pvalue > 0.01
    # The same with the fixed test, so that the simulation can tell the two apart.
    naive = (np.abs(t) >= stats.t.ppf(0.975, counts[2:] - 1)).any(1).sum()
    assert naive > 0.15 * 4_000


def study(values, most_asked=None):
    """A summary, as far as `next_seeds` looks at one."""
    effects = {effect.arm: effect for effect in measure({"AP": values}, "none", sequential=True)}
    runs = [SimpleNamespace(arm=arm, seed=seed) for arm in values for seed in (most_asked or values)[arm]]
    state = SimpleNamespace(arms=dict.fromkeys(values), runs=runs, reference="none")
    return SimpleNamespace(state=state, arms=[SimpleNamespace(arm=arm, effect=effects.get(arm)) for arm in values])


def test_seeds_go_where_the_interval_is_wide():
    reference = {seed: 30.0 + seed for seed in range(6)}
    values = {
        "none": reference,
        "clear": {s: v + 5 + 0.1 * (-1) ** s for s, v in reference.items()},
        "narrow": {s: v + 0.05 * (-1) ** s for s, v in reference.items()},
        "wide": {s: v + 2 * (-1) ** s for s, v in reference.items()},
        "same": reference,
    }
    # Half of the six seeds at once.
    assert next_seeds(study(values), 0.5) == {"wide": [6, 7, 8], "none": [6, 7, 8]}
    assert next_seeds(study(values), 0.5, most=7) == {"wide": [6], "none": [6]}
    assert next_seeds(study(values), 0.5, most=6) == {}
    assert next_seeds(study(values), 100.0) == {}


def test_an_arm_takes_the_seeds_of_others_first():
    reference = {0: 30.0, 1: 31.0, 2: 33.0, 7: 28.0}
    values = {
        "none": reference,
        "ahead": {0: 36.0, 1: 29.0, 2: 36.0, 7: 21.0},
        "behind": {0: 36.0, 1: 29.0, 2: 36.0},
    }
    assert next_seeds(study(values), 0.5) == {"ahead": [8, 9], "behind": [7], "none": [8, 9]}


def test_failed_runs_do_not_ask_for_ever():
    values = {"none": {0: 30.0, 1: 31.0, 2: 33.0}, "arm": {0: 30.5}}
    asked = {"none": [0, 1, 2], "arm": [0, 1, 2]}
    assert next_seeds(study(values, asked), 0.5, most=3) == {}
    assert next_seeds(study(values, asked), 0.5, most=4) == {"arm": [3], "none": [3]}


def test_two_seeds_are_too_few_to_say_anything():
    (effect,) = measure({"AP": {"none": {0: 1.0, 1: 2.0}, "a": {0: 9.0, 1: 10.1}}}, "none", sequential=True)
    assert (effect.verdict, effect.low, effect.p) == ("too few seeds", None, None)


def simulated(rng, effect, arms):
    """One study run until ± 0.5 on drawn numbers; which arms it claims, and its intervals at the end."""
    drawn = {"none": {}, **{f"arm{number}": {} for number in range(arms)}}
    more = {name: [0, 1, 2] for name in drawn}
    shared = rng.normal(30, 3, 100)
    while more:
        for name, seeds in more.items():
            for seed in seeds:
                drawn[name][seed] = shared[seed] + rng.normal(effect if name == "arm0" else 0.0, 0.6)
        summary = study(drawn)
        more = next_seeds(summary, 0.5, most=20)
    return {arm.arm: arm.effect for arm in summary.arms if arm.effect is not None}


def test_whole_studies_run_until_the_interval_is_narrow():
    rng = np.random.default_rng(5)
    nothing = [simulated(rng, 0.0, 2) for _ in range(150)]
    wrong = sum(any(e.verdict in {"helps", "hurts"} for e in effects.values()) for effects in nothing)
    assert stats.binomtest(wrong, 150, 0.05, alternative="greater").pvalue > 0.01
    missed = sum(not e.low <= 0 <= e.high for effects in nothing for e in effects.values())
    assert stats.binomtest(missed, 300, 0.05, alternative="greater").pvalue > 0.01
    large = [simulated(rng, 4.0, 1)["arm0"] for _ in range(20)]
    assert all(effect.verdict == "helps" for effect in large)
    assert np.median([len(effect.seeds) for effect in large]) < 10  # it stops where the answer is clear
