"""`augsuite merge`: several datasets become one."""

from __future__ import annotations

from pathlib import Path

import click

from augsuite.commands.console import json_option, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.commands.writing import Writing, writing_options
from augsuite.dataset.merging import merge as merged


@click.command()
@click.argument("datasets", nargs=-1, required=True)
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--splits",
    metavar="NAME,NAME,...",
    help="A split for all images of each dataset, in their order; an empty name leaves them theirs.",
)
@reading_options
@writing_options
@json_option
def merge(
    datasets: tuple[str, ...], target: Path, splits: str | None, reading: Reading, writing: Writing, as_json: bool
) -> None:
    """Put DATASETS together and write them to the folder TARGET.

    Categories become one by name, ids move where two datasets share some, and an image whose name is taken in its split becomes
    `a_2.jpg`. The last argument is the target.
    """
    place = writing.prepare(target, datasets, reading)
    named = None if splits is None else [name.strip() or None for name in splits.split(",")]
    with shown_progress():
        read = [place.read(dataset) for dataset in datasets]
        data = merged(read, splits=named, labels=[_label(name) for name in datasets], intake=place.intake)
    place.write(data, data, as_json=as_json)


def _label(name: str) -> str:
    path = Path(name)
    return path.stem if path.is_file() else path.resolve().name
