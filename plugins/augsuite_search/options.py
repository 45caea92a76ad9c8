"""One of several steps, or of several lists of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from augsuite.augment import Scene, Step, policy
from augsuite.augment.steps import default_ids, named, read_step, transforms_of
from augsuite.augment.transforms import declaration
from augsuite.errors import ConfigError, nearest
from augsuite_search.race import race

Weight = Annotated[float, Meta(ge=0)]


class OneOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One of several steps; which one depends on no other's draws, and neither does what it draws.

    Attributes:
        steps: the options, as a policy's steps; the `p` of an option is its chance to happen once it is chosen.
        weights: id of an option -> how likely it is, relative to the others; 1 where nothing is said.
    """

    steps: tuple[dict[str, Any], ...] = ()
    weights: dict[str, Weight] = {}

    def __post_init__(self) -> None:
        """Check the options."""
        msgspec.structs.force_setattr(self, "steps", _plain(_read(self.steps, "")))
        _check_weights(self.weights, [step.id for step in self._options])

    @cached_property
    def _options(self) -> tuple[Step, ...]:
        return _read(self.steps, "")

    @property
    def options(self) -> Mapping[str, Sequence[Step]]:
        """Name of an option -> its steps."""
        return {step.id: (step,) for step in self._options}

    def names(self) -> Iterable[str]:
        """The transforms that it may choose."""
        return transforms_of(self._options)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Sequence[Step]:
        """Choose one."""
        del scene
        chosen = race(rng, {step.id: self.weights.get(step.id, 1.0) for step in self._options})
        return [step for step in self._options if step.id == chosen]


class SubPolicies(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One of several named lists of steps, all of which happen in their order.

    Attributes:
        policies: name -> its steps, none for nothing, or the name of a bundled policy.
        weights: name -> how likely it is, relative to the others; 1 where nothing is said.

    Source: Cubuk et al. 2019, AutoAugment, section 3, arXiv:1805.09501.
    """

    policies: dict[str, str | tuple[dict[str, Any], ...]] = {}
    weights: dict[str, Weight] = {}

    def __post_init__(self) -> None:
        """Check the lists."""
        checked = {
            name: given if isinstance(given, str) else _plain(_read(given, f"policies.{name}: "))
            for name, given in self.policies.items()
        }
        msgspec.structs.force_setattr(self, "policies", checked)
        _check_weights(self.weights, list(self._options))

    @cached_property
    def _options(self) -> dict[str, tuple[Step, ...]]:
        return {
            name: _bundled(given, name) if isinstance(given, str) else _read(given, f"policies.{name}: ")
            for name, given in self.policies.items()
        }

    @property
    def options(self) -> Mapping[str, Sequence[Step]]:
        """Name of an option -> its steps."""
        return self._options

    def names(self) -> Iterable[str]:
        """The transforms that it may choose."""
        return {name for steps in self._options.values() for name in transforms_of(steps)}

    def draw(self, rng: np.random.Generator, scene: Scene) -> Sequence[Step]:
        """Choose one list."""
        del scene
        chosen = race(rng, {name: self.weights.get(name, 1.0) for name in self._options})
        steps = self._options[chosen] if chosen is not None else ()
        return [msgspec.structs.replace(step, id=f"{chosen}/{step.id}") for step in steps]


def _read(given: Sequence[Mapping[str, Any]], where: str) -> tuple[Step, ...]:
    """Steps, checked.

    Raises:
        ValueError: in one line, which `msgspec` reports as an invalid value.
    """
    try:
        steps = named([read_step(step, f"{where}steps[{place}]") for place, step in enumerate(given)], where)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    for place, step in enumerate(steps):
        if declaration(step.do).kind == "batch":
            raise ValueError(
                f"{where}steps[{place}]: {step.do} acts on a whole batch. Make it a step of the policy itself"
            )
    return steps


def _bundled(name: str, within: str) -> tuple[Step, ...]:
    """The steps of a bundled policy.

    Raises:
        ValueError: in one line, which `msgspec` reports as an invalid value.
    """
    if "." in name or "/" in name or "\\" in name:
        raise ValueError(f"policies.{within}: expected steps or the name of a bundled policy, got {name!r}")
    try:
        found = policy(name)
    except ConfigError as error:
        raise ValueError(f"policies.{within}: {error}") from error
    return found.steps


def _plain(steps: Sequence[Step]) -> tuple[dict[str, Any], ...]:
    return tuple(step.to_plain(own) for step, own in zip(steps, default_ids(steps), strict=True))


def _check_weights(weights: Mapping[str, float], names: Sequence[str]) -> None:
    for name in weights:
        if name not in names:
            raise ValueError(f"weights: there is no option {name!r}. {nearest(name, names)}")
    if names and not any(weights.get(name, 1.0) > 0 for name in names):
        raise ValueError("weights: all are 0, so that nothing can be chosen")
