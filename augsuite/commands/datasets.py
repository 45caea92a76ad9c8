"""`augsuite datasets`: the bundled datasets and the generators, and making one."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from augsuite import generation, registry
from augsuite.commands.console import json_option, parse_options, print_json, print_table, progress
from augsuite.dataset.cards import read_cards
from augsuite.errors import ConfigError


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def datasets(ctx: click.Context, as_json: bool) -> None:
    """List the bundled datasets and the generators, or make a dataset."""
    if ctx.invoked_subcommand is not None:
        return
    cards = read_cards()
    specs = registry.default().datasets()
    if as_json:
        print_json(
            {
                "bundled": [msgspec.to_builtins(card) for card in cards.values()],
                "generators": [
                    {
                        "name": spec.name,
                        "summary": spec.summary,
                        "options": [
                            {"name": option.name, "summary": option.summary, "choices": list(option.choices)}
                            for option in spec.options
                        ],
                        "plugin": registry.default().owner("augsuite_datasets", spec.name),
                    }
                    for spec in specs.values()
                ],
            }
        )
        return
    print_table(
        ["bundled", "images", "boxes", "classes", "licence", "summary"],
        [
            [
                card.name,
                f"{sum(card.images.values()):,}",
                f"{sum(card.boxes.values()):,}",
                str(len(card.categories)),
                card.licence,
                card.summary,
            ]
            for card in cards.values()
        ],
        right=frozenset({1, 2, 3}),
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
            for spec in specs.values()
        ],
    )


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
