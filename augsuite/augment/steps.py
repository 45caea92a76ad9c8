"""Steps: a transform by name, its parameters and a probability, read from plain values and checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from augsuite.augment.transforms import declaration, instance, make
from augsuite.config import build
from augsuite.errors import ConfigError
from augsuite.spec import TransformKind

_OWN = ("do", "p", "id")


class Step(msgspec.Struct, frozen=True):
    """A transform with its parameters and a probability.

    Attributes:
        do: the transform's name.
        params: its parameters, plain values; the others have their defaults.
        p: the probability that it happens, in [0, 1].
        id: names the step's random numbers; the transform's name, with `#2`, `#3`, ... where that is taken. Steps of the same id
            draw the same in every policy.
    """

    do: str
    params: dict[str, Any] = {}
    p: Annotated[float, Meta(ge=0, le=1)] = 1.0
    id: str = ""

    def to_plain(self, position_id: str) -> dict[str, Any]:
        """As a policy file holds it, without what is default."""
        plain: dict[str, Any] = {"do": self.do, **self.params}
        if self.p != 1:
            plain["p"] = self.p
        if self.id != position_id:
            plain["id"] = self.id
        return plain


@dataclass(frozen=True, slots=True)
class Drawer:
    """A step, ready to draw.

    Attributes:
        id: the step's id.
        do: the transform's name.
        p: the step's probability.
        kind: the transform's kind.
        params: its parameters, plain.
        transform: its instance.
    """

    id: str
    do: str
    p: float
    kind: TransformKind
    params: Mapping[str, Any]
    transform: Any


def drawer(step: Step, step_id: str) -> Drawer:
    """A step made ready to draw, under an id.

    Raises:
        ConfigError: if there is no such transform, or its parameters make no sense.
    """
    kind = declaration(step.do).kind
    return Drawer(step_id, step.do, step.p, kind, step.params, instance(step.do, step.params))


def named(steps: Sequence[Step], where: str) -> tuple[Step, ...]:
    """The steps, each with an id: its own, or its default.

    Args:
        steps: in their order.
        where: what the message begins with: what they belong to, a colon and a blank, or nothing.

    Raises:
        ConfigError: if two have the same id.
    """
    ids = [step.id or own for step, own in zip(steps, default_ids(steps), strict=True)]
    for place, name in enumerate(ids):
        if name in ids[:place]:
            raise ConfigError(
                f"{where}steps[{place}] has the id {name!r} of steps[{ids.index(name)}]. Give it its own."
            )
    return tuple(msgspec.structs.replace(step, id=name) for step, name in zip(steps, ids, strict=True))


def default_ids(steps: Sequence[Step]) -> list[str]:
    """The id that each step has where none is given: its transform's name, numbered from the second on."""
    seen: dict[str, int] = {}
    ids = []
    for step in steps:
        seen[step.do] = seen.get(step.do, 0) + 1
        ids.append(step.do if seen[step.do] == 1 else f"{step.do}#{seen[step.do]}")
    return ids


def read_step(given: Any, where: str) -> Step:
    """A step from what a policy file holds, or from Python; checked.

    Args:
        given: a mapping such as `{"do": "hflip", "p": 0.5}`, or a `Step`.
        where: its place, for the messages.

    Raises:
        ConfigError: naming the place and, for an unknown name, the nearest.
    """
    if isinstance(given, Step):
        # Built in Python, where nothing checked its types and ranges.
        given = {**given.params, "do": given.do, "p": given.p, "id": given.id}
    if not isinstance(given, Mapping) or not isinstance(given.get("do"), str):
        raise ConfigError(f"{where}: expected a step such as {{do: hflip, p: 0.5}}, got {given!r}.")
    own = {key: given[key] for key in _OWN if key in given}
    params = check_params(own["do"], {key: value for key, value in given.items() if key not in _OWN}, where)
    return build(Step, {**own, "params": params}, f"{where} ({own['do']})")


def check_params(do: str, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The parameters in plain values, typed as the transform has them.

    Raises:
        ConfigError: if the transform or a parameter is unknown, or a value makes no sense.
    """
    try:
        declaration(do)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    # By way of JSON, which knows no tuples: what is read back is then equal.
    plain = msgspec.json.decode(msgspec.json.encode(make(do, params, f"{where} ({do})")))
    for key, value in params.items():
        if not _finite(value):
            raise ConfigError(f"{where} ({do}): {key}: expected finite numbers, got {value!r}.")
    return {key: plain[key] for key in params}


def transforms_of(steps: Iterable[Step]) -> set[str]:
    """The names of the transforms at work, those included that a step may choose from, or is made of."""
    found: set[str] = set()
    for step in steps:
        found.add(step.do)
        within = getattr(instance(step.do, step.params), "names", None)
        if within is not None:
            found.update(within())
    return found


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
