"""`augsuite diff`: what changed between two datasets."""

from __future__ import annotations

from dataclasses import replace

import click
import msgspec

from augsuite.commands.console import json_option, print_json, print_table, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.dataset import Intake
from augsuite.dataset.difference import TOLERANCE_PX, Changed, Difference
from augsuite.dataset.difference import diff as compare


@click.command()
@click.argument("first")
@click.argument("second")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=TOLERANCE_PX,
    show_default=True,
    metavar="PX",
    help="Pixels that a coordinate may differ and still be the same.",
)
@click.option(
    "--values/--no-values",
    default=True,
    show_default=True,
    help="Compare ids, ignored annotations and what formats say beside boxes, too.",
)
@click.option("--places", type=click.IntRange(0), default=5, show_default=True, help="Places named for each change.")
@reading_options
@click.option("--from2", "second_format", metavar="FORMAT", help="The format of SECOND; that of --from by default.")
@json_option
@click.pass_context
def diff(
    ctx: click.Context,
    first: str,
    second: str,
    tolerance: float,
    values: bool,
    places: int,
    second_format: str | None,
    reading: Reading,
    as_json: bool,
) -> None:
    """Say what changed from the dataset FIRST to the dataset SECOND.

    Images are matched by name, boxes of one class by overlap. The exit status is 1 if anything differs.
    """
    again = reading if second_format is None else replace(reading, source_format=second_format, options={})
    wants = None if values else ()
    intakes = [Intake(reading.skip_invalid, reading.allow_outside, wants) for _ in range(2)]
    with shown_progress():
        data = [
            read(name, intake) for read, name, intake in zip((reading, again), (first, second), intakes, strict=True)
        ]
        found = compare(*data, tolerance=tolerance, values=values, places=places)
    if as_json:
        print_json({"equal": found.equal, **msgspec.to_builtins(found)})
    else:
        _print(found)
    ctx.exit(not found.equal)


def _print(found: Difference) -> None:
    spreads = found.moved_px, found.moved_iou
    kinds: tuple[tuple[str, Changed], ...] = (
        ("images removed", found.images_removed),
        ("images added", found.images_added),
        ("images renamed", found.images_renamed),
        ("images in another split", found.splits_changed),
        ("images of another size", found.sizes_changed),
        ("annotations removed", found.removed),
        ("annotations added", found.added),
        ("annotations relabelled", found.relabelled),
        ("boxes moved", found.moved),
    )
    for what, change in kinds:
        if not change.count:
            continue
        click.echo(f"{change.count:>9,} {what}")
        for place in change.places:
            image = f"{place.split}: {place.image}" if place.split else place.image
            number = f"annotation {place.annotation}" if place.annotation is not None else ""
            click.echo(f"{'':10}{'  '.join(part for part in (image, number, place.said) if part)}")
    if found.moved.count:
        print_table(
            ["moved by", "min", "median", "mean", "max"],
            [
                [name, *(f"{value:.4g}" for value in (spread.min, spread.median, spread.mean, spread.max))]
                for name, spread in zip(("px", "IoU"), spreads, strict=True)
            ],
            right=frozenset({1, 2, 3, 4}),
        )
    for what, names in (("removed", found.categories_removed), ("added", found.categories_added)):
        if names:
            click.echo(f"categories {what}: {', '.join(names)}")
    for kind, value in found.values.items():
        said = [f"{count:,} {what}" for what, count in msgspec.structs.asdict(value).items() if count]
        click.echo(f"{kind}: {', '.join(said)}")
    click.echo(
        f"{found.images[0]:,} and {found.images[1]:,} images   {found.annotations[0]:,} and {found.annotations[1]:,} annotations   "
        f"{found.same:,} the same   {'no difference' if found.equal else 'different'}"
    )
