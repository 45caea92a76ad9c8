"""`augsuite filter`: keep what satisfies conditions."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from augsuite.commands.console import json_option, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.commands.writing import Writing, writing_options
from augsuite.dataset.edits import Empty
from augsuite.dataset.filtering import filter as filtered


@click.command()
@click.argument("dataset")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--where", "expression", metavar="CONDITION", help="Such as: width > 32 and category in ('dog', 'cat')")
@click.option("--class", "categories", multiple=True, metavar="NAME", help="Keep this category (repeatable).")
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Keep this split (repeatable).")
@click.option("--min-side", type=float, metavar="PX", help="Keep boxes whose shorter side is as long or longer.")
@click.option("--max-side", type=float, metavar="PX", help="Keep boxes whose longer side is as long or shorter.")
@click.option("--min-area", type=float, metavar="PX2", help="Keep boxes of this area or more.")
@click.option("--max-area", type=float, metavar="PX2", help="Keep boxes of this area or less.")
@click.option("--min-area-frac", type=float, metavar="FRACTION", help="The same, as a fraction of the image.")
@click.option("--max-area-frac", type=float, metavar="FRACTION", help="The same, as a fraction of the image.")
@click.option(
    "--empty",
    type=click.Choice(get_args(Empty)),
    default="drop",
    show_default=True,
    help="Images that lose all their annotations.",
)
@reading_options
@writing_options
@json_option
def filter(  # noqa: A001 - the command's name
    dataset: str,
    target: Path,
    expression: str | None,
    categories: tuple[str, ...],
    splits: tuple[str, ...],
    min_side: float | None,
    max_side: float | None,
    min_area: float | None,
    max_area: float | None,
    min_area_frac: float | None,
    max_area_frac: float | None,
    empty: Empty,
    reading: Reading,
    writing: Writing,
    as_json: bool,
) -> None:
    """Keep what satisfies all conditions and write it from DATASET to the folder TARGET.

    A CONDITION knows x, y, width, height, area, aspect, category, category_id, ignore, id; image_width, image_height, image_id,
    name, split, boxes, labels; and what the format brings along, such as coco.area.
    """
    place = writing.prepare(target, [dataset], reading)
    with shown_progress():
        before = place.read(dataset)
        data = filtered(
            before,
            expression,
            categories=categories or None,
            splits=splits or None,
            min_side=min_side,
            max_side=max_side,
            min_area=min_area,
            max_area=max_area,
            min_area_frac=min_area_frac,
            max_area_frac=max_area_frac,
            empty=empty,
        )
    place.write(data, before, as_json=as_json)
