"""`augsuite study show`, and how what a study found is printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from augsuite import registry
from augsuite.commands.console import json_option, print_json, print_table
from augsuite.spec import Ref

if TYPE_CHECKING:
    from augsuite.dataset.parallel import Retried
    from augsuite.study.summary import Summary


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Print what the study in FOLDER found so far."""
    from augsuite.study.store import Store

    store = Store(folder)
    state = store.state()
    print_summary(part("summary:summarize")(state, store), as_json)
    if not as_json and (folder / "report.html").exists():
        tell_where(folder)


def tell_where(folder: Path) -> None:
    """Say where the report is, and how to look at the images."""
    click.echo(f"report: {folder / 'report.html'}\nlook: {shlex.join(['augsuite', 'view', str(folder)])}")


def part(target: str) -> Any:
    """A part of the study that needs scipy or jinja2, with a clear line where they are not installed."""
    part: Ref[Any] = Ref(f"augsuite.study.{target}")
    return registry.load(part, "augsuite study", "train")


def print_summary(summary: Summary, as_json: bool, retried: Sequence[Retried] | None = None) -> None:
    """Print what a study found so far: the table on stdout, what failed on stderr.

    Args:
        summary: what it found.
        as_json: print JSON in place of the table.
        retried: runs that were tried again just now, for the JSON; None where nothing was run.
    """
    if as_json:
        more = {} if retried is None else {"retried": [asdict(each) for each in retried]}
        print_json({**msgspec.to_builtins(summary), **more})
        return
    headings, rows = part("summary:table")(summary)
    print_table(headings, rows, right=frozenset({1, headings.index("seeds"), headings.index("ms/image")}))
    for heading, lines in part("summary:contrast_lines")(summary):
        click.echo(f"\n{heading}")
        for line in lines:
            click.echo(f"  {line}")
    for name, error in summary.errors.items():
        click.echo(f"failed: {name}: {error}", err=True)
    missing = sum(arm.missing for arm in summary.arms)
    if missing:
        click.echo(f"{missing} of {len(summary.state.runs)} runs are not trained yet.", err=True)
