"""The statistics of a study: what an arm did against the reference, and how sure one can be.

Runs are paired by seed: arm and reference of one seed share initial weights, the order of the images and the draws of the steps
they have in common, so that what differs between them is the arm. Each arm is judged by a paired t test, corrected for the
number of comparisons made together (Holm). docs/study.md explains the terms to a reader without statistics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05
"""Chance of at least one false claim in a family of comparisons; an interval covers with 1 - LEVEL."""
POWER = 0.8
"""The chance with which the smallest detectable effect would have been shown."""
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
        low: lower end of the 95 % interval of the mean; None with fewer than two seeds, and where nothing varies.
        high: upper end.
        sd: standard deviation of the differences (n - 1); None with fewer than two seeds.
        p: two-sided p value of the paired t test; None where there is no test.
        p_corrected: the same after Holm's correction over the comparisons made together.
        detectable: the true effect that the study would have shown with a chance of 80 %; None where there is no test.
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
    verdict: Verdict = "too few seeds"

    @property
    def uncertain(self) -> bool:
        """Whether the interval alone excludes zero, but the correction for several comparisons does not let it count."""
        return self.verdict == "not shown" and self.p is not None and self.p < LEVEL


def measure(families: Mapping[str, Values], reference: str) -> list[Effect]:
    """Compare every arm with the reference on every metric given, as one family of comparisons.

    Whoever asks several questions of the same runs finds something by chance, so all the comparisons of one call are corrected
    together. Call it once for the metric that the study is about, and apart from that for what is only being explored.

    Args:
        families: metric -> arm -> seed -> value. A value that is not finite counts as missing.
        reference: the arm that the others are compared with.

    Returns:
        One effect for each metric and arm that shares at least one seed with the reference, in the order given.
    """
    paired = [
        (arm, metric, pair(values[arm], values.get(reference, {}), scale))
        for metric, values in families.items()
        for scale in [_scale(values)]
        for arm in values
        if arm != reference
    ]
    tested = [effect for _, _, effect in paired if effect is not None and effect.p is not None]
    p_values = holm([effect.p for effect in tested if effect.p is not None]).tolist()
    corrected = dict(zip(map(id, tested), p_values, strict=True))
    found = []
    for arm, metric, effect in paired:
        if effect is None:
            continue
        p = corrected.get(id(effect))
        named = msgspec.structs.replace(effect, arm=arm, metric=metric)
        if p is not None and effect.sd is not None:
            verdict: Verdict = "not shown" if p >= LEVEL else "helps" if effect.mean > 0 else "hurts"
            limit = detectable(effect.sd, len(effect.seeds), LEVEL / len(tested))
            named = msgspec.structs.replace(named, p_corrected=p, verdict=verdict, detectable=limit)
        found.append(named)
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
    seeds = tuple(sorted(seed for seed in values.keys() & reference.keys() if _finite(values[seed], reference[seed])))
    if not seeds:
        return None
    differences = np.array([values[seed] - reference[seed] for seed in seeds])
    count, mean = len(seeds), float(differences.mean())
    base = Effect(arm="", metric="", seeds=seeds, differences=tuple(differences.tolist()), mean=mean)
    if count < 2:
        return base
    sd = float(differences.std(ddof=1))
    if sd <= _SPREADLESS * scale:
        same = abs(mean) <= _SPREADLESS * scale
        return msgspec.structs.replace(base, sd=0.0, verdict="identical" if same else "no spread")

    from scipy import stats

    error = sd / math.sqrt(count)
    half = float(stats.t.ppf(1 - LEVEL / 2, count - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, count - 1))
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


def detectable(sd: float, seeds: int, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest true effect that a paired study of this size shows with the given chance.

    The effect delta at which a two-sided t test at `level` on `seeds` differences of standard deviation `sd` rejects with
    probability `power`; t then follows the noncentral distribution with noncentrality delta sqrt(seeds) / sd. `measure` uses
    level / (number of comparisons), the strictest that Holm's procedure applies, so that it holds whatever the other arms do.
    `sd` is itself an estimate: with three seeds read the result as an order of magnitude.

    Args:
        sd: standard deviation of the paired differences, above 0.
        seeds: at least 2.
        level: of the test, in (0, 1).
        power: in (`level`, 1).

    Returns:
        The effect, in the unit of `sd`.

    Source: Cohen 1988, Statistical power analysis for the behavioral sciences, chapter 2; the name and use of the quantity
    (minimum detectable effect): Bloom 1995, Evaluation Review 19(5), 547-556.
    """
    from scipy import optimize, stats

    freedom = seeds - 1
    critical = float(stats.t.ppf(1 - level / 2, freedom))

    def missing(shift: float) -> float:
        # The lower tail of the noncentral t, P(T < -critical), is below level / 2 and falls fast; left out it costs nothing
        # visible and spares a part of the distribution that is computed badly.
        return float(stats.nct.sf(critical, freedom, shift)) - power

    # For large critical values, T > critical comes close to shift / chi > critical: bracket by the chi quantile.
    low_chi = math.sqrt(float(stats.chi2.ppf(1 - power, freedom)) / freedom)
    top = 2 * critical * max(1.0, 1 / max(low_chi, 1e-6)) + 10
    shift = float(optimize.brentq(missing, 0.0, top))
    return shift * sd / math.sqrt(seeds)


def mean_of(values: Mapping[int, float]) -> float | None:
    """The mean over seeds of an arm's finite values; None where there are none."""
    finite = [value for value in values.values() if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else None


def describe(effect: Effect, digits: int = 1) -> str:
    """The verdict as a reader needs it: with what qualifies it."""
    if effect.verdict == "not shown" and effect.detectable is not None:
        if effect.uncertain:
            return "not shown (counts alone, not after the correction for several arms)"
        return f"not shown (an effect under {effect.detectable:.{digits}f} would probably be missed)"
    if effect.verdict == "identical":
        return "identical (every run equals its partner)"
    if effect.verdict == "no spread":
        return "no spread (every seed gave the same difference: copies, not repetitions)"
    return effect.verdict


def _scale(values: Values) -> float:
    """The largest finite value, so that equality is judged relative to it; 1 where all are 0."""
    sizes: Sequence[float] = [abs(v) for arm in values.values() for v in arm.values() if math.isfinite(v)]
    return max(sizes, default=0.0) or 1.0


def _finite(first: float, second: float) -> bool:
    return math.isfinite(first) and math.isfinite(second)
