"""Arms: what a study compares. A policy, and the trainer's settings in which an arm differs from the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import msgspec

from augsuite.augment import Policy, policy
from augsuite.config import to_plain
from augsuite.errors import ConfigError
from augsuite.study.session import settings_of

_KEYS = {"policy", "config"}


class PlainArm(msgspec.Struct, frozen=True, kw_only=True):
    """An arm as `study.json` keeps it, and as it travels to a worker.

    Attributes:
        policy: as plain values.
        config: the trainer's settings in which the arm differs from the study's.
    """

    policy: dict[str, Any]
    config: dict[str, Any] = {}


@dataclass(frozen=True)
class Arm:
    """One of the things compared.

    Attributes:
        policy: how its training images are augmented.
        config: the trainer's settings in which it differs from the study's, as plain values.
    """

    policy: Policy
    config: Mapping[str, Any] = field(default_factory=dict)

    def to_plain(self) -> PlainArm:
        """The same in plain values."""
        return PlainArm(policy=self.policy.to_plain(), config=dict(self.config))


def read_arm(value: Any, name: str, folder: Path, trainer: str, config: Mapping[str, Any], common: Any) -> Arm:
    """Read one arm of a study file.

    Args:
        value: a policy (its name, a YAML file, a list of steps, a whole policy; None for no steps), or a mapping of `policy` and
            `config`, each of which may be left out.
        name: of the arm.
        folder: where the file of a policy is looked for.
        trainer: the trainer's name.
        config: the study's settings of it that differ from its defaults.
        common: the policy, as above, of an arm that says `config` alone.

    Raises:
        ConfigError: for an unknown name, setting or value; begins with `arms`.
    """
    given = value if is_arm(value) else {"policy": value}
    if unknown := sorted(set(given) - _KEYS):
        raise ConfigError(
            f"arms.{name}: {unknown[0]} beside config. Give an arm with settings as {{policy: ..., config: ...}}."
        )
    changed = given.get("config") or {}
    if not isinstance(changed, Mapping):
        raise ConfigError(f"arms.{name}.config: expected names and values, got {type(changed).__name__}.")
    base = to_plain(settings_of(trainer, config))
    try:
        merged = to_plain(settings_of(trainer, {**config, **changed}))
    except ConfigError as error:
        raise ConfigError(f"arms.{name}.config: {error}") from error
    differing = {key: merged[key] for key in merged if merged[key] != base.get(key)}
    return Arm(read_policy(given.get("policy", common), folder, name, f"arms.{name}"), differing)


def is_arm(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether a value of a study file is a policy with settings, and no policy alone."""
    return isinstance(value, Mapping) and ("config" in value or set(value) <= _KEYS)


def read_policy(value: Any, folder: Path, name: str, where: str) -> Policy:
    """Read a policy as a study file gives it: see `read_arm`.

    Args:
        value: the policy.
        folder: where its file is looked for.
        name: what it is called if it has no name.
        where: its place, for the messages.

    Raises:
        ConfigError: for an unknown name or value; begins with its place.
    """
    if value is None:
        value = "none"
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        value = folder / value
    if isinstance(value, list):
        value = {"steps": value}
    if isinstance(value, dict):
        value = {"policy": name, **value}
    try:
        return policy(value)
    except ConfigError as error:
        # The error of an inline policy begins with its name already, which is the arm's.
        raise ConfigError(f"arms: {error}" if isinstance(value, dict) else f"{where}: {error}") from error
