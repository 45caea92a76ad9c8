"""`augsuite policies`: the bundled ones; policies from other libraries' pipelines, and the other way round."""

from __future__ import annotations

from pathlib import Path

import click

from augsuite import registry
from augsuite.commands.console import json_option, print_table
from augsuite.commands.listings import show


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def policies(context: click.Context, as_json: bool) -> None:
    """List the bundled policies; bring one in from another library, or take one there."""
    if context.invoked_subcommand is not None:
        return
    specs = registry.default().policies()
    if as_json:
        show("augsuite_policies", specs, (), as_json=True)
        return
    rows = [
        [name, " > ".join(str(step["do"]) for step in spec.steps) or "-", spec.summary, spec.source]
        for name, spec in specs.items()
    ]
    print_table(["name", "steps", "summary", "source"], rows)


@policies.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write here, not to stdout.")
@click.option("--skip-unknown", is_flag=True, help="Leave out what has no equivalent, counted, instead of stopping.")
def import_(file: Path, output: Path | None, skip_unknown: bool) -> None:
    """Print the policy that a pipeline saved by albumentations comes to.

    FILE is what `A.save` wrote, JSON or YAML. Any command that takes a policy takes such a file too.
    """
    from augsuite.augment import pipelines, policy
    from augsuite.config import read_yaml

    plain, found = pipelines.load(read_yaml(file), file.stem, skip_unknown=skip_unknown)
    _write(policy(plain).to_yaml(), output)
    for line in found.notes:
        click.echo(f"note: {line}", err=True)
    for line in found.unknown:
        click.echo(f"skipped: {line}", err=True)
    if found.unknown:
        click.echo(f"skipped {len(found.unknown)} of {found.total} transforms", err=True)


@policies.command("export")
@click.argument("policy")
@click.option("--to", "library", required=True, help="albumentations or torchvision.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write here, not to stdout.")
def export(policy: str, library: str, output: Path | None) -> None:
    """Print a pipeline of another library that does what POLICY does.

    For albumentations it is the JSON that `A.load` reads; for torchvision it is Python.
    """
    from augsuite.augment import pipelines
    from augsuite.augment import policy as find_policy

    found = pipelines.export(find_policy(policy), library)
    _write(found.text, output)
    for line in found.notes:
        click.echo(f"note: {line}", err=True)


def _write(text: str, output: Path | None) -> None:
    from augsuite.dataset.saving import save_text

    if output is None:
        click.echo(text, nl=False)
        return
    save_text(text, output)
    click.echo(output)
