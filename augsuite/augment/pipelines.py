"""Policies from pipelines of other libraries, and the other way round; the work is a plugin's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from augsuite import registry
from augsuite.errors import ConfigError
from augsuite.spec import PipelineSpec

if TYPE_CHECKING:
    from augsuite.augment.policies import Policy


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline, translated.

    Attributes:
        steps: as a policy file holds them.
        settings: of the policy, such as `min_visible_frac`.
        unknown: what has no equivalent, one text for each: where, what, why.
        notes: what is the same but for something worth knowing.
        total: how many transforms the pipeline has.
    """

    steps: list[dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 0


@dataclass(frozen=True, slots=True)
class Exported:
    """A policy, translated.

    Attributes:
        pipeline: the live object.
        text: what a file holds that gives the pipeline again.
        unknown: what has no equivalent, one text for each: where, what, why.
        notes: what is the same but for something worth knowing.
    """

    pipeline: Any
    text: str
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def recognised(given: Any) -> PipelineSpec | None:
    """Whose pipeline something is, live or as plain values; None for nobody's."""
    found = registry.default().pipelines()
    if isinstance(given, Mapping):
        return next((spec for spec in found.values() if spec.marks and spec.marks <= given.keys() and spec.load), None)
    spec = found.get(type(given).__module__.partition(".")[0])
    return spec if spec and spec.load else None


def load(given: Any, name: str, *, skip_unknown: bool = False) -> tuple[dict[str, Any], Loaded]:
    """Make a policy of a pipeline.

    Args:
        given: a live object, or what the library saves; `recognised` must know it.
        name: of the policy, and in messages.
        skip_unknown: leave out what has no equivalent.

    Returns:
        The policy in plain values, and what there is to say about it.

    Raises:
        ConfigError: if something has no equivalent; names all of it.
        MissingExtraError: if the library is not installed.
    """
    spec = recognised(given)
    if spec is None or spec.load is None:
        raise ConfigError(f"{name}: not a pipeline of {' or '.join(_with('load')) or 'any library'}.")
    found = registry.load(spec.load, f"a pipeline of {spec.name}", "augment")(given)
    if found.unknown and not skip_unknown:
        raise ConfigError(
            f"{name}: {len(found.unknown)} of {found.total} transforms of this {spec.name} pipeline have no equivalent: "
            f"{'; '.join(found.unknown)}. Take them out of it, or leave them out with `augsuite policies import --skip-unknown`."
        )
    return {"policy": name, **found.settings, "steps": found.steps}, found


def export(policy: Policy, to: str) -> Exported:
    """Make another library's pipeline of a policy.

    Args:
        policy: the policy.
        to: the library's name.

    Raises:
        ConfigError: if it cannot be, naming every step in the way; or for an unknown library.
        MissingExtraError: if the library is not installed.
    """
    spec = registry.find("library", {name: registry.default().pipelines()[name] for name in _with("export")}, to)
    if spec.export is None:
        raise ConfigError(f"{to}: no policy can be written as its pipeline.")
    found = registry.load(spec.export, f"a pipeline of {to}", "train" if to == "torchvision" else "augment")(policy)
    if found.unknown:
        raise ConfigError(
            f"{policy.name}: {to} has no equal of {'; '.join(found.unknown)}. Take these steps out first."
        )
    return found


def _with(way: str) -> list[str]:
    return [name for name, spec in registry.default().pipelines().items() if getattr(spec, way)]
