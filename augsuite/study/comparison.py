"""Two studies side by side: what both asked, what each found, and in what they differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from augsuite.errors import ConfigError
from augsuite.study.effects import Effect
from augsuite.study.store import State
from augsuite.study.summary import Summary

LEVEL = 0.05


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """An arm of both studies.

    Attributes:
        arm: its name.
        same: whether both have the same policy and settings under it.
        means: of the metric, in each.
        first: effect in the first study; None for the reference.
        second: in the second.
        runs: seeds whose runs are the very same, since the studies share them.
        difference: the second's effect minus the first's; None where there is none.
        low: lower end of its 95 % interval; None where an effect has none.
        high: upper end.
    """

    arm: str
    same: bool
    means: tuple[float | None, float | None]
    first: Effect | None
    second: Effect | None
    runs: list[int]
    difference: float | None = None
    low: float | None = None
    high: float | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two studies side by side.

    Attributes:
        studies: their names.
        metric: of both.
        arms: in both, by name.
        only: arms of the first alone, and of the second alone.
        differing: what differs in question, settings, data, code and versions: name -> the value in each; None where it has none.
    """

    studies: tuple[str, str]
    metric: str
    arms: list[Shared]
    only: tuple[list[str], list[str]]
    differing: dict[str, tuple[Any, Any]]


def compare(first: Summary, second: Summary) -> Comparison:
    """Put two studies side by side.

    Raises:
        ConfigError: if they measure different things, or have no arm in common.
    """
    one, two = first.state, second.state
    if one.metric != two.metric:
        raise ConfigError(f"{one.study} measures {one.metric}, {two.study} {two.metric}: nothing to compare.")
    arms = {arm.arm: arm for arm in second.arms}
    both = [arm.arm for arm in first.arms if arm.arm in arms]
    if not both:
        raise ConfigError(
            f"{one.study} and {two.study} have no arm in common: {', '.join(one.arms)}; {', '.join(two.arms)}. Arms go by name."
        )
    digests = {(run.arm, run.seed): run.digest for run in one.runs}
    same_runs = [run for run in two.runs if digests.get((run.arm, run.seed)) == run.digest]
    shared = []
    for arm in first.arms:
        if arm.arm not in arms:
            continue
        other = arms[arm.arm]
        runs = sorted({run.seed for run in same_runs if run.arm == arm.arm})
        difference = _difference(arm.effect, other.effect)
        shared.append(
            Shared(
                arm=arm.arm,
                same=_meaning(one, arm.arm) == _meaning(two, arm.arm),
                means=(arm.mean, other.mean),
                first=arm.effect,
                second=other.effect,
                runs=runs,
                difference=difference and difference[0],
                low=difference and difference[1],
                high=difference and difference[2],
            )
        )
    return Comparison(
        studies=(one.study, two.study),
        metric=one.metric,
        arms=shared,
        only=([name for name in one.arms if name not in two.arms], [name for name in two.arms if name not in one.arms]),
        differing=differing(one, two),
    )


def differing(one: State, two: State) -> dict[str, tuple[Any, Any]]:
    """What differs between two questions, by dotted names; None where one says nothing."""
    # As JSON has them: of a question just asked the settings hold tuples, of one that was read lists.
    flat = tuple(_flat(msgspec.json.decode(msgspec.json.encode(state), type=State)) for state in (one, two))
    return {
        name: (flat[0].get(name), flat[1].get(name))
        for name in dict.fromkeys([*flat[0], *flat[1]])
        if flat[0].get(name) != flat[1].get(name)
    }


def _flat(state: State) -> dict[str, Any]:
    parts: Mapping[str, Mapping[str, Any]] = {
        "config": state.config,
        "images": state.images,
        "data": state.data,
        "code": state.code,
        "versions": state.versions,
    }
    top = {"trainer": state.trainer, "reference": state.reference, "seeds": state.seeds}
    return top | {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}


def _meaning(state: State, arm: str) -> tuple[Any, Any]:
    plain = state.arms[arm]
    return {name: value for name, value in plain.policy.items() if name != "policy"}, plain.config


def _difference(first: Effect | None, second: Effect | None) -> tuple[float, float | None, float | None] | None:
    """Second minus first, with a 95 % interval by Welch's t (1947): each effect is paired within its study, the two are independent.

    No interval where one of the effects has none of Student's, as with seeds that were added until the answer was clear.
    """
    if first is None or second is None:
        return None
    mean = second.mean - first.mean
    if first.sd is None or second.sd is None or first.sequential or second.sequential:
        return mean, None, None
    parts = [effect.sd**2 / len(effect.seeds) for effect in (first, second) if effect.sd is not None]
    error = math.sqrt(sum(parts))
    if not error:
        return mean, mean, mean
    from scipy import stats

    freedom = error**4 / sum(
        part**2 / (len(effect.seeds) - 1) for part, effect in zip(parts, (first, second), strict=True) if part
    )
    half = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * error
    return mean, mean - half, mean + half
