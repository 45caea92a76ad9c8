"""`augsuite split`: cut a dataset into train, val, test."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from augsuite.commands.console import json_option, print_table, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.commands.writing import Writing, writing_options
from augsuite.dataset.splitting import ClassShares, class_shares, with_splits
from augsuite.errors import ConfigError


@click.command()
@click.argument("dataset")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--shares", required=True, metavar="NAME=SHARE,...", help="The splits, such as train=0.8,val=0.1,test=0.1."
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same cut.")
@click.option("--group", metavar="REGEX", help="Images in whose names it finds the same text stay together.")
@click.option(
    "--stratify/--no-stratify", default=True, show_default=True, help="Give each split the same share of each category."
)
@reading_options
@writing_options
@json_option
def split(
    dataset: str,
    target: Path,
    shares: str,
    seed: int,
    group: str | None,
    stratify: bool,
    reading: Reading,
    writing: Writing,
    as_json: bool,
) -> None:
    """Give each image of DATASET a split and write the result to the folder TARGET.

    Each split gets the same share of the images of every category, also where images have several, and of those without annotations.
    """
    wanted = parse_shares(shares)
    place = writing.prepare(target, [dataset], reading)
    with shown_progress():
        before = place.read(dataset)
    data = with_splits(before, wanted, seed=seed, stratify=stratify, group=group, intake=place.intake)
    spread = class_shares(data)
    if not as_json:
        _print(spread, data.images.splits.tolist(), list(wanted))
    place.write(data, before, as_json=as_json, details={"classes": msgspec.to_builtins(spread)})


def parse_shares(text: str) -> dict[str, float]:
    """`train=0.8,val=0.2` -> `{"train": 0.8, "val": 0.2}`.

    Raises:
        ConfigError: if it is not written so.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        try:
            share = float(value)
        except ValueError:
            raise ConfigError(
                f"--shares {text!r}: expected NAME=SHARE, got {part!r}. Such as train=0.8,val=0.2."
            ) from None
        if name in shares:
            raise ConfigError(f"--shares {text!r}: {name!r} stands twice.")
        shares[name] = share
    return shares


def _print(classes: list[ClassShares], splits: list[str], names: list[str]) -> None:
    """How many images of each class every split got, and what share that is."""
    rows = [("(all images)", len(splits), {name: splits.count(name) for name in names})]
    rows += [(each.name or "(no annotations)", sum(each.images.values()), each.images) for each in classes]
    print_table(
        ["images with", "count", *names],
        [
            [name, f"{count:,}", *(f"{of.get(split, 0) / count:.1%}" for split in names)]
            for name, count, of in rows
            if count
        ],
        right=frozenset(range(1, 2 + len(names))),
    )
