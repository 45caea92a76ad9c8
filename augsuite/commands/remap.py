"""`augsuite remap`: rename, merge and drop categories."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from augsuite.commands.console import json_option, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.commands.writing import Writing, writing_options
from augsuite.config import read_yaml
from augsuite.dataset.edits import Empty
from augsuite.dataset.remapping import remap as remapped
from augsuite.errors import ConfigError


@click.command()
@click.argument("dataset")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--map", "pairs", multiple=True, metavar="OLD=NEW", help="Give a category another name (repeatable).")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="A YAML file of lines `old: new`; `old: null` drops the category.",
)
@click.option("--drop", multiple=True, metavar="NAME", help="Drop a category with its annotations (repeatable).")
@click.option(
    "--empty",
    type=click.Choice(get_args(Empty)),
    default="keep",
    show_default=True,
    help="Images that lose all their annotations.",
)
@reading_options
@writing_options
@json_option
def remap(
    dataset: str,
    target: Path,
    pairs: tuple[str, ...],
    file: Path | None,
    drop: tuple[str, ...],
    empty: Empty,
    reading: Reading,
    writing: Writing,
    as_json: bool,
) -> None:
    """Rename, merge or drop categories of DATASET and write the result to the folder TARGET.

    All names change at once, so that `--map a=b --map b=a` swaps two. Categories that get one name become one.
    """
    mapping = ({} if file is None else read_mapping(file)) | _parse(pairs)
    place = writing.prepare(target, [dataset], reading)
    with shown_progress():
        before = place.read(dataset)
    place.write(remapped(before, mapping, drop=drop, empty=empty), before, as_json=as_json)


def read_mapping(path: Path) -> dict[str, str | None]:
    """Read `old: new` from a YAML file.

    Raises:
        ConfigError: if it holds anything else; a name that YAML takes for a number, a date or yes and no wants quotes.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected lines such as `old: new`, got {type(values).__name__}.")
    for old, new in values.items():
        if not isinstance(old, str) or not isinstance(new, str | None):
            wrong = new if isinstance(old, str) else old
            raise ConfigError(f"{path}: {old}: expected the name of a category, got {wrong!r}. Put it in quotes.")
    return values


def _parse(pairs: tuple[str, ...]) -> dict[str, str | None]:
    mapping: dict[str, str | None] = {}
    for pair in pairs:
        old, separator, new = pair.partition("=")
        if not separator or not old:
            raise ConfigError(f"--map {pair!r}: write it as OLD=NEW.")
        if mapping.get(old, new) != new:
            raise ConfigError(f"--map {pair!r}: {old!r} is to become {mapping[old]!r} already.")
        mapping[old] = new
    return mapping
