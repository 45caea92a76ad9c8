"""Effects with intervals that count the test images as a draw, too, and not the seeds alone.

Student's interval over seeds answers for these test images: with other images of the same kind the effect would be another. Here both
are drawn at once. The error of an effect is taken for the sum of two independent parts: that of the seeds, `t * sd / sqrt(n)` with t
from Student's distribution, since a few seeds resampled would understate it (with n seeds by a factor of sqrt((n - 1) / n), and
without the long tails: Hesterberg 2015, What teachers should know about the bootstrap, The American Statistician 69(4)); and that of
the images, by resampling them, the same images for all arms and seeds. What seeds and images do together (an image that one seed
happens to get right) is in both parts, so that the interval is rather too wide (as Owen 2007, The pigeonhole bootstrap, Annals of
Applied Statistics 1(2), theorem 4, finds of resampling both). With endlessly many images it is Student's interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.study.effects import Effect, correct, pair
from augsuite.study.power import LEVEL

Measure = Callable[[NDArray[np.int64]], float | None]
"""A run's metric on the test set in which each image stands so many times, `(I,)`; None where that says nothing."""

DRAWS = 400
"""Resampled test sets; they move the ends of an interval by some 3 % of its width, less where seeds make most of it."""


def joint(
    runs: Mapping[str, Mapping[int, Measure]],
    reference: str,
    metric: str,
    images: int,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Effect]:
    """Compare every arm with the reference, on seeds and images both drawn.

    Args:
        runs: arm -> seed -> the run's metric.
        reference: the arm that the others are compared with.
        metric: its name.
        images: how many test images there are.
        draws: resampled test sets.
        seed: of the resampling.

    Returns:
        One effect for each arm that shares seeds with the reference, corrected over the arms. Without an interval where `measure`
        of `augsuite.study.effects` gives none.
    """
    rng = np.random.default_rng(seed)
    chances = np.full(images, 1 / images)
    times = np.concatenate([np.ones((1, images), np.int64), rng.multinomial(images, chances, draws)])
    values = {
        arm: {seed: np.array([_number(measure(row)) for row in times]) for seed, measure in measures.items()}
        for arm, measures in runs.items()
    }
    found = []
    for arm in runs:
        if arm == reference:
            continue
        mine, theirs = ({seed: float(v[0]) for seed, v in values[name].items()} for name in (arm, reference))
        effect = pair(mine, theirs, max(map(abs, [*mine.values(), *theirs.values()]), default=0.0) or 1.0)
        if effect is None:
            continue
        effect = msgspec.structs.replace(effect, arm=arm, metric=metric, images=images)
        if effect.sd:
            by_seed = [values[arm][seed][1:] - values[reference][seed][1:] for seed in effect.seeds]
            effect = _widen(effect, np.mean(by_seed, axis=0))
        found.append(effect)
    return correct(found)


def _widen(effect: Effect, resampled: NDArray[np.float64]) -> Effect:
    """The interval and p value with the error of the images beside that of the seeds."""
    from scipy import optimize, stats

    resampled = resampled[np.isfinite(resampled)]
    count = len(effect.seeds)
    error = (effect.sd or 0.0) / math.sqrt(count)
    moved = resampled - resampled.mean() if len(resampled) else np.zeros(1)

    def below(value: float) -> float:
        """The chance of an error of at most `value`: a sum of both parts, of which one is a list and the other known."""
        return float(stats.t.cdf((value - moved) / error, count - 1).mean())

    reach = float(stats.t.ppf(1 - LEVEL / 8, count - 1)) * error + float(np.abs(moved).max())
    ends = [optimize.brentq(lambda value, q=q: below(value) - q, -reach, reach) for q in (LEVEL / 2, 1 - LEVEL / 2)]
    p = min(1.0, 2 * min(below(effect.mean), 1 - below(effect.mean)))
    return msgspec.structs.replace(effect, low=effect.mean - ends[1], high=effect.mean - ends[0], p=p)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
