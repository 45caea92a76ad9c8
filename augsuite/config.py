"""From YAML to typed structs, with the path and the nearest name in each error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from augsuite.errors import ConfigError, nearest
from augsuite.spec import OptionSpec

T = TypeVar("T")

_AT = re.compile(r"^(?P<problem>.*?)(?: - at (?:`key` in )?`\$?(?P<path>[^`]*)`)?$", re.DOTALL)


class _Loader(yaml.SafeLoader):
    """YAML 1.1, in which `1e-3` is a number, too: for want of a point it would be a text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+][0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Any:
    """Parse a YAML file, or a JSON file by its suffix, into plain values.

    Raises:
        ConfigError: if the file is missing, or is no YAML; says line and column.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if path.suffix.lower() == ".json":  # to YAML 1.1 the JSON number 1e-05 is a text
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{path}: not valid JSON: {error}.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML text into plain values.

    Args:
        text: the YAML.
        where: the name of its source, for the message.

    Raises:
        ConfigError: with line and column.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{where}{place}: not valid YAML: {problem}.") from error


def build(kind: type[T], values: Any, where: str, what: str = "setting") -> T:
    """Make a struct of plain values, checking names, types and ranges.

    Args:
        kind: a `msgspec.Struct`.
        values: a mapping with string keys.
        where: what the values belong to, such as `ssd.yaml: steps[2] (iou_crop)`.
        what: what a field is called in the message: "setting", "parameter", ...

    Raises:
        ConfigError: naming the place and, for an unknown name, the nearest one.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected names and values, got {type(values).__name__}.")
    known = [field.encode_name for field in msgspec.structs.fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: unknown {what} {key!r}. {nearest(str(key), known)}")
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        match = _AT.match(str(error))
        problem, path = (match["problem"], match["path"]) if match else (str(error), None)
        place = f"{where}: {path.lstrip('.')}" if path else where
        end = "" if problem.endswith((".", "?")) else "."
        raise ConfigError(f"{place}: {problem[:1].lower()}{problem[1:].replace('`', '')}{end}") from error


def check_options(where: str, declared: Iterable[OptionSpec], given: Mapping[str, str]) -> None:
    """Check options against a declaration.

    Args:
        where: what they are for, such as `read csv`.
        declared: those that exist.
        given: name -> value.

    Raises:
        ConfigError: naming the option and, for an unknown name or value, the nearest one.
    """
    known = {option.name: option for option in declared}
    for name, value in given.items():
        if name not in known:
            raise ConfigError(f"{where}: unknown option {name!r}. {nearest(name, known)}")
        choices = known[name].choices
        if choices and value not in choices:
            raise ConfigError(f"{where}: option {name}: unknown value {value!r}. {nearest(value, choices)}")


def to_plain(value: Any) -> Any:
    """A struct as plain values that YAML and JSON can hold."""
    return msgspec.to_builtins(value)
