"""What exporters to other libraries share: a policy's steps to calls of transforms, and which steps have no equal there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def translate(
    policy: Policy, calls_of: Callable[[Step], Sequence[Call]], crop_values: Values | None = None
) -> tuple[list[Call], list[str]]:
    """Translate a policy step by step.

    Args:
        policy: the policy.
        calls_of: the calls that equal one step; raises `RefusedError` where there are none.
        crop_values: further arguments of `RandomResizedCrop`, which is a crop and the resize after it in one.

    Returns:
        The calls, and the steps that have no equal, one text for each: where, what, why.
    """
    calls: list[Call] = []
    unknown: list[str] = []
    waiting: Step | None = None  # a crop, which there is one transform with the resize after it
    for place, step in enumerate(policy.steps):
        try:
            before, waiting = waiting, None
            if before is not None:
                calls.append(_crop_and(before, step, crop_values or {}))
            elif step.do == "crop" and place + 1 < len(policy.steps):
                waiting = step
            else:
                calls += calls_of(step)
        except RefusedError as refused:
            unknown.append(f"steps[{place}] ({step.do}): {refused}")
    return calls, unknown


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
