"""`augsuite study run`: train what is missing, and say what each arm did."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from augsuite import registry
from augsuite.commands.console import json_option
from augsuite.commands.engine import Chosen, address_option
from augsuite.commands.study_shown import part, print_summary, tell_where

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder of the runs, shared by all studies that name it. By default AUGSUITE_STORE, else `studies/_store`, else --out.",
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder of the results; `studies/NAME` by default.")
@store_option
@click.option("--workers", type=click.IntRange(min=1), help="Runs at once; one for each core, or GPU, by default.")
@click.option(
    "--gpus", type=click.FloatRange(min=0), help="GPUs for each run; 0.5 puts two on one. One by default, if any."
)
@click.option(
    "--engine",
    default="local",
    show_default=True,
    help="Where the runs are trained: `local`, `inline`, `ray`, a plugin's engine.",
)
@address_option
@click.option(
    "--until",
    type=click.FloatRange(min=0, min_open=True),
    help="Add seeds to the file's until each effect is clear, or its interval is no wider than plus or minus this.",
)
@click.option(
    "--max-seeds",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    help="Seeds of an arm at most, with --until.",
)
@click.option("--retry-failed", is_flag=True, help="Try again the runs that failed before.")
@json_option
def run(
    file: Path,
    out: Path | None,
    store: Path | None,
    workers: int | None,
    gpus: float | None,
    engine: str,
    ray_address: str | None,
    until: float | None,
    max_seeds: int,
    retry_failed: bool,
    as_json: bool,
) -> None:
    """Train every arm of the study FILE with every seed, and say what each arm did.

    Runs that are complete are never trained again, whichever study trained them: stop it at any time, and start it again to
    continue. Ends with status 1 if a run failed.
    """
    from augsuite.commands.study_progress import Watch
    from augsuite.study.file import load
    from augsuite.study.scheduler import add_seeds, execute, needs, prepare
    from augsuite.study.sequential import next_seeds
    from augsuite.study.store import Store, place_of

    # Before hours of training, not after: everything that the end needs.
    summarize, write_report = part("summary:summarize"), part("report:write_report")
    registry.find("engine", registry.default().engines(), engine)
    Chosen(engine, address=ray_address).check()
    asked = load(file)
    folder = out or Path("studies") / asked.name
    command = shlex.join(["augsuite", *sys.argv[1:]])
    state, work = prepare(asked, folder, command, place_of(folder, out, store), until)
    results, resources = Store(folder), needs(asked, gpus)
    chosen = Chosen(engine, workers or asked.workers, ray_address)
    with chosen.connected(), Watch(state, results) as watch:
        runs = state.runs
        while runs:
            for outcome in execute(runs, work, engine, chosen.workers, resources, retry_failed, watch.tell_again):
                watch.tell(outcome)
            more = {} if until is None else next_seeds(summarize(state, results), until, max_seeds)
            before = len(state.runs)
            state, work = add_seeds(asked, folder, state, work, more)
            runs = state.runs[before:]
            watch.expect(runs)
    summary = summarize(state, results, asked.val)
    print_summary(summary, as_json, watch.retried)
    write_report(summary, results, asked)
    if not as_json:
        tell_where(folder)
    if not summary.complete:
        sys.exit(1)
