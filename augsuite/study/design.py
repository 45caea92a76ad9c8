"""Designs: arms that follow from a rule, as the tables of papers do.

| rule | arms | reference |
| --- | --- | --- |
| `add-one` | the base with each thing alone | the base |
| `leave-one-out` | everything but each thing | everything |
| `cumulative` | the base with the first thing, the first two, ...: Zhang et al. 2019, arXiv:1902.04103, table 2; He et al. 2019, \
arXiv:1812.01187, table 6 | the base |
| `grid` | the base with one thing at several strengths, probabilities or settings | the base |
| `factorial` | the base with each thing alone and with each pair, to see whether two interact | the base |

A *thing* is a step, several steps, a policy by name, or settings of the trainer: tricks of training are measured like augmentations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from augsuite.augment import Policy, Step
from augsuite.augment.steps import named, read_step
from augsuite.config import build
from augsuite.errors import ConfigError, nearest
from augsuite.study.arms import Arm, is_arm, read_arm, read_policy

Rule = Literal["add-one", "leave-one-out", "cumulative", "grid", "factorial"]

_FRAME = ("resize", "letterbox", "normalize")
"""Transforms that shape what the network is given; no rule leaves them out, and what is added goes before those at the end."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """The arms that one rule made; what they mean together.

    Attributes:
        rule: its name.
        reference: the arm that they start from.
        arms: in their order, without `reference`.
        at: of a grid: the values of each of `arms`, by the name of what is varied.
        pairs: of a factorial design: two arms, and the one that has what both have.
    """

    rule: Rule
    reference: str
    arms: list[str]
    at: list[dict[str, Any]] = []
    pairs: list[tuple[str, str, str]] = []


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """`add-one`, `cumulative` and `factorial`.

    Attributes:
        steps: what is added: steps, lists of steps, names of policies, or `{name: ..., steps: ..., config: ...}`.
        base: the arm that it is added to.
        rule: the rule.
    """

    steps: list[Any]
    base: Any = None
    rule: str = ""


class Full(msgspec.Struct, frozen=True, kw_only=True):
    """`leave-one-out`.

    Attributes:
        full: the arm with everything.
        keep: ids of steps, and names of settings, that stay in every arm.
        rule: the rule.
    """

    full: Any
    keep: list[str] = []
    rule: str = ""


class Grid(msgspec.Struct, frozen=True, kw_only=True):
    """`grid`.

    Attributes:
        base: the arm that is varied.
        step: what `over` varies: a step, which is added to the base, or the id of one that the base has.
        over: parameter of the step, or `p` -> values.
        config: setting of the trainer -> values.
        rule: the rule.
    """

    base: Any = None
    step: Any = None
    over: dict[str, list[Any]] = {}
    config: dict[str, list[Any]] = {}
    rule: str = ""


RULES: Mapping[str, type[Base | Full | Grid]] = {
    "add-one": Base,
    "leave-one-out": Full,
    "cumulative": Base,
    "grid": Grid,
    "factorial": Base,
}
"""Rule -> what a study file says of it."""


@dataclass(frozen=True)
class Setting:
    """What arms are read against.

    Attributes:
        folder: of the study file.
        trainer: the trainer's name.
        config: the study's settings of it.
    """

    folder: Path
    trainer: str
    config: Mapping[str, Any]

    def arm(self, value: Any, name: str, common: Any = None) -> Arm:
        """See `augsuite.study.arms.read_arm`."""
        return read_arm(value, name, self.folder, self.trainer, self.config, common)


@dataclass
class Designed:
    """What the arms of a study file come to.

    Attributes:
        arms: by name, in order.
        series: one for each rule.
    """

    arms: dict[str, Arm] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)

    def add(self, name: str, arm: Arm) -> None:
        """Add an arm; one that is there already may come again.

        Raises:
            ConfigError: if another arm has the name.
        """
        known = self.arms.setdefault(name, arm)
        if known.config != arm.config or known.policy.steps != arm.policy.steps:
            raise ConfigError(f"arms: two different arms would be called {name!r}. Give one of them a name of its own.")


@dataclass(frozen=True)
class Part:
    """Something that is added or varied.

    Attributes:
        name: for the arm's.
        steps: their ids are those that they have in every arm.
        config: settings of the trainer.
    """

    name: str
    steps: tuple[Step, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def is_rule(value: Any) -> bool:
    """Whether the arms of a study file, or an entry of their list, are a rule and no arms by name."""
    return isinstance(value, Mapping) and isinstance(value.get("rule"), str) and value["rule"] in RULES


def expand(value: Mapping[str, Any], setting: Setting, where: str, into: Designed) -> None:
    """Make the arms of one rule.

    Args:
        value: `rule` and what it says, as in a study file.
        setting: what arms are read against.
        where: its place, for the messages.
        into: takes the arms, and their series.

    Raises:
        ConfigError: for an unknown name or a value that makes no sense; says where.
    """
    rule = value["rule"]
    said = build(RULES[rule], value, where)
    if isinstance(said, Full):
        into.series.append(_leave_one_out(said, setting, where, into.add))
    elif isinstance(said, Grid):
        into.series.append(_grid(said, setting, where, into.add))
    else:
        into.series.append(_add(rule, said, setting, where, into.add))


Add = Callable[[str, Arm], None]


def _add(rule: Rule, said: Base, setting: Setting, where: str, add: Add) -> Series:
    """`add-one`, `cumulative`, `factorial`."""
    name = _name_of(said.base, "base")
    base = setting.arm(said.base, name)
    parts = _parts(said.steps, base, setting, f"{where}.steps")
    if rule == "factorial" and len(parts) < 2:
        raise ConfigError(f"{where}.steps: a factorial design needs at least two, got {len(parts)}.")
    add(name, base)
    arms: list[str] = []
    pairs: list[tuple[str, str, str]] = []

    def put(arm: str, chosen: Sequence[Part]) -> None:
        add(arm, _with(base, chosen, setting, arm))
        arms.append(arm)

    if rule == "cumulative":
        for count, part in enumerate(parts, 1):
            put(f"+{part.name}", parts[:count])
        return Series(rule=rule, reference=name, arms=arms)
    for part in parts:
        put(part.name, [part])
    if rule == "factorial":
        for first, second in itertools.combinations(parts, 2):
            both = f"{first.name} + {second.name}"
            put(both, [first, second])
            pairs.append((first.name, second.name, both))
    return Series(rule=rule, reference=name, arms=arms, pairs=pairs)


def _leave_one_out(said: Full, setting: Setting, where: str, add: Add) -> Series:
    full = setting.arm(said.full, "full")
    steps = {step.id: step for step in full.policy.steps}
    for kept in said.keep:
        if kept not in steps and kept not in full.config:
            raise ConfigError(f"{where}.keep: there is no {kept!r}. {nearest(kept, [*steps, *full.config])}")
    add("full", full)
    arms = []
    for left, step in steps.items():
        if step.do not in _FRAME and left not in said.keep:
            policy = msgspec.structs.replace(
                full.policy, steps=tuple(other for other in full.policy.steps if other.id != left)
            )
            add(f"-{left}", replace(full, policy=policy))
            arms.append(f"-{left}")
    for left in full.config:
        if left not in said.keep:
            rest = {key: value for key, value in full.config.items() if key != left}
            add(f"-{left}", replace(full, config=rest))
            arms.append(f"-{left}")
    if not arms:
        raise ConfigError(f"{where}.full: there is nothing to leave out. Give a policy with steps, or settings.")
    return Series(rule="leave-one-out", reference="full", arms=arms)


def _grid(said: Grid, setting: Setting, where: str, add: Add) -> Series:
    if bool(said.over) != (said.step is not None) or not (said.over or said.config):
        raise ConfigError(f"{where}: a grid needs a step and over (its parameters or p), or config, each with values.")
    name = _name_of(said.base, "base")
    base = setting.arm(said.base, name)
    inside = isinstance(said.step, str)
    ids = {step.id: step for step in base.policy.steps}
    if inside and said.step not in ids:
        raise ConfigError(f"{where}.step: the base has no step {said.step!r}. {nearest(said.step, ids)}")
    step = ids[said.step].to_plain("") if inside else said.step
    for key, values in {**said.over, **said.config}.items():
        if not values:
            raise ConfigError(f"{where}: {key}: no values. Give a list such as [0.25, 0.5, 1].")
    add(name, base)
    arms: list[str] = []
    at: list[dict[str, Any]] = []
    for chosen in itertools.product(*said.over.values(), *said.config.values()):
        doses = dict(zip([*said.over, *said.config], chosen, strict=True))
        over = {key: doses[key] for key in said.over}
        config = {key: doses[key] for key in said.config}
        if inside:
            changed = read_step({**step, **over}, f"{where}.step")
            varied = tuple(changed if other.id == said.step else other for other in base.policy.steps)
            start = replace(base, policy=msgspec.structs.replace(base.policy, steps=varied))
            part = Part(said.step, (), config)
            made = _with(start, [part], setting, name)
        else:
            given = [{**step, **over}] if isinstance(step, Mapping) else [] if step is None else [step]
            part = Part(*_steps_of(given, base, f"{where}.step"), config)
            made = _with(base, [part], setting, name)
        arm = f"{part.name} {_words(doses)}" if said.over else _words(doses)
        add(arm, made)
        arms.append(arm)
        at.append(doses)
    return Series(rule="grid", reference=name, arms=arms, at=at)


def _steps_of(given: Sequence[Any], base: Arm, where: str) -> tuple[str, tuple[Step, ...]]:
    """Name and steps, with the ids that they have after those of the base."""
    steps = tuple(read_step(step, where) for step in given)
    known = len(base.policy.steps)
    return "+".join(step.do for step in steps), named((*base.policy.steps, *steps), f"{where}: ")[known:]


def _parts(given: Sequence[Any], base: Arm, setting: Setting, where: str) -> list[Part]:
    """What a rule adds, each with its name and with the ids that its steps have in every arm."""
    if not given:
        raise ConfigError(f"{where}: nothing to add. List steps, policies or settings.")
    read = [_part(value, setting, f"{where}[{place}]") for place, value in enumerate(given)]
    # Ids over everything at once: a step draws the same alone as beside others of its transform.
    everything = named((*base.policy.steps, *(step for part in read for step in part.steps)), f"{where}: ")
    rest = iter(everything[len(base.policy.steps) :])
    parts: list[Part] = []
    seen: dict[str, int] = {}
    for part in read:
        seen[part.name] = seen.get(part.name, 0) + 1
        name = part.name if seen[part.name] == 1 else f"{part.name}#{seen[part.name]}"
        parts.append(Part(name, tuple(itertools.islice(rest, len(part.steps))), part.config))
    return parts


def _part(value: Any, setting: Setting, where: str) -> Part:
    if isinstance(value, str):
        # A policy's steps may have the transform of another's: their ids are given anew.
        steps = read_policy(value, setting.folder, value, where).steps
        return Part(Path(value).stem if value.endswith((".yaml", ".yml")) else value, _without_ids(steps))
    if isinstance(value, Sequence):
        value = {"steps": value}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected a step, a list of steps, a policy's name or settings, got {value!r}.")
    if "do" in value:
        value = {"steps": [value]}
    if unknown := sorted(set(value) - {"name", "steps", "config"}):
        known = ("do", "name", "steps", "config")
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}. {nearest(unknown[0], known)}")
    listed = value.get("steps") or []
    if isinstance(listed, str):
        inner = _part(listed, setting, f"{where}.steps")
    elif isinstance(listed, Sequence):
        steps = tuple(read_step(step, where) for step in listed)
        inner = Part("+".join(step.do for step in steps), steps)
    else:
        raise ConfigError(f"{where}.steps: expected a list of steps or a policy's name, got {listed!r}.")
    config = value.get("config") or {}
    if not isinstance(config, Mapping):
        raise ConfigError(f"{where}.config: expected names and values, got {config!r}.")
    if not inner.steps and not config:
        raise ConfigError(f"{where}: nothing to add. Give steps, settings under config, or both.")
    own = " ".join(word for word in (inner.name, _words(config)) if word)
    return Part(str(value.get("name") or own), inner.steps, dict(config))


def _with(base: Arm, parts: Sequence[Part], setting: Setting, name: str) -> Arm:
    """The base with what is added; steps go before those at its end that shape what the network is given."""
    steps = list(base.policy.steps)
    end = len(steps)
    while end and steps[end - 1].do in _FRAME:
        end -= 1
    added = [step for part in parts for step in part.steps]
    policy: Policy = msgspec.structs.replace(base.policy, name=name, steps=(*steps[:end], *added, *steps[end:]))
    config = {**base.config, **{key: value for part in parts for key, value in part.config.items()}}
    return setting.arm({"policy": policy, "config": config}, name)


def _without_ids(steps: Sequence[Step]) -> tuple[Step, ...]:
    return tuple(msgspec.structs.replace(step, id="") for step in steps)


def _name_of(value: Any, otherwise: str) -> str:
    """What the arm that a rule starts from is called."""
    if value is None:
        return "none"
    if is_arm(value) and value.get("policy") is None and not value.get("config"):
        return "none"
    return value if isinstance(value, str) and not value.endswith((".yaml", ".yml")) else otherwise


def _words(values: Mapping[str, Any]) -> str:
    """`p=0.5 max_angle=10`, as arms of a grid are called."""
    return " ".join(f"{key}={_word(value)}" for key, value in values.items())


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")
