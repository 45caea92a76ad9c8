"""What a transform's parameters are, read from its schema: for forms. Nothing here imports FiftyOne."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import yaml
from msgspec import inspect as types

from augsuite import AugsuiteError, ConfigError
from augsuite.augment.policies import Policy, bundled, policy
from augsuite.augment.saved import saved
from augsuite.augment.transforms import declared

Kind = Literal["bool", "int", "float", "choice", "text", "numbers", "yaml"]

PARTS = ("first", "second", "third", "fourth")
"""What the numbers of a parameter of several are called in a form."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a transform.

    Attributes:
        name: as a policy's step spells it.
        kind: what it is asked for with: `numbers` are two to four, `yaml` is anything else, as YAML.
        default: a plain value; None where there is none.
        about: one line.
        low: the least value of a number; None for none.
        high: the largest.
        whole: numbers are whole.
        count: how many numbers.
        choices: the values of a choice.
        required: it has no default.
    """

    name: str
    kind: Kind
    default: Any = None
    about: str = ""
    low: float | None = None
    high: float | None = None
    whole: bool = False
    count: int = 1
    choices: tuple[str, ...] = ()
    required: bool = False


def transforms() -> dict[str, str]:
    """The transforms that a step can name, ours before guests: name -> what it does."""
    known = {name: spec.summary for name, spec in declared().items() if not spec.unavailable and spec.kind != "batch"}
    return dict(sorted(known.items(), key=lambda pair: ("." in pair[0], pair[0])))


def policies() -> dict[str, str]:
    """The policies that can be named: bundled ones, then saved ones: name -> what it does."""
    return {name: spec.summary for name, spec in bundled().items()} | dict.fromkeys(saved(), "saved by you")


def parameters(transform: str) -> list[Parameter]:
    """The parameters of a transform.

    Raises:
        ConfigError: if there is none of that name.
        MissingExtraError: if it needs a package that is not installed.
    """
    # By way of a step, which words what is wrong with the name.
    kind = _kind_of(transform)
    about = _about(kind)
    return [_parameter(field, about.get(field.name, "")) for field in types.type_info(kind).fields]  # type: ignore[attr-defined]  # a Struct's


def _kind_of(transform: str) -> type[Any]:
    if transform not in declared():
        policy([{"do": transform}])  # says so, with the nearest name
    return declared()[transform].params.load()


def chosen(params: Mapping[str, Any]) -> Policy:
    """The policy that a form asks for.

    Args:
        params: `how` is `policy`, `step` or `yaml`; with `policy`, a name; with `yaml`, a policy file's text; with `step`, a transform's
            name, its probability `p` and its parameters under the name that `form_name` gives.

    Raises:
        AugsuiteError: if there is no such policy or step, or a parameter makes no sense.
    """
    how = params.get("how") or "policy"
    if how == "policy":
        return policy(str(params.get("policy") or "flip"))
    if how == "yaml":
        text = str(params.get("yaml") or "")
        if not text.strip():
            raise ConfigError("paste a policy: a list of steps such as '- {do: hflip, p: 0.5}'.")
        return Policy.from_yaml(text, "the policy")
    name = str(params.get("step") or "hflip")
    given = given_values(name, params.get(form_name(name)) or {})
    chance = params.get("p")
    step = {"do": name, **given, **({} if chance in {None, 1} else {"p": float(chance)})}
    found = policy([step])
    return msgspec.structs.replace(found, name=name)


def form_name(transform: str) -> str:
    """The name of the part of a form that holds a transform's parameters: each has its own, so that none sees another's values."""
    return "of_" + re.sub(r"\W", "_", transform)


def given_values(transform: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that differ from their defaults, out of what a form holds.

    Raises:
        ConfigError: if a text is no YAML.
    """
    found = {}
    for each in parameters(transform):
        value = values.get(each.name)
        if each.kind == "numbers" and isinstance(value, Mapping):
            numbers = [value.get(part) for part in PARTS[: each.count]]
            defaults = each.default or [None] * each.count
            value = [default if number is None else number for number, default in zip(numbers, defaults, strict=True)]
        elif each.kind == "yaml" and isinstance(value, str):
            value = _read(value, each) if value.strip() else None
        if value is not None and value != each.default:
            found[each.name] = value
    return found


def _read(text: str, each: Parameter) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"{each.name}: not YAML ({said}). Write it as in a policy file.") from error


def one_line(error: AugsuiteError) -> str:
    """An error for a form."""
    return " ".join(str(error).split())


def flow(value: Any) -> str:
    """A plain value as YAML in one line."""
    if value is None:
        return ""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def _parameter(field: types.Field, about: str) -> Parameter:
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    required = default is msgspec.NODEFAULT
    plain = None if required else msgspec.to_builtins(default)
    plain = list(plain) if isinstance(plain, tuple) else plain
    shape = _shape(field.type, plain)
    return Parameter(field.name, default=plain, about=about, required=required, **shape)


def _shape(kind: types.Type, default: Any) -> dict[str, Any]:
    if isinstance(kind, types.BoolType) or isinstance(default, bool):
        return {"kind": "bool"}
    if isinstance(kind, types.IntType | types.FloatType):
        low, high = _limits(kind)
        whole = isinstance(kind, types.IntType)
        return {"kind": "int" if whole else "float", "low": low, "high": high, "whole": whole}
    if isinstance(kind, types.LiteralType) and all(isinstance(value, str) for value in kind.values):
        return {"kind": "choice", "choices": tuple(map(str, kind.values))}
    if isinstance(kind, types.TupleType) and 1 < len(kind.item_types) <= len(PARTS):
        items = kind.item_types
        if all(isinstance(item, types.IntType | types.FloatType) for item in items):
            low, high = _limits(items[0])
            whole = all(isinstance(item, types.IntType) for item in items)
            return {"kind": "numbers", "low": low, "high": high, "whole": whole, "count": len(items)}
    if isinstance(kind, types.StrType):
        return {"kind": "text"}
    # Also a guest's, which says nothing of its type: its default does, but a range may be meant as well.
    return {"kind": "yaml"}


def _limits(kind: types.Type) -> tuple[float | None, float | None]:
    """The least and the largest value that a form offers; the transform itself refuses a limit that is not part of the range."""
    low = kind.ge if kind.ge is not None else kind.gt  # type: ignore[attr-defined]  # a number's
    high = kind.le if kind.le is not None else kind.lt  # type: ignore[attr-defined]
    return low, high


def _about(kind: type[Any]) -> dict[str, str]:
    """What the docstring says of each attribute, as one line."""
    text = inspect.getdoc(kind) or ""
    _, _, rest = text.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if line.strip() and not line.startswith("    "):
            break
        entry = re.match(r"    (\w+): (.*)", line)
        if entry:
            name = entry[1]
            found[name] = entry[2].strip()
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found
