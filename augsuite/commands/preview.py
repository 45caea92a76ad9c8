"""`augsuite preview`: look at what a policy does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click
import PIL.Image

from augsuite.augment import preview as drawing
from augsuite.augment.policies import policy as find_policy
from augsuite.commands.console import progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.errors import ConfigError


@click.command()
@click.argument("policy")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The picture.")
@click.option("--samples", type=click.IntRange(1, 100), default=6, show_default=True, help="Images: rows.")
@click.option("--variants", type=click.IntRange(0, 50), default=4, show_default=True, help="Samples of each: columns.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Chooses images and random numbers.")
@click.option("--size", type=click.IntRange(32, 2000), default=300, show_default=True, help="Longest side of an image.")
@reading_options
def preview(
    policy: str,
    dataset: Path,
    output: Path,
    samples: int,
    variants: int,
    seed: int,
    size: int,
    reading: Reading,
) -> None:
    """Draw images of DATASET, each followed by what POLICY makes of it, with their boxes.

    POLICY is a bundled policy's name or a YAML file. The first column is the original; column #N is what a training with
    the same seed would see in epoch N.
    """
    if output.suffix.lower() not in PIL.Image.registered_extensions():
        raise ConfigError(f"{output}: not the name of an image file. Call it {output.stem or 'grid'}.png.")
    steps = find_policy(policy)
    data = reading(dataset)
    rows = drawing.pick(data, samples, seed)
    with progress() as display:
        task = display.add_task("drawing", total=len(rows) * variants)
        picture = drawing.grid(
            data,
            steps,
            rows,
            variants=variants,
            seed=seed,
            size=size,
            title=f"{steps.name}  on  {dataset.name}  (seed {seed})",
            progress=lambda step: display.advance(task, step),
        )
    _save(picture, output)
    click.echo(output)


def _save(picture: PIL.Image.Image, output: Path) -> None:
    """Write the picture beside its place, then rename it there."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{output.stem}.", suffix=output.suffix, dir=output.parent)
        os.close(handle)
        try:
            picture.save(temporary)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(output)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written ({error.strerror or error}). Choose another place.") from error
