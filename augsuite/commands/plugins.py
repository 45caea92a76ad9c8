"""`augsuite plugins`: what is loaded, what it brings, and what went wrong."""

from __future__ import annotations

from collections import defaultdict

import click

from augsuite import registry
from augsuite.commands.console import json_option, print_json, print_table
from augsuite.errors import PluginError, nearest


@click.command()
@json_option
def plugins(as_json: bool) -> None:
    """List the plugins, and what went wrong with them."""
    found = registry.default()
    brings: dict[str, dict[str, list[str]]] = defaultdict(dict)
    clashes = []
    for hook in registry.HOOKS:
        kind = hook.removeprefix("augsuite_")
        try:
            names = getattr(found, kind)()
        except PluginError as error:
            clashes.append(str(error))
            continue
        for name in names:
            brings[found.owner(hook, name)].setdefault(kind, []).append(name)
    versions = found.plugins()
    unknown = sorted(found.disabled.difference(found.blocked))
    if as_json:
        print_json(
            {
                "plugins": [{"name": name, "version": versions[name], "brings": brings[name]} for name in versions],
                "failures": [
                    {"plugin": failure.plugin, "stage": failure.stage, "message": failure.message}
                    for failure in found.failures
                ],
                "clashes": clashes,
                "disabled": found.blocked,
                "unknown": unknown,
            }
        )
        return
    rows = [
        [name, versions[name] or "-", "; ".join(f"{kind}: {_some(listed)}" for kind, listed in brings[name].items())]
        for name in versions
    ]
    print_table(["plugin", "version", "brings"], rows)
    for failure in found.failures:
        click.echo(f"failed: {failure.plugin} ({failure.stage}): {failure.message}")
    for clash in clashes:
        click.echo(f"clash: {clash}")
    for name in found.blocked:
        click.echo(f"disabled: {name} (AUGSUITE_DISABLE_PLUGINS)")
    for name in unknown:
        hint = nearest(name, {*versions, *found.blocked} - {registry.BUILTIN})
        click.echo(f"unknown: AUGSUITE_DISABLE_PLUGINS names {name!r}, and no plugin is called so. {hint}")


def _some(names: list[str], limit: int = 8) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
