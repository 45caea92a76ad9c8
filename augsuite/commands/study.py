"""`augsuite study`: measure what each augmentation does."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from augsuite import registry
from augsuite.commands.console import json_option, print_json, print_table
from augsuite.spec import Ref

if TYPE_CHECKING:
    from augsuite.study.summary import Summary


@click.group()
def study() -> None:
    """Measure what each augmentation does: the same trainer on the same seeds, arm by arm."""


@study.command()
@click.argument("dataset")
@click.option("--trainer", default="ssd", show_default=True, help="The trainer; see `augsuite trainers`.")
@click.option("--name", help="Name of the study; the dataset's by default.")
def init(dataset: str, trainer: str, name: str | None) -> None:
    """Print a commented study file for DATASET; redirect it to a file and edit it.

    A path is written as seen from the folder that the file will lie in.
    """
    from augsuite.study.file import example

    registry.find("trainer", registry.default().trainers(), trainer)
    chosen = name or re.sub(r"[^A-Za-z0-9._+-]+", "-", Path(dataset).name).strip("-.") or "study"
    click.echo(example(dataset, chosen, trainer), nl=False)


@study.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder of the results; `studies/NAME` by default.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes at once; one for each core by default.")
@click.option("--engine", default="local", show_default=True, help="Where the runs are trained.")
@json_option
def run(file: Path, out: Path | None, workers: int | None, engine: str, as_json: bool) -> None:
    """Train every arm of the study FILE with every seed, and say what each arm did.

    Runs that are complete are never trained again: stop it at any time, and start it again to continue. Ends with status 1 if a
    run failed.
    """
    from augsuite.commands.study_progress import Watch
    from augsuite.study.file import load
    from augsuite.study.scheduler import execute, prepare
    from augsuite.study.store import Store

    # Before hours of training, not after: everything that the end needs.
    summarize, write_report = _part("summary:summarize"), _part("report:write_report")
    registry.find("engine", registry.default().engines(), engine)
    asked = load(file)
    folder = out or Path("studies") / asked.name
    state, work = prepare(asked, folder, shlex.join(["augsuite", *sys.argv[1:]]))
    store = Store(folder)
    with Watch(state, store) as watch:
        for outcome in execute(state, work, engine, workers or asked.workers):
            watch.tell(outcome)
    summary = summarize(state, store)
    _print(summary, as_json)
    path = write_report(summary, store, asked)
    if not as_json:
        click.echo(f"report: {path}")
    if not summary.complete:
        sys.exit(1)


@study.command()
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Print what the study in FOLDER found so far."""
    from augsuite.study.store import Store

    store = Store(folder)
    state = store.state()
    _print(_part("summary:summarize")(state, store), as_json)
    if not as_json and (folder / "report.html").exists():
        click.echo(f"report: {folder / 'report.html'}")


def _part(target: str) -> Any:
    """A part of the study that needs scipy or jinja2, with a clear line where they are not installed."""
    part: Ref[Any] = Ref(f"augsuite.study.{target}")
    return registry.load(part, "augsuite study", "train")


def _print(summary: Summary, as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    headings, rows = _part("summary:table")(summary)
    print_table(headings, rows, right=frozenset({1, 3, 4}))
    for name, error in summary.errors.items():
        click.echo(f"failed: {name}: {error}", err=True)
    missing = sum(arm.missing for arm in summary.arms)
    if missing:
        click.echo(f"{missing} of {len(summary.state.runs)} runs are not trained yet.", err=True)
