"""`augsuite formats`, `transforms` and `trainers`: what is there, and which plugin brings it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from augsuite import registry
from augsuite.commands.console import json_option, print_json, print_table


def show(hook: str, specs: Mapping[str, Any], fields: Sequence[str], *, as_json: bool) -> None:
    """Print declarations.

    Args:
        hook: the hook that declared them.
        specs: name -> declaration.
        fields: attributes shown between the name and the summary.
        as_json: print all plain attributes as JSON instead of a table.
    """
    found = registry.default()
    owners = {name: found.owner(hook, name) for name in specs}
    if as_json:
        print_json([{**plain(spec), "plugin": owners[name]} for name, spec in specs.items()])
        return
    rows = [
        [name, *(str(getattr(spec, field)) for field in fields), spec.summary, owners[name]]
        for name, spec in specs.items()
    ]
    print_table(["name", *fields, "summary", "plugin"], rows)


def plain(spec: Any) -> dict[str, Any]:
    """A declaration as plain values; references are given as `package.module:attribute`."""
    values = {}
    for field in type(spec).__dataclass_fields__:
        value = getattr(spec, field)
        if hasattr(value, "target"):
            value = value.target
        elif isinstance(value, frozenset):
            value = sorted(value)
        elif isinstance(value, tuple):
            value = [plain(item) if hasattr(item, "__dataclass_fields__") else item for item in value]
        values[field] = value
    return values


@click.command()
@json_option
def formats(as_json: bool) -> None:
    """List the dataset formats."""
    specs = registry.default().formats()
    if as_json:
        show("augsuite_formats", specs, (), as_json=True)
        return
    rows = [
        [
            name,
            "read, write" if spec.writable else "read",
            spec.summary,
            registry.default().owner("augsuite_formats", name),
        ]
        for name, spec in specs.items()
    ]
    print_table(["name", "can", "summary", "plugin"], rows)
    options = [
        [name, f"{option.name}={'|'.join(option.choices) or '...'}", option.on, option.summary]
        for name, spec in specs.items()
        for option in spec.options
    ]
    if options:
        click.echo()
        print_table(["format", "option", "on", "summary"], options)


@click.command()
@json_option
@click.option("--all", "everything", is_flag=True, help="Also the guests, such as albumentations' transforms.")
def transforms(as_json: bool, everything: bool) -> None:
    """List the transforms that a policy can name."""
    specs = registry.default().transforms()
    own = {name: spec for name, spec in specs.items() if everything or as_json or "." not in name}
    show("augsuite_transforms", own, ("kind",), as_json=as_json)
    hidden = len(specs) - len(own)
    if hidden:
        click.echo(f"and {hidden} of guests: augsuite transforms --all", err=True)


@click.command()
@json_option
def trainers(as_json: bool) -> None:
    """List the trainers."""
    show("augsuite_trainers", registry.default().trainers(), ("task", "metric"), as_json=as_json)
