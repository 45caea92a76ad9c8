"""The JSON Schema of study files, with which editors complete names and mark mistakes."""

from __future__ import annotations

from typing import Any

import msgspec

from augsuite import registry
from augsuite.errors import MissingExtraError
from augsuite.study.design import RULES, Base, Full, Grid
from augsuite.study.file import Split, StudyFile

_REF = "#/$defs/{name}"


def schema() -> dict[str, Any]:
    """The schema, for the trainers, transforms and policies of this installation.

    What `study run` checks beyond it: that names agree within the file, what is in the dataset, and what transforms check together.
    """
    plugins = registry.default()
    _, parts = msgspec.json.schema_components([StudyFile, Split, Base, Full, Grid], ref_template=_REF)
    study, split = (_closed(parts[name]) for name in ("StudyFile", "Split"))
    defs: dict[str, Any] = {"Split": split, "Step": _step(), "Policy": _policy(sorted(plugins.policies()))}
    defs["Arm"] = {
        "anyOf": [
            _ref("Policy"),
            {
                "type": "object",
                "properties": {"policy": _ref("Policy"), "config": {"type": ["object", "null"]}},
                "additionalProperties": False,
            },
        ]
    }
    defs["Things"] = {"type": "array", "minItems": 1, "items": _thing()}
    defs["Rule"] = {"oneOf": [_rule(name, parts[kind.__name__]) for name, kind in RULES.items()]}
    named = {"type": "object", "additionalProperties": _ref("Arm"), "not": {"required": ["rule"]}}
    study["properties"]["arms"] = {
        "description": "Name -> arm; or a rule; or a list of both.",
        "anyOf": [named, _ref("Rule"), {"type": "array", "items": {"anyOf": [_ref("Rule"), named]}}],
    }
    study["properties"]["split"] = {"anyOf": [_ref("Split"), {"type": "null"}]}
    study["properties"]["trainer"] = {"enum": sorted(plugins.trainers()), "description": "See `augsuite trainers`."}
    conditions = []
    for name, spec in sorted(plugins.trainers().items()):
        try:
            config = registry.load(spec.config, f"trainer {name}", spec.extra)
        except MissingExtraError:
            continue  # its settings cannot be listed where it is not installed
        _, found = msgspec.json.schema_components([config], ref_template=f"#/$defs/{name}.{{name}}")
        defs |= {f"{name}.{key}": _closed(value) for key, value in found.items()}
        then = {"properties": {"config": _ref(f"{name}.{config.__name__}")}}
        conditions.append({"if": {"properties": {"trainer": {"const": name}}}, "then": then})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Study file of augsuite",
        **{key: value for key, value in study.items() if key != "title"},
        "allOf": conditions,
        "$defs": {**defs, **_steps()},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}


def _closed(part: dict[str, Any]) -> dict[str, Any]:
    return {**part, "additionalProperties": False} if part.get("type") == "object" else part


def _thing() -> dict[str, Any]:
    """What a rule adds."""
    whole = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "steps": {"anyOf": [{"type": "string"}, {"type": "array", "items": _ref("Step")}]},
            "config": {"type": "object"},
        },
        "not": {"required": ["do"]},
        "additionalProperties": False,
    }
    return {"anyOf": [{"type": "string"}, _ref("Step"), {"type": "array", "items": _ref("Step")}, whole]}


def _rule(name: str, part: dict[str, Any]) -> dict[str, Any]:
    properties = {**part["properties"], "rule": {"const": name}}
    for key, value in (("steps", _ref("Things")), ("base", _ref("Arm")), ("full", _ref("Arm"))):
        if key in properties:
            properties[key] = value
    if "step" in properties:
        properties["step"] = {"anyOf": [{"type": "string"}, _ref("Step")]}
    return {
        "type": "object",
        "description": part.get("description", ""),
        "properties": properties,
        "required": ["rule", *part.get("required", ())],
        "additionalProperties": False,
    }


def _policy(names: list[str]) -> dict[str, Any]:
    """A policy's name, its file, its steps, or all of it; a saved pipeline of another library goes by its file."""
    steps = {"type": "array", "items": _ref("Step")}
    whole = {"type": "object", "properties": {"steps": steps}, "required": ["steps"]}
    by_name = {"anyOf": [{"enum": names}, {"type": "string", "pattern": r"\.(ya?ml|json)$"}]}
    return {"anyOf": [{"type": "null"}, by_name, steps, whole]}


def _step() -> dict[str, Any]:
    """One step: by its transform, whose schema has its parameters; guests' parameters are left to `study run`."""
    known = [name for name in sorted(registry.default().transforms()) if "." not in name]
    chosen = [
        {"if": {"properties": {"do": {"const": name}}, "required": ["do"]}, "then": _ref(f"do.{name}")}
        for name in known
    ]
    do = {"type": "string", "anyOf": [{"enum": known}, {"pattern": r"\."}]}
    return {"type": "object", "required": ["do"], "properties": {"do": do}, "allOf": chosen}


def _steps() -> dict[str, Any]:
    """`do.<transform>` -> the schema of its steps."""
    found: dict[str, Any] = {}
    for name, spec in registry.default().transforms().items():
        if "." in name:
            continue
        try:
            kind = registry.load(spec.params, f"transform {name}", "augment")
        except MissingExtraError:
            found[f"do.{name}"] = {}
            continue
        _, parts = msgspec.json.schema_components([kind], ref_template=f"#/$defs/{name}.{{name}}")
        own = parts.pop(kind.__name__)
        found |= {f"{name}.{key}": value for key, value in parts.items()}
        found[f"do.{name}"] = {
            "description": spec.summary,
            "properties": {
                "do": {"const": name},
                "p": {"type": "number", "minimum": 0, "maximum": 1, "description": "Its probability."},
                "id": {"type": "string", "description": "Names its random numbers."},
                **own["properties"],
            },
            "required": ["do", *own.get("required", ())],
            "additionalProperties": False,
        }
    return found
