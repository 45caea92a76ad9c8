"""`augsuite sample`: some images of a dataset, drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from augsuite.commands.console import json_option, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.commands.writing import Writing, writing_options
from augsuite.dataset.sampling import Balance, draw
from augsuite.errors import ConfigError


@click.command()
@click.argument("dataset")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(0), help="How many images; all where there are fewer.")
@click.option("--share", type=click.FloatRange(0, 1), help="The same, as a share of all images.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same images."
)
@click.option(
    "--balance",
    type=click.Choice(get_args(Balance)),
    help="Take images evenly from categories or splits, as far as they go.",
)
@reading_options
@writing_options
@json_option
def sample(
    dataset: str,
    target: Path,
    count: int | None,
    share: float | None,
    seed: int,
    balance: Balance | None,
    reading: Reading,
    writing: Writing,
    as_json: bool,
) -> None:
    """Draw some images of DATASET at random and write them to the folder TARGET."""
    if (count is None) == (share is None):
        raise ConfigError("say how many images to draw: either --count 500 or --share 0.1.")
    place = writing.prepare(target, [dataset], reading)
    with shown_progress():
        before = place.read(dataset)
    number = count if count is not None else float(share or 0)
    place.write(draw(before, number, seed, balance=balance), before, as_json=as_json)
