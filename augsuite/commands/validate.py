"""`augsuite validate`: what is wrong with a dataset, and its repair."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
import msgspec

from augsuite.commands.console import json_option, print_json, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.commands.writing import Writing, writing_options
from augsuite.dataset import Intake
from augsuite.dataset.findings import Place
from augsuite.dataset.fixes import fix
from augsuite.dataset.inspection import inspect
from augsuite.dataset.validation import Report
from augsuite.dataset.validation import validate as find
from augsuite.errors import ConfigError

_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


@click.command()
@click.argument("dataset")
@click.option("--annotations-only", is_flag=True, help="Open no image file.")
@click.option("--places", type=click.IntRange(0), default=3, show_default=True, help="Places named for each finding.")
@click.option("--fix", "repair", is_flag=True, help="Write a repaired copy to the folder that --out names.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--drop-images", is_flag=True, help="With --fix: drop images whose file is missing, unreadable or damaged."
)
@reading_options
@writing_options
@json_option
@click.pass_context
def validate(
    ctx: click.Context,
    dataset: str,
    annotations_only: bool,
    places: int,
    repair: bool,
    out: Path | None,
    drop_images: bool,
    reading: Reading,
    writing: Writing,
    as_json: bool,
) -> None:
    """Report what is wrong with DATASET: errors, warnings and what is good to know.

    Every image file is decoded. The exit status is 1 if there are errors; with --fix, if errors remain.
    """
    if repair != (out is not None):
        raise ConfigError("--fix and --out go together: augsuite validate DATASET --fix --out FOLDER")
    if drop_images and (not repair or annotations_only):
        raise ConfigError("--drop-images goes with --fix, and needs the image files.")
    target = writing.prepare(out, [dataset], reading) if out is not None else None
    intake = Intake(skip_invalid=True, allow_outside=reading.allow_outside, wants=None if repair else ())
    places_used = [dataset] if out is None else [dataset, out]
    with shown_progress(), writing.chosen.at_work(*places_used):
        data = target.read(dataset, intake) if target is not None else reading(dataset, intake)
        inspection = None if annotations_only else inspect(data)
    report = find(data, intake, files=not annotations_only, inspection=inspection, places=places)
    if target is None:
        if as_json:
            print_json({**_plain(report), "retried": [asdict(each) for each in writing.chosen.retried]})
        else:
            _print(dataset, report)
            writing.chosen.tell()
        ctx.exit(bool(report.errors))
    fixed, inspection, done = fix(data, inspection, drop_images=drop_images)
    after = find(fixed, files=not annotations_only, inspection=inspection, places=places)
    target.intake.skip_invalid = True  # broken files were reported; they are passed on as they are
    if not as_json:
        _print(dataset, report)
        click.echo()
        for each in done:
            click.echo(f"fixed    {each.count:>7,}  {each.code}: {each.what}")
        left_out = len(intake.skipped)
        if left_out:
            click.echo(f"fixed    {left_out:>7,}  invalid rows: left out")
        if not done and not left_out:
            click.echo("fixed    nothing: no finding can be repaired without a guess")
    details = {"before": _plain(report), "fixed": done, "rows_left_out": len(intake.skipped), "after": _plain(after)}
    target.write(fixed, data, as_json=as_json, details=details)
    if not as_json:
        click.echo(f"remaining: {_counts(after)}")
    ctx.exit(bool(after.errors))


def _plain(report: Report) -> dict[str, object]:
    counts = {severity: sum(each.severity == severity for each in report.findings) for severity in _COLOURS}
    return {**msgspec.to_builtins(report), "errors": report.errors, "findings_by_severity": counts}


def _print(dataset: str, report: Report) -> None:
    for each in report.findings:
        label = click.style(f"{each.severity:8}", fg=_COLOURS[each.severity], bold=True)
        click.echo(f"{label} {each.count:>7,}  {each.code}: {each.what}. {each.advice[:1].upper()}{each.advice[1:]}.")
        for place in each.places:
            click.echo(f"{'':18}{_where(place)}")
        more = each.count - len(each.places)
        if each.places and more > 0:
            click.echo(f"{'':18}... and {more:,} more")
    opened = "" if report.files_opened else "   (image files were not opened)"
    click.echo(f"{dataset}   {report.images:,} images   {report.annotations:,} annotations   {_counts(report)}{opened}")


def _counts(report: Report) -> str:
    counts = {
        severity: sum(each.count for each in report.findings if each.severity == severity) for severity in _COLOURS
    }
    return ", ".join(f"{counts[name]:,} {name}{'s' * (counts[name] != 1 and name != 'info')}" for name in counts)


def _where(place: Place) -> str:
    """`train/a.jpg  annotation 17  cat from ...`."""
    image = f"{place.split}: {place.image}" if place.split else place.image
    number = f"annotation {place.annotation}" if place.annotation is not None else ""
    return "  ".join(part for part in (image, number, place.said) if part)
