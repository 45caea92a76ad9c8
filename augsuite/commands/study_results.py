"""`augsuite study export`, `compare` and `reproduce`: what becomes of a study once it has been run."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec

from augsuite import registry
from augsuite.commands.console import json_option, print_json, print_table
from augsuite.commands.engine import Chosen, address_option
from augsuite.commands.study_shown import part, print_summary

_CUT = 24  # characters of a value that is only to be recognised


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), required=True, help="The file: .csv, .parquet or .tex (booktabs)."
)
@click.option("--runs", is_flag=True, help="A row for each run with all its metrics, instead of one for each arm.")
def export(folder: Path, out: Path, runs: bool) -> None:
    """Write what the study in FOLDER found as a table: a row for each arm, or with --runs for each run."""
    from augsuite.study.store import Store

    check_suffix, arm_rows = part("export:check_suffix"), part("export:arm_rows")
    check_suffix(out)
    store = Store(folder)
    summary = part("summary:summarize")(store.state(), store)
    rows = part("export:run_rows")(summary, store) if runs else arm_rows(summary)
    part("export:write_rows")(rows, out)
    click.echo(f"{out}: {len(rows)} {'run' if runs else 'arm'}{'' if len(rows) == 1 else 's'}", err=True)


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@json_option
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Put the studies in two folders side by side: the arms they have in common, and in what the studies differ."""
    from augsuite.study.store import Store

    summarize = part("summary:summarize")
    found = part("comparison:compare")(*(summarize(Store(folder).state(), Store(folder)) for folder in (first, second)))
    if as_json:
        print_json(found)
        return
    interval, number = part("summary:interval"), part("summary:number")
    one, two = found.studies if found.studies[0] != found.studies[1] else (str(first), str(second))
    rows = []
    for arm in found.arms:
        change = number(arm.difference) if arm.low is None else f"{arm.difference:+.1f} [{arm.low:.1f}, {arm.high:.1f}]"
        rows.append(
            [
                arm.arm if arm.same else f"{arm.arm} (not the same steps or settings)",
                number(arm.means[0]),
                number(arm.means[1]),
                interval(arm.first),
                interval(arm.second),
                "" if arm.difference is None else change,
                str(len(arm.runs)),
            ]
        )
    metric = found.metric
    headings = ["arm", f"{metric} in {one}", f"in {two}", f"effect in {one}", f"in {two}", "difference", "runs shared"]
    print_table(headings, rows, right=frozenset({1, 2, 6}))
    for name, arms in zip((one, two), found.only, strict=True):
        if arms:
            click.echo(f"only in {name}: {', '.join(arms)}")
    _say_differing(found.differing)


@click.command()
@click.argument("report", type=click.Path(path_type=Path))
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Folder of the results; the report's with `-again` by default."
)
@click.option("--dataset", help="Where the images are now, if not where the report found them.")
@click.option("--workers", type=click.IntRange(min=1), help="Runs at once; one for each core, or GPU, by default.")
@click.option("--gpus", type=click.FloatRange(min=0), help="GPUs for each run; 0.5 puts two on one.")
@click.option("--engine", default="local", show_default=True, help="Where the runs are trained.")
@address_option
@json_option
def reproduce(
    report: Path,
    out: Path | None,
    dataset: str | None,
    workers: int | None,
    gpus: float | None,
    engine: str,
    ray_address: str | None,
    as_json: bool,
) -> None:
    """Run the study of REPORT (a report.json) again, from what the report says, and say whether it came out the same.

    Nothing that was trained before is used. Ends with status 1 if an arm came out differently.
    """
    from augsuite.commands.study_progress import Watch
    from augsuite.study.scheduler import add_seeds, execute, needs, prepare
    from augsuite.study.store import Store

    registry.find("engine", registry.default().engines(), engine)
    Chosen(engine, address=ray_address).check()
    summarize, judge = part("summary:summarize"), part("reproduction:judge")
    asked = part("reproduction:read_report")(report)
    source = (report if report.is_dir() else report.parent).resolve()
    folder = out or source.with_name(f"{source.name}-again")
    file = part("reproduction:write_question")(asked, folder, dataset)
    study = part("reproduction:load_question")(asked, file)
    state, work = prepare(study, folder, shlex.join(["augsuite", *sys.argv[1:]]), folder, asked.state.until)
    known = {(run.arm, run.seed) for run in state.runs}
    more = {
        arm: [seed for seed in seeds if (arm, seed) not in known]
        for arm, seeds in part("reproduction:seeds_of")(asked.state).items()
    }
    state, work = add_seeds(study, folder, state, work, more)
    store = Store(folder)
    chosen = Chosen(engine, workers or study.workers, ray_address)
    with chosen.connected(), Watch(state, store) as watch:
        for outcome in execute(state.runs, work, engine, chosen.workers, needs(study, gpus), told=watch.tell_again):
            watch.tell(outcome)
    summary = summarize(state, store, study.val)
    part("report:write_report")(summary, store, study)
    found = judge(asked, summary)
    if as_json:
        print_json({**msgspec.to_builtins(found), "retried": [asdict(each) for each in watch.retried]})
    else:
        print_summary(summary, as_json=False)
        number = part("summary:number")
        rows = [
            [
                arm.arm,
                number(arm.before),
                number(arm.after),
                f"{arm.equal} of {arm.runs}",
                number(arm.noise),
                arm.agreement,
            ]
            for arm in found.arms
        ]
        headings = ["arm", f"{state.metric} reported", "now", "equal runs", "noise", "agreement"]
        click.echo()
        print_table(headings, rows, right=frozenset({1, 2, 3, 4}))
        _say_differing(found.differing)
    if not found.holds:
        sys.exit(1)


def _say_differing(values: dict[str, tuple[Any, Any]]) -> None:
    for name, (one, two) in values.items():
        click.echo(f"differs: {name}: {_cut(one)} / {_cut(two)}")


def _cut(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _CUT else f"{text[:_CUT]}..."
