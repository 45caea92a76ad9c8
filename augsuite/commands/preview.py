"""`augsuite preview`: look at what a policy does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import PIL.Image

from augsuite.augment import preview as drawing
from augsuite.augment.policies import policy as find_policy
from augsuite.augment.replay import Record
from augsuite.commands.console import progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.dataset.saving import save_picture, save_text
from augsuite.errors import ConfigError


@click.command()
@click.argument("policy")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The picture, or a page: x.html.",
)
@click.option("--samples", type=click.IntRange(1, 100), default=6, show_default=True, help="Images: rows.")
@click.option("--variants", type=click.IntRange(0, 50), default=4, show_default=True, help="Samples of each: columns.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Chooses images and random numbers.")
@click.option("--size", type=click.IntRange(32, 2000), default=300, show_default=True, help="Longest side of an image.")
@click.option(
    "--save-plans", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Also write what was drawn."
)
@reading_options
def preview(
    policy: str,
    dataset: Path,
    output: Path,
    samples: int,
    variants: int,
    seed: int,
    size: int,
    save_plans: Path | None,
    reading: Reading,
) -> None:
    """Draw images of DATASET, each followed by what POLICY makes of it, with their boxes.

    POLICY is a bundled policy's name or a YAML file. A page also shows each step alone, weak to strong, what was drawn in words,
    and which boxes were dropped, and why. The first column is the original; column #N is what a training with
    the same seed would see in epoch N. `augsuite replay` renders a saved plan again.
    """
    is_page = output.suffix.lower() in {".html", ".htm"}
    if not is_page and output.suffix.lower() not in PIL.Image.registered_extensions():
        raise ConfigError(f"{output}: not the name of an image file. Call it {output.stem or 'grid'}.png.")
    steps = find_policy(policy)
    data = reading(dataset)
    rows = drawing.pick(data, samples, seed)
    title = f"{steps.name}  on  {dataset.name}  (seed {seed})"
    keep = None if save_plans is None else _writer(save_plans, dataset)
    with progress() as display:
        total = len(rows) * variants + (len(steps.steps) if is_page else 0)
        task = display.add_task("drawing", total=total)
        settings: dict[str, Any] = {"variants": variants, "seed": seed, "size": size, "title": title, "drawn": keep}
        settings["progress"] = lambda step: display.advance(task, step)
        if is_page:
            from augsuite.augment.preview_page import page  # templates, which a picture does not need

            save_text(page(data, steps, rows, **settings), output)
        else:
            save_picture(drawing.grid(data, steps, rows, **settings), output)
    click.echo(output)


def _writer(folder: Path, dataset: Path) -> Callable[[Record], None]:
    """What writes plans into a folder: `row<image row>-epoch<N>.json`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made ({error.strerror or error}). Choose another place.") from error

    def write(record: Record) -> None:
        _, epoch, row = record.key
        msgspec.structs.replace(record, dataset=str(dataset)).write(folder / f"row{row}-epoch{epoch}.json")

    return write
