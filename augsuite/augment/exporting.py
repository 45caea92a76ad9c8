"""What exporters to other libraries share: a policy's steps to calls of transforms, and which steps have no equal there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from augsuite.augment.policies import Policy
from augsuite.augment.steps import Step
from augsuite.augment.transforms import instance

Values = Mapping[str, Any]
Call = tuple[str, dict[str, Any]]
"""The name of a transform, and its keyword arguments."""


class RefusedError(Exception):
    """Why one step has no equal."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a step that chooses.

    Attributes:
        calls: what happens.
        weight: how likely it is, relative to the others; above 0.
    """

    calls: list[Call]
    weight: float


Choose = Callable[[Sequence[Option], float], Call]
"""From options, and the chance that one of them happens, to the call that chooses."""


def translate(
    policy: Policy, calls_of: Callable[[Step], Sequence[Call]], choose: Choose, crop_values: Values | None = None
) -> tuple[list[Call], list[str]]:
    """Translate a policy step by step.

    Args:
        policy: the policy.
        calls_of: the calls that equal one step; raises `RefusedError` where there are none.
        choose: the call that equals a `one_of` or `sub_policies`, whose options are translated first.
        crop_values: further arguments of `RandomResizedCrop`, which is a crop and the resize after it in one.

    Returns:
        The calls, and the steps that have no equal, one text for each: where, what, why.
    """
    found = _Translation(calls_of, choose, crop_values or {})
    return found.walk(policy.steps, "steps"), found.unknown


@dataclass(slots=True)
class _Translation:
    calls_of: Callable[[Step], Sequence[Call]]
    choose: Choose
    crop_values: Values
    unknown: list[str] = field(default_factory=list)

    def walk(self, steps: Sequence[Step], where: str) -> list[Call]:
        calls: list[Call] = []
        waiting: Step | None = None  # a crop, which there is one transform with the resize after it
        for place, step in enumerate(steps):
            at = f"{where}[{place}]"
            before, waiting = waiting, None
            try:
                if before is not None:
                    calls.append(_crop_and(before, step, self.crop_values))
                elif step.do == "crop" and place + 1 < len(steps):
                    waiting = step
                elif step.do in {"one_of", "sub_policies"}:
                    calls += self._choice(step, at)
                else:
                    calls += self.calls_of(step)
            except RefusedError as refused:
                self.unknown.append(f"{at} ({step.do}): {refused}")
        return calls

    def _choice(self, step: Step, where: str) -> list[Call]:
        transform = instance(step.do, step.params)
        lists: Mapping[str, Sequence[Step]] = transform.options
        options = [
            Option(self.walk(steps, f"{where}.{name}"), transform.weights.get(name, 1.0))
            for name, steps in lists.items()
            if transform.weights.get(name, 1.0) > 0
        ]
        return [self.choose(options, step.p)] if options else []


def _crop_and(crop: Step, step: Step, further: Values) -> Call:
    if step.do != "resize" or step.p != 1 or crop.p != 1:
        raise RefusedError("the crop before it has an equal only together with a resize right after it, both with p 1")
    values = msgspec.to_builtins(instance("crop", crop.params))
    width, height = msgspec.to_builtins(instance("resize", step.params))["size"]
    return "RandomResizedCrop", {
        "size": (height, width),
        "scale": tuple(values["area_frac"]),
        "ratio": tuple(values["ratio"]),
        **further,
    }


def flat(calls: Iterable[Call]) -> Iterator[Call]:
    """The calls and those inside of them."""
    for call in calls:
        yield call
        yield from flat(call[1].get("transforms", ()))
