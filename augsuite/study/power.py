"""What a number of seeds can show."""

from __future__ import annotations

import functools
import math

LEVEL = 0.05
"""Chance of at least one false claim in a family of comparisons; an interval covers with 1 - LEVEL."""
POWER = 0.8
"""The chance with which the smallest detectable effect would have been shown."""
_MANY = 10_000  # seeds; beyond that no number is told
_HUGE = 1000.0  # t statistics; two seeds and a hundred comparisons ask for such


def student(count: int, level: float = LEVEL) -> float:
    """The t statistic from which a two-sided test of `count` differences, at least 2, rejects."""
    from scipy import stats

    return float(stats.t.ppf(1 - level / 2, count - 1))


def detectable(sd: float, seeds: int, critical: float, power: float = POWER) -> float:
    """The smallest true effect that a paired study of this size shows with the given chance.

    The effect delta at which |T| > `critical` has probability `power`, where T follows Student's noncentral distribution with
    `seeds` - 1 degrees of freedom and noncentrality delta sqrt(seeds) / sd. `sd` is itself an estimate: with three seeds read
    the result as an order of magnitude.

    Args:
        sd: standard deviation of the paired differences, above 0.
        seeds: at least 2.
        critical: the t statistic from which the test rejects, above 0.
        power: in (0, 1), above the level of the test.

    Returns:
        The effect, in the unit of `sd`; infinity where the test never rejects.

    Source: Cohen 1988, Statistical power analysis for the behavioral sciences, chapter 2; the name and use of the quantity
    (minimum detectable effect): Bloom 1995, Evaluation Review 19(5), 547-556.
    """
    return math.inf if math.isinf(critical) else _shift(seeds - 1, critical, power) * sd / math.sqrt(seeds)


@functools.lru_cache(maxsize=1024)
def _shift(freedom: int, critical: float, power: float) -> float:
    """The noncentrality at which a noncentral t exceeds `critical` with probability `power`."""
    from scipy import optimize, stats

    if critical > _HUGE:
        # The normal part of the noncentral t is nothing beside the chi part (a millionth, here), and SciPy's series may not converge.
        return critical * math.sqrt(float(stats.chi2.ppf(power, freedom)) / freedom)

    def missing(shift: float) -> float:
        # The lower tail of the noncentral t, P(T < -critical), is below level / 2 and falls fast; left out it costs nothing
        # visible and spares a part of the distribution that is computed badly.
        return float(stats.nct.sf(critical, freedom, shift)) - power

    # For large critical values, T > critical comes close to shift / chi > critical: bracket by the chi quantile.
    low_chi = math.sqrt(float(stats.chi2.ppf(1 - power, freedom)) / freedom)
    top = 2 * critical * max(1.0, 1 / max(low_chi, 1e-6)) + 10
    return float(optimize.brentq(missing, 0.0, top))


def seeds_for(effect: float, sd: float, level: float = LEVEL, power: float = POWER) -> int | None:
    """How many seeds a paired t test needs to show an effect with the given chance.

    Args:
        effect: the true effect, above 0, in the unit of `sd`.
        sd: standard deviation of the paired differences, above 0.
        level: of the two-sided test, in (0, 1).
        power: in (`level`, 1).

    Returns:
        The smallest number, at least 2; None beyond 10,000.
    """

    def suffices(count: int) -> bool:
        return detectable(sd, count, student(count, level), power) <= effect

    high = 2
    while not suffices(high):
        high *= 2
        if high > _MANY:
            return None
    low = high // 2  # does not suffice, or is 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high
