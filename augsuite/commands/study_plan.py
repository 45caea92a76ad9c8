"""`augsuite study plan`: what is going to be trained, and how long that takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from augsuite.commands.console import json_option, print_json, print_table
from augsuite.commands.study_run import store_option

if TYPE_CHECKING:
    from augsuite.study.plan import Plan


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder of the results; `studies/NAME` by default.")
@store_option
@click.option("--workers", type=click.IntRange(min=1), help="Runs at once; one for each core, or GPU, by default.")
@click.option("--gpus", type=click.FloatRange(min=0), help="GPUs for each run, as for `study run`.")
@click.option("--no-timing", is_flag=True, help="Train nothing: no estimate for arms of which no run is done.")
@json_option
def plan(
    file: Path,
    out: Path | None,
    store: Path | None,
    workers: int | None,
    gpus: float | None,
    no_timing: bool,
    as_json: bool,
) -> None:
    """Print what the study FILE is going to train, and about how long that takes.

    Arms without a finished run are timed: a few batches of each are trained, in a temporary folder.
    """
    from augsuite.engines.places import places
    from augsuite.study.file import load
    from augsuite.study.plan import make_plan
    from augsuite.study.scheduler import needs
    from augsuite.study.store import place_of

    asked = load(file)
    resources = needs(asked, gpus)
    at_once = len(places(workers or asked.workers, resources))
    place = place_of(out or Path("studies") / asked.name, out, store)
    found = make_plan(asked, place, at_once, resources, not no_timing)
    if as_json:
        print_json(found)
        return
    _print(found)


def _print(found: Plan) -> None:
    rows = [
        [
            arm.arm,
            str(arm.runs),
            str(arm.done),
            str(arm.failed),
            "-" if arm.seconds is None else words(arm.seconds),
            {"records": "its finished runs", "timed": "a few timed batches"}[arm.source] if arm.seconds else "",
        ]
        for arm in found.arms
    ]
    print_table(["arm", "runs", "done", "failed", "a run takes", "known from"], rows, right=frozenset({1, 2, 3, 4}))
    for arm in found.arms:
        if arm.error:
            click.echo(f"{arm.arm}: could not be timed: {arm.error}", err=True)
    total = "" if found.seconds is None else f", about {words(found.seconds)} with {found.workers} at once"
    images = f"{found.images['train']} images trained on, {found.images['val']} measured on"
    click.echo(f"{found.runs} runs to train{total}; {images}")


def words(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`: as exact as an estimate is."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
