"""`augsuite dedupe`: images that show the same."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
import msgspec

from augsuite.commands.console import json_option, print_json, print_table, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.commands.writing import Writing, writing_options
from augsuite.dataset.duplicates import DISTANCE, Copy, Duplicates, Group
from augsuite.dataset.duplicates import dedupe as find
from augsuite.dataset.neighbours import MOST


@click.command()
@click.argument("dataset")
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option(
    "--distance",
    type=click.IntRange(0, MOST),
    default=DISTANCE,
    show_default=True,
    help="Bits of 255 in which the hashes of one picture may differ.",
)
@click.option(
    "--prefer", multiple=True, metavar="SPLIT", help="The split whose images stay; may be repeated, the first first."
)
@click.option("--across", is_flag=True, help="Only what stands in another split too: leakage.")
@click.option("--places", type=click.IntRange(0), default=20, show_default=True, help="Copies shown.")
@reading_options
@writing_options
@json_option
def dedupe(
    dataset: str,
    target: Path | None,
    distance: int,
    prefer: tuple[str, ...],
    across: bool,
    places: int,
    reading: Reading,
    writing: Writing,
    as_json: bool,
) -> None:
    """Find images of DATASET that show the same; write the dataset without the copies to the folder TARGET.

    Without TARGET nothing is written.
    """
    place = writing.prepare(target, [dataset], reading) if target is not None else None
    with shown_progress(), writing.chosen.at_work(dataset):
        data = place.read(dataset) if place is not None else reading(dataset)
        kept, found = find(data, distance=distance, prefer=prefer, across=across)
    if as_json and place is None:
        print_json({**msgspec.to_builtins(found), "retried": [asdict(each) for each in writing.chosen.retried]})
        return
    if not as_json:
        _print(dataset, found, places)
        if place is None:
            writing.chosen.tell()
    if place is not None:
        place.write(kept, data, as_json=as_json, details=msgspec.to_builtins(found))


def _print(dataset: str, found: Duplicates, places: int) -> None:
    shown = [(group, copy) for group in found.groups for copy in group.copies][:places]
    if shown:
        print_table(
            ["stays", "copy", "bits", "file", "labels"],
            [
                [
                    _name(group),
                    _name(copy),
                    str(copy.distance),
                    "same" if copy.same_file else "other",
                    "same" if copy.same_labels else "other",
                ]
                for group, copy in shown
            ],
            right=frozenset({2}),
        )
        if found.copies > len(shown):
            click.echo(f"... and {found.copies - len(shown):,} more")
        click.echo()
    for leak in found.leaks:
        click.echo(
            f"leakage: {leak.images:,} images of {leak.split or '(no split)'} are copies of images of {leak.of or '(no split)'}"
        )
    parts = [f"{found.images:,} images compared", f"{found.copies:,} copies of {len(found.groups):,}"]
    if found.not_compared:
        parts.append(f"{found.not_compared:,} without a usable file")
    if found.one_colour:
        parts.append(f"{found.one_colour:,} of one colour, compared by their bytes")
    click.echo(f"{dataset}   {'   '.join(parts)}")


def _name(each: Group | Copy) -> str:
    return f"{each.split}: {each.image}" if each.split else each.image
