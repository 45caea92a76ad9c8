"""Transforms by name: their kind, and instances made of plain parameters."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec

from augsuite import registry
from augsuite.config import build
from augsuite.spec import TransformSpec


def declared() -> Mapping[str, TransformSpec]:
    """All transforms by name."""
    return registry.default().transforms()


@functools.lru_cache(maxsize=1024)
def declaration(name: str) -> TransformSpec:
    """The declaration of a transform.

    Raises:
        ConfigError: if there is none of that name; says the nearest.
    """
    return registry.find("transform", registry.default().transforms(), name)


def make(name: str, params: Mapping[str, Any], where: str) -> Any:
    """Make a transform of its parameters, checked.

    Args:
        name: the transform.
        params: plain values.
        where: what they belong to, for the message.

    Raises:
        ConfigError: for an unknown parameter or a value of the wrong type or range.
        MissingExtraError: if the transform needs a package that is not installed.
    """
    kind = registry.load(declaration(name).params, f"transform {name}", "augment")
    return build(kind, params, where, "parameter")


def instance(name: str, params: Mapping[str, Any]) -> Any:
    """The transform with these parameters; made once in this process and shared, since it is frozen."""
    return _instance(name, msgspec.json.encode(params))


@functools.lru_cache(maxsize=1024)
def _instance(name: str, params: bytes) -> Any:
    return make(name, msgspec.json.decode(params), name)
