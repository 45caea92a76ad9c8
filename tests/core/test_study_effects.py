"""The statistics against sums by hand, scipy's own test, published examples and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from augsuite.study.effects import contrast, correct, describe, holm, mean_of, measure, pair, sd_of, unpaired


def test_pair_by_hand():
    # Differences 1, 2, 3: mean 2, sd 1, standard error 1 / sqrt(3); t(0.975, 2) = 4.3027 from a printed table.
    effect = pair({0: 11.0, 1: 22.0, 2: 33.0}, {0: 10.0, 1: 20.0, 2: 30.0})
    assert effect is not None
    assert effect.mean == 2.0
    assert effect.sd == 1.0
    assert effect.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert effect.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)
    assert effect.differences == (1.0, 2.0, 3.0)


def test_pair_student_sleep_data():
    # Student 1908: hours of sleep gained by ten patients with each of two drugs; t = 4.0621, p = 0.002833 (R's `sleep`).
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    effect = pair(dict(enumerate(second)), dict(enumerate(first)))
    assert effect is not None
    assert effect.mean == pytest.approx(1.58)
    assert effect.p == pytest.approx(0.002833, abs=5e-7)
    assert effect.low == pytest.approx(0.7001142, abs=5e-8)
    assert effect.high == pytest.approx(2.4598858, abs=5e-8)


@given(
    st.lists(
        st.tuples(st.floats(-100, 100).map(lambda x: round(x, 3)), st.floats(-100, 100).map(lambda x: round(x, 3))),
        min_size=2,
        max_size=12,
    )
)
def test_pair_agrees_with_scipy(rows):
    arm, reference = np.array(rows).T
    differences = arm - reference
    if differences.std(ddof=1) < 1e-4:
        return
    effect = pair(dict(enumerate(arm)), dict(enumerate(reference)), scale=100.0)
    judged = stats.ttest_rel(arm, reference)
    interval = judged.confidence_interval(0.95)
    assert effect is not None
    assert effect.p == pytest.approx(judged.pvalue, rel=1e-6, abs=1e-12)
    assert effect.low == pytest.approx(interval.low, rel=1e-6, abs=1e-9)
    assert effect.high == pytest.approx(interval.high, rel=1e-6, abs=1e-9)


def test_pair_uses_the_seeds_that_both_have():
    effect = pair({0: 1.0, 1: 5.0, 3: math.nan, 4: 9.0}, {1: 2.0, 2: 7.0, 3: 1.0, 4: 4.0})
    assert effect is not None
    assert effect.seeds == (1, 4)
    assert effect.differences == (3.0, 5.0)
    assert pair({0: 1.0}, {1: 1.0}) is None


def test_one_seed_gives_no_interval():
    effect = pair({0: 3.0}, {0: 1.0})
    assert effect is not None
    assert (effect.mean, effect.low, effect.high, effect.p, effect.verdict) == (2.0, None, None, None, "too few seeds")


def test_equal_runs_are_called_identical():
    found = measure({"AP": {"none": {0: 30.1, 1: 28.7}, "same": {0: 30.1, 1: 28.7}}}, "none")
    assert [(effect.verdict, effect.mean, effect.p) for effect in found] == [("identical", 0.0, None)]


def test_equal_differences_are_no_evidence():
    # 0.1 + 0.2 - 0.2 is not 0.1 in floats: the spread is rounding, and t of the order of 1e15 would be a false triumph.
    reference = {seed: 0.1 * seed for seed in range(5)}
    (effect,) = measure({"AP": {"none": reference, "arm": {s: v + 0.2 for s, v in reference.items()}}}, "none")
    assert effect.verdict == "no spread"
    assert (effect.p, effect.low, effect.detectable) == (None, None, None)


def test_holm_worked_example():
    # The example of the p.adjust / Wikipedia article "Holm-Bonferroni method": 0.01, 0.04, 0.03, 0.005 at level 0.05 rejects the
    # first and the last only; the corrected values are 0.03, 0.06, 0.06, 0.02.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_edges():
    assert holm([]).shape == (0,)
    assert holm([0.2]) == pytest.approx([0.2])
    assert holm([0.9, 0.8, 0.7]) == pytest.approx([1.0, 1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_rejects_what_the_step_down_rule_rejects(p_values):
    # The rule as Holm wrote it: in order of p, reject while p(k) < level / (m - k + 1); stop at the first that is not.
    level, count = 0.05, len(p_values)
    rejected = set()
    for place, row in enumerate(np.argsort(p_values, kind="stable")):
        if not p_values[row] * (count - place) < level:
            break
        rejected.add(int(row))
    assert {int(row) for row in np.flatnonzero(holm(p_values) < level)} == rejected


def test_verdicts_after_the_correction():
    reference = {0: 30.0, 1: 27.5, 2: 33.1, 3: 29.4, 4: 31.7, 5: 26.2}
    changes = {
        "up": (4.1, 3.8, 4.3, 4.0, 3.6, 4.2),
        "down": (-4.0, -3.7, -4.4, -4.1, -3.9, -4.2),
        "weak": (2.0, 0.3, 1.6, 0.2, 1.5, 0.4),  # t = 3.08 on 5 degrees of freedom, p = 0.027
        "nothing": (0.4, -0.9, 1.1, 0.2, -1.2, 0.3),
    }
    values = {"none": reference} | {
        arm: {seed: reference[seed] + by for seed, by in enumerate(change)} for arm, change in changes.items()
    }
    found = {effect.arm: effect for effect in measure({"AP": values}, "none")}
    assert list(found) == ["up", "down", "weak", "nothing"]
    by_hand = {arm: stats.ttest_rel(list(values[arm].values()), list(reference.values())).pvalue for arm in found}
    in_order = sorted(by_hand.values())
    expected = np.minimum(1, np.maximum.accumulate([p * (4 - place) for place, p in enumerate(in_order)]))
    for arm, effect in found.items():
        assert effect.p_corrected == pytest.approx(expected[in_order.index(by_hand[arm])])
    assert found["up"].verdict == "helps"
    assert found["down"].verdict == "hurts"
    assert found["nothing"].verdict == "not shown"
    assert by_hand["weak"] < 0.05 <= found["weak"].p_corrected
    assert found["weak"].verdict == "not shown"
    assert found["weak"].uncertain
    assert "correction" in describe(found["weak"])
    assert f"{found['nothing'].detectable:.1f}" in describe(found["nothing"])


def test_no_effect_is_claimed_more_often_than_promised():
    # A/A studies: three arms that do nothing. At most one study in twenty may claim anything (here 600 studies; 5 % is 30, and
    # 46 lies three standard deviations above).
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(600):
        seeds = rng.normal(30, 3, 5)
        values = {arm: dict(enumerate(seeds + rng.normal(0, 1, 5))) for arm in ("none", "a", "b", "c")}
        wrong += any(effect.verdict in {"helps", "hurts"} for effect in measure({"AP": values}, "none"))
    assert 0 < wrong <= 46


def test_families_are_corrected_together():
    reference = {0: 10.0, 1: 11.0, 2: 12.5}
    arm = {0: 12.0, 1: 12.5, 2: 14.9}
    alone = measure({"AP/a": {"none": reference, "arm": arm}}, "none")
    together = measure({name: {"none": reference, "arm": arm} for name in ("AP/a", "AP/b", "AP/c")}, "none")
    assert alone[0].p_corrected == pytest.approx(alone[0].p)
    assert together[0].p_corrected == pytest.approx(3 * together[0].p)


def test_mean_and_spread():
    assert mean_of({0: 1.0, 1: 4.0, 2: math.nan}) == 2.5
    assert mean_of({}) is None
    assert sd_of({0: 1.0, 1: 3.0, 2: math.nan}) == pytest.approx(math.sqrt(2))
    assert sd_of({0: 1.0}) is None


@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(-100, 100)), min_size=2, max_size=12))
def test_unpaired_agrees_with_scipy(rows):
    arm, reference = np.array(rows, float).T
    assume(arm.var() > 0 and reference.var() > 0)  # scipy warns of an arm that does not vary
    judged = stats.ttest_ind(arm, reference, equal_var=False).confidence_interval(0.95)
    assert unpaired(dict(enumerate(arm)), dict(enumerate(reference))) == pytest.approx((judged.low, judged.high))


def test_unpaired_needs_some_spread():
    assert unpaired({0: 1.0, 1: 1.0}, {0: 2.0, 1: 2.0}) is None
    assert unpaired({0: 1.0, 1: 1.0}, {0: 2.0}) is None


def test_pairing_takes_out_what_the_seeds_have_in_common():
    # Seeds 10, 20, 30 and differences 1, 2, 3. Unpaired by hand: variances 100 and 121, standard error sqrt(221 / 3) = 8.583.
    reference = {0: 10.0, 1: 20.0, 2: 30.0}
    (effect,) = measure({"AP": {"none": reference, "arm": {0: 11.0, 1: 22.0, 2: 33.0}}}, "none")
    assert effect.unpaired is not None
    freedom = (221 / 3) ** 2 / ((100 / 3) ** 2 / 2 + (121 / 3) ** 2 / 2)
    assert effect.unpaired[1] - 2 == pytest.approx(8.5829 * stats.t.ppf(0.975, freedom), rel=1e-4)
    assert (effect.high - effect.low) < (effect.unpaired[1] - effect.unpaired[0]) / 8


def test_interaction_by_hand():
    # (both - b) - (a - none) by seed: (16-12)-(13-10) = 1, (18-13)-(13-11) = 3, (20-15)-(16-13) = 2.
    values = {
        "none": {0: 10.0, 1: 11.0, 2: 13.0},
        "a": {0: 13.0, 1: 13.0, 2: 16.0},
        "b": {0: 12.0, 1: 13.0, 2: 15.0},
        "both": {0: 16.0, 1: 18.0, 2: 20.0, 3: 99.0},
    }
    (effect,) = correct(contrast(values, {"a x b": {"both": 1, "b": -1, "a": -1, "none": 1}}, "AP", False))
    assert effect.differences == (1.0, 3.0, 2.0)
    assert effect.p == pytest.approx(stats.ttest_1samp([1.0, 3.0, 2.0], 0).pvalue)
    assert effect.seeds == (0, 1, 2)
