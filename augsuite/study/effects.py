"""The statistics of a study: what an arm did against the reference, and how sure one can be.

Runs are paired by seed: arm and reference of one seed share initial weights, the order of the images and the draws of the steps
they have in common, so that what differs between them is the arm. Each arm is judged by a paired t test, corrected for the
number of comparisons made together (Holm), or by its sequential counterpart. docs/study.md explains the terms to a reader without statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from augsuite.study.power import LEVEL, detectable, seeds_for, student
from augsuite.study.sequential import critical, evidence

_SPREADLESS = 1e-9  # of the values' size: below it a standard deviation is rounding noise, and t is meaningless

Verdict = Literal["helps", "hurts", "not shown", "too few seeds", "no spread", "identical"]
Values = Mapping[str, Mapping[int, float]]
"""One metric of a study: arm -> seed -> value."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """The paired difference between an arm and its reference on one metric.

    Attributes:
        arm: the arm.
        metric: the metric, in its own unit (points of AP, for the bundled trainers).
        seeds: those with a value in both arms, in order.
        differences: arm minus reference, for each of `seeds`.
        mean: the effect: their mean.
        low: lower end of the 95 % interval of the mean; None with fewer than two seeds (three, if `sequential`), and where
            nothing varies.
        high: upper end.
        sd: standard deviation of the differences (n - 1); None with fewer than two seeds.
        p: two-sided p value of the paired t test, or one that is valid at all times; None where there is no test.
        p_corrected: the same after Holm's correction over the comparisons made together.
        detectable: the true effect that the study would have shown with a chance of 80 %; None where there is no test.
        seeds_for_half: how many seeds would show half of it; None where there is no test, or seeds are added one by one.
        unpaired: the interval that the same runs would give unpaired; None where there is none.
        images: how many test images the interval takes for a draw as well; None where it answers for those that there are.
        sequential: whether interval and p hold at every number of seeds, so that one may look and add seeds.
        verdict: `helps` or `hurts` where `p_corrected` is below 0.05; `not shown` where it is not; `too few seeds` below two;
            `identical` where every run equals its partner; `no spread` where every seed gave the same other difference, so
            that the seeds are copies of one observation and no chance can be told.
    """

    arm: str
    metric: str
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    detectable: float | None = None
    seeds_for_half: int | None = None
    unpaired: tuple[float, float] | None = None
    images: int | None = None
    sequential: bool = False
    verdict: Verdict = "too few seeds"

    @property
    def uncertain(self) -> bool:
        """Whether the interval alone excludes zero, but the correction for several comparisons does not let it count."""
        return self.verdict == "not shown" and self.p is not None and self.p < LEVEL


def measure(families: Mapping[str, Values], reference: str, sequential: bool = False) -> list[Effect]:
    """Compare every arm with the reference on every metric given, as one family of comparisons.

    Whoever asks several questions of the same runs finds something by chance, so all the comparisons of one call are corrected
    together. Call it once for the metric that the study is about, and apart from that for what is only being explored.

    Args:
        families: metric -> arm -> seed -> value. A value that is not finite counts as missing.
        reference: the arm that the others are compared with.
        sequential: whether the number of seeds may have depended on what was seen; see `augsuite.study.sequential`.

    Returns:
        One effect for each metric and arm that shares at least one seed with the reference, in the order given.
    """
    found = []
    for metric, values in families.items():
        rows = {arm: {arm: 1.0, reference: -1.0} for arm in values if arm != reference}
        for effect in contrast(values, rows, metric, sequential):
            alone = unpaired(values[effect.arm], values.get(reference, {}))
            found.append(msgspec.structs.replace(effect, unpaired=alone))
    return correct(found)


def contrast(values: Values, rows: Mapping[str, Mapping[str, float]], metric: str, sequential: bool) -> list[Effect]:
    """Weighted sums of arms, seed by seed: `{"a": 1, "b": -1}` is what a does beyond b.

    Args:
        values: arm -> seed -> value; not finite counts as missing.
        rows: name -> arm -> weight.
        metric: the metric's name.
        sequential: as `measure` has it.

    Returns:
        One effect for each name whose arms share at least one seed, uncorrected; `correct` judges them as a family.
    """
    scale = _scale(values)
    found = []
    for name, weights in rows.items():
        seeds = set.intersection(*(set(values.get(arm, {})) for arm in weights))
        sums = {seed: math.fsum(weight * values[arm][seed] for arm, weight in weights.items()) for seed in seeds}
        effect = _test(sums, scale, sequential)
        if effect is not None:
            found.append(msgspec.structs.replace(effect, arm=name, metric=metric))
    return found


def correct(effects: Sequence[Effect]) -> list[Effect]:
    """Judge effects as one family of comparisons: corrected p values, verdicts, and what could have been shown."""
    tested = [effect.p for effect in effects if effect.p is not None]
    corrected = iter(holm(tested).tolist())
    halves: dict[int, int | None] = {}  # count -> seeds; both effects are in units of sd, which falls out
    found = []
    for effect in effects:
        if effect.p is None or effect.sd is None:
            found.append(effect)
            continue
        p = next(corrected)
        count, level = len(effect.seeds), LEVEL / len(tested)
        limit = detectable(effect.sd, count, critical(count, level) if effect.sequential else student(count, level))
        # What the images add is not in the standard deviation over seeds.
        shown = math.isfinite(limit) and effect.images is None
        if shown and not effect.sequential and count not in halves:
            halves[count] = seeds_for(limit / 2, effect.sd, level)
        found.append(
            msgspec.structs.replace(
                effect,
                p_corrected=p,
                verdict="not shown" if p >= LEVEL else "helps" if effect.mean > 0 else "hurts",
                detectable=limit if shown else None,
                seeds_for_half=halves.get(count),
            )
        )
    return found


def pair(values: Mapping[int, float], reference: Mapping[int, float], scale: float = 1.0) -> Effect | None:
    """The paired t statistics of two arms, without correction.

    Mean of the differences d, its standard error s / sqrt(n), the interval mean +- t(0.975, n - 1) s / sqrt(n), and the
    two-sided p value of t = mean sqrt(n) / s under Student's distribution with n - 1 degrees of freedom.

    Args:
        values: seed -> value of the arm.
        reference: seed -> value of the reference.
        scale: size of the values; differences that agree to within a billionth of it count as equal.

    Returns:
        The effect, with empty `arm` and `metric`; None where the arms share no seed.

    Source: Student 1908, The probable error of a mean, Biometrika 6(1); `scipy.stats.ttest_rel` gives the same numbers.
    """
    return _test({seed: values[seed] - reference[seed] for seed in values.keys() & reference.keys()}, scale, False)


def unpaired(values: Mapping[int, float], reference: Mapping[int, float]) -> tuple[float, float] | None:
    """The 95 % interval that the same runs would give if one did not know which belong together; for comparison only.

    Returns:
        Its ends; None with fewer than two finite values in an arm, and where neither varies.

    Source: Welch 1947, The generalization of Student's problem when several different population variances are involved,
    Biometrika 34; `scipy.stats.ttest_ind(equal_var=False)` gives the same numbers.
    """
    from scipy import stats

    one = np.array([value for value in values.values() if math.isfinite(value)])
    two = np.array([value for value in reference.values() if math.isfinite(value)])
    if len(one) < 2 or len(two) < 2:
        return None
    parts = one.var(ddof=1) / len(one), two.var(ddof=1) / len(two)
    variance = sum(parts)
    if variance <= 0:
        return None
    freedom = variance**2 / (parts[0] ** 2 / (len(one) - 1) + parts[1] ** 2 / (len(two) - 1))
    half = float(stats.t.ppf(1 - LEVEL / 2, freedom) * math.sqrt(variance))
    mean = float(one.mean() - two.mean())
    return mean - half, mean + half


def _test(by_seed: Mapping[int, float], scale: float, sequential: bool) -> Effect | None:
    """The statistics of one difference for each seed."""
    seeds = tuple(sorted(seed for seed, value in by_seed.items() if math.isfinite(value)))
    if not seeds:
        return None
    differences = np.array([by_seed[seed] for seed in seeds])
    count, mean = len(seeds), float(differences.mean())
    base = Effect(
        arm="", metric="", seeds=seeds, differences=tuple(differences.tolist()), mean=mean, sequential=sequential
    )
    if count < 2:
        return base
    sd = float(differences.std(ddof=1))
    if sd <= _SPREADLESS * scale:
        same = abs(mean) <= _SPREADLESS * scale
        return msgspec.structs.replace(base, sd=0.0, verdict="identical" if same else "no spread")
    reach = critical(count, LEVEL) if sequential else student(count)
    if math.isinf(reach):
        return msgspec.structs.replace(base, sd=sd)

    from scipy import stats

    error = sd / math.sqrt(count)
    t = abs(mean) / error
    p = min(1.0, 1 / evidence(t, count)) if sequential else float(2 * stats.t.sf(t, count - 1))
    half = reach * error
    return msgspec.structs.replace(base, low=mean - half, high=mean + half, sd=sd, p=p, verdict="not shown")


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Correct p values so that the chance of any false claim among them stays at the level, however they depend on each other.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none falls below its predecessor or rises above 1.

    Args:
        p_values: `(m,)` in [0, 1].

    Returns:
        `(m,)` float64 corrected p values, in the order given; each is compared with the level itself.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6(2), 65-70;
    the corrected values as in Wright 1992, Adjusted P-values for simultaneous inference, Biometrics 48(4).
    """
    p = np.asarray(p_values, np.float64).reshape(-1)
    order = np.argsort(p, kind="stable")
    raised = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    result = np.empty_like(p)
    result[order] = raised
    return result


def mean_of(values: Mapping[int, float]) -> float | None:
    """The mean over seeds of an arm's finite values; None where there are none."""
    finite = [value for value in values.values() if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def sd_of(values: Mapping[int, float]) -> float | None:
    """The standard deviation over seeds (n - 1) of an arm's finite values; None with fewer than two."""
    finite = [value for value in values.values() if math.isfinite(value)]
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else None


def describe(effect: Effect, digits: int = 1) -> str:
    """The verdict as a reader needs it: with what qualifies it."""
    if effect.verdict == "not shown" and effect.detectable is not None:
        if effect.uncertain:
            return "not shown (counts alone, not after the correction for several arms)"
        half = f"; {effect.seeds_for_half} seeds would show half of that" if effect.seeds_for_half is not None else ""
        return f"not shown (an effect under {effect.detectable:.{digits}f} would probably be missed{half})"
    if effect.verdict == "identical":
        return "identical (every run equals its partner)"
    if effect.verdict == "no spread":
        return "no spread (every seed gave the same difference: copies, not repetitions)"
    return effect.verdict


def _scale(values: Values) -> float:
    """The largest finite value, so that equality is judged relative to it; 1 where all are 0."""
    sizes: Sequence[float] = [abs(v) for arm in values.values() for v in arm.values() if math.isfinite(v)]
    return max(sizes, default=0.0) or 1.0
