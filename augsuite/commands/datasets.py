"""`augsuite datasets`: the bundled datasets, those that can be fetched, and the generators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from augsuite import generation, registry
from augsuite.commands.console import json_option, parse_options, print_json, print_table, progress
from augsuite.dataset.cards import Card, read_cards
from augsuite.dataset.locate import named
from augsuite.dataset.progress import listening
from augsuite.errors import ConfigError


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def datasets(ctx: click.Context, as_json: bool) -> None:
    """List the datasets and the generators, fetch a dataset, or make one."""
    if ctx.invoked_subcommand is not None:
        return
    cards = read_cards().values()
    bundled = [card for card in cards if not card.archives]
    public = [card for card in cards if card.archives]
    if as_json:
        print_json(
            {
                "bundled": [msgspec.to_builtins(card) for card in bundled],
                "public": [
                    msgspec.to_builtins(card) | {"bytes": card.bytes, "folder": _folder(card)} for card in public
                ],
                "generators": _generators(),
            }
        )
        return
    print_table(
        ["bundled", *_COUNTED],
        [[*_counts(card), card.licence, card.summary] for card in bundled],
        right=frozenset({1, 2, 3}),
    )
    click.echo()
    print_table(
        ["public", *_COUNTED[:3], "MB", "at hand", *_COUNTED[3:]],
        [
            [
                *_counts(card),
                f"{card.bytes / 1e6:,.0f}" if card.bytes else "?",
                "yes" if _folder(card) else "no",
                card.licence,
                card.summary,
            ]
            for card in public
        ],
        right=frozenset({1, 2, 3, 4}),
    )
    click.echo()
    print_table(
        ["generator", "options", "summary"],
        [
            [
                spec.name,
                ", ".join(f"{option.name}={'|'.join(option.choices) or '...'}" for option in spec.options),
                spec.summary,
            ]
            for spec in registry.default().datasets().values()
        ],
    )


_COUNTED = ["images", "boxes", "classes", "licence", "summary"]


def _counts(card: Card) -> list[str]:
    boxes = f"{sum(card.boxes.values()):,}" if card.boxes else "?"
    return [card.name, f"{sum(card.images.values()):,}", boxes, str(len(card.categories))]


def _folder(card: Card) -> str | None:
    folder = named().get(card.name)
    return None if folder is None else str(folder)


def _generators() -> list[dict[str, Any]]:
    return [
        {
            "name": spec.name,
            "summary": spec.summary,
            "options": [
                {"name": option.name, "summary": option.summary, "choices": list(option.choices)}
                for option in spec.options
            ],
            "plugin": registry.default().owner("augsuite_datasets", spec.name),
        }
        for spec in registry.default().datasets().values()
    ]


@datasets.command()
@click.argument("name")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The folder to make; by default where it is found by name."
)
@json_option
def fetch(name: str, out: Path | None, as_json: bool) -> None:
    """Download the public dataset NAME, or the one that the card NAME (a .yaml file) describes.

    What breaks off is gone on with by the same command. Nothing is downloaded where the dataset is at hand.
    """
    from augsuite.dataset.cards import find_card
    from augsuite.dataset.fetch import fetch as fetch_dataset

    card = find_card(name)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), _Amount(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as display:
        tasks: dict[str, TaskID] = {}

        def show(what: str, step: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = display.add_task(what, total=total)
            display.update(tasks[what], advance=step, total=total)

        try:
            with listening(show):
                folder = fetch_dataset(name, out)
        except KeyboardInterrupt:
            display.stop()
            click.echo("Interrupted. What was downloaded is kept; the same command goes on with it.", err=True)
            raise
    if as_json:
        print_json({"name": card.name, "folder": str(folder), "licence": card.licence, "source": card.source})
        return
    click.echo(f"{card.name}   {folder}   licence: {card.licence}")


class _Amount(ProgressColumn):
    """How much is done: bytes and their rate, or files."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = DownloadColumn()
        self._rate = TransferSpeedColumn()

    def render(self, task: Task) -> Text:
        """One cell."""
        if task.description.startswith("unpacking"):
            return Text(f"{task.completed:,.0f}" + (f"/{task.total:,.0f} files" if task.total else " files"))
        return Text(" ").join([self._bytes.render(task), self._rate.render(task)])


@datasets.command()
@click.argument("name")
@click.option("--images", type=click.IntRange(min=1), required=True, help="How many images, in all splits.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Same seed, same dataset.")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.option("--shift", help="What differs in the validation split; short for --option shift=...")
@click.option("--option", "pairs", multiple=True, metavar="NAME=VALUE", help="An option of the generator; repeatable.")
@click.option("--overwrite", is_flag=True, help="Replace the dataset that is there.")
def make(
    name: str, images: int, seed: int, out: Path, shift: str | None, pairs: tuple[str, ...], overwrite: bool
) -> None:
    """Make a dataset with the generator NAME."""
    options = parse_options(pairs)
    if shift is not None:
        if options.get("shift", shift) != shift:
            raise ConfigError(f"--shift {shift} and --option shift={options['shift']} contradict each other. Give one.")
        options["shift"] = shift
    with progress() as display:
        task = display.add_task(f"making {name}", total=images)
        data = generation.make(
            name,
            out,
            images=images,
            seed=seed,
            overwrite=overwrite,
            progress=lambda count: display.advance(task, count),
            **options,
        )
    splits = data.images.splits.tolist()
    parts = ", ".join(f"{splits.count(split):,} {split}" for split in dict.fromkeys(splits) if split)
    click.echo(f"{name}   {len(data):,} images ({parts})   {len(data.annotations):,} boxes   {out}")
