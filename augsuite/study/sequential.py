"""Seeds added until the answer is clear: tests and intervals that hold however often one looks, and for any reason to stop.

Who looks at a fixed test after every seed, and stops when it says yes, is wrong far more often than in 5 % of the cases. Here the
evidence against "no effect" is a ratio of likelihoods of the t statistic: with a true mean of the differences drawn from a normal
distribution of standard deviation `sqrt(SPREAD)` times theirs, to none. Without an effect it is a martingale that starts at 1,
whatever the standard deviation, so with a chance of at most 5 % it *ever* reaches 20 (Ville's inequality). Reaching 20 is the test;
the means that are not so contradicted are the interval, which holds at all numbers of seeds at once. It is about twice as wide as
Student's for five seeds.

Source: Wang & Ramdas 2023, Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance, arXiv:2310.03722,
the test martingale of a Gaussian mixture in the filtration of the t statistics; after Lai 1976, On confidence sequences, Annals of
Statistics 4(2), 265-280. Ville's inequality bounds the chance of ever reaching 20, so for whatever reason one stops. Holm's procedure
on p values that are valid at all times is valid at all times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from augsuite.study.power import LEVEL

if TYPE_CHECKING:
    from augsuite.study.summary import Summary

SPREAD = 10.0
"""Variance of the assumed effects in units of the differences' variance. Paired effects of several standard deviations are usual;
of 1, 3, 10 and 30, ten gives the narrowest intervals for four seeds, and for five to fifty at most 10 % more than the best."""
MOST = 20
"""Seeds of an arm at most, where nothing is said."""


def evidence(t: float, count: int) -> float:
    """The ratio of likelihoods of a paired t statistic, with an effect to without one.

    Args:
        t: mean * sqrt(count) / sd, with count - 1 in the standard deviation.
        count: pairs, at least 2.

    Returns:
        From 0; 1 / it is a p value that holds however the number of pairs came about.
    """
    grown = 1 + SPREAD * count
    share = min(abs(t), 1e100) ** 2 / (count - 1)  # beyond that, squares overflow
    log = count / 2 * (math.log1p(share) - math.log1p(share / grown)) - math.log(grown) / 2
    return math.exp(min(log, 700.0))


def critical(count: int, level: float) -> float:
    """The t statistic from which `evidence` is at least 1 / level; infinity where no t suffices (always for two pairs).

    Half the width of the interval is this times sd / sqrt(count).

    Args:
        count: pairs, at least 2.
        level: in (0, 1).
    """
    grown = 1 + SPREAD * count
    root = math.exp((math.log(grown) - 2 * math.log(level)) / count)
    if root >= grown:
        return math.inf
    return math.sqrt((count - 1) * (root - 1) / (1 - root / grown))


def next_seeds(summary: Summary, until: float, most: int = MOST) -> dict[str, list[int]]:
    """Which seeds to train next, so that every arm either has a clear answer or an interval of at most ± `until`.

    An arm needs no more seeds when it helps or hurts, when its interval is narrow enough, when its runs show no chance at all
    (identical, or all different by the same), or when it has been asked for `most` seeds. Seeds are added by at most half of those
    there are, as many as its present spread suggests; when to look does not matter to the test.

    Args:
        summary: of what is trained; its intervals are the sequential ones.
        until: half the width of an interval that is narrow enough, in the metric's unit, above 0.
        most: seeds that an arm is asked for at most, failed ones included.

    Returns:
        Arm -> seeds it has not been asked for, the reference's among them; nothing where all is answered. Arms go through the same
        seeds in the same order, so the reference's runs serve all.
    """
    state = summary.state
    asked: dict[str, list[int]] = {name: [] for name in state.arms}
    for run in state.runs:
        asked[run.arm].append(run.seed)
    order = _in_order(seed for seeds in asked.values() for seed in seeds)
    added: dict[str, list[int]] = {}
    for arm in summary.arms:
        if arm.arm == state.reference or (arm.effect is not None and arm.effect.verdict in _ANSWERED):
            continue
        pairs = len(arm.effect.seeds) if arm.effect is not None else 0
        sd = arm.effect.sd if arm.effect is not None else None
        if sd is not None and critical(max(pairs, 2), LEVEL) * sd / math.sqrt(pairs) <= until:
            continue
        have = len(asked[arm.arm])
        more = min(_missing(pairs, sd, until), max(1, have // 2), most - have)
        if more > 0:
            added[arm.arm] = _beyond(order, asked[arm.arm], more)
    wanted = {seed for seeds in added.values() for seed in seeds}
    if own := sorted(wanted - set(asked[state.reference])):
        added[state.reference] = own
    return added


_ANSWERED = frozenset({"helps", "hurts", "identical", "no spread"})


def _missing(pairs: int, sd: float | None, until: float) -> int:
    """How many more pairs the interval would need, were the spread what it seems."""
    if sd is None:
        return 1
    count = max(pairs + 1, 3)
    while critical(count, LEVEL) * sd / math.sqrt(count) > until and count < pairs + 1000:
        count += 1
    return count - pairs


def _in_order(seeds: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(seeds))


def _beyond(order: list[int], asked: list[int], count: int) -> list[int]:
    """The first `count` seeds that were not asked of an arm: those of others first, then new ones above all there are."""
    waiting = [seed for seed in order if seed not in asked]
    highest = max(order, default=-1)
    return [*waiting, *range(highest + 1, highest + 1 + count)][:count]
