"""`augsuite replay`: render a stored plan again."""

from __future__ import annotations

from pathlib import Path

import click
import PIL.Image

from augsuite.augment.plan import Mix
from augsuite.augment.render import row_of
from augsuite.augment.replay import Record, digest, read_record
from augsuite.augment.replay import replay as render_again
from augsuite.commands.console import json_option, print_json
from augsuite.commands.reading import Reading, reading_options
from augsuite.dataset import Dataset, Sample
from augsuite.dataset.saving import save_picture
from augsuite.errors import ConfigError


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--dataset", help="The dataset that it was drawn on; by default the one that the plan names.")
@click.option("--image", type=click.Path(path_type=Path, dir_okay=False), help="The image file, instead of a dataset.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A PNG file for the picture.")
@reading_options
@json_option
def replay(
    plan: Path, dataset: str | None, image: Path | None, output: Path | None, reading: Reading, as_json: bool
) -> None:
    """Render PLAN again, and say whether it gives the pixels that it gave before.

    PLAN is a file that `augsuite preview --save-plans` wrote, or the JSON of `Plan.to_json`. The fingerprint printed is the
    SHA-256 of the pixels; where it differs from the recorded one, the exit code is 1.
    """
    if dataset and image:
        raise ConfigError("--dataset and --image: the image comes from one of them. Leave the other out.")
    if output is not None and output.suffix.lower() != ".png":
        raise ConfigError(f"{output}: other formats than PNG change pixels. Call it {output.stem or 'replay'}.png.")
    record = read_record(plan)
    if image is not None:
        if isinstance(record.plan.start, Mix):
            raise ConfigError(f"{plan}: it mixes several images. Name their dataset with --dataset.")
        result = render_again(record, Sample.of(image))
    else:
        source = dataset or record.dataset
        if not source:
            raise ConfigError(f"{plan}: it names no dataset. Give one with --dataset, or an image file with --image.")
        data = reading(source)
        result = render_again(record, _original(record, data, plan, source), data)
    found = digest(result.image)
    if output is not None:
        save_picture(PIL.Image.fromarray(result.image), output)
    same = found == record.sha256 if record.sha256 else None
    height, width = result.image.shape[:2]
    if as_json:
        print_json(
            {
                "output": str(output) if output else None,
                "width": width,
                "height": height,
                "boxes": result.boxes.tolist(),
                "labels": result.labels.tolist(),
                "sha256": found,
                "recorded": record.sha256 or None,
            }
        )
    else:
        boxes = f"{len(result.boxes)} box{'' if len(result.boxes) == 1 else 'es'}"
        said = {None: "", True: "   as recorded", False: f"   recorded: {record.sha256}"}[same]
        click.echo(f"{f'{output}   ' if output else ''}{width}x{height}   {boxes}   sha256 {found}{said}")
    if same is False:
        click.echo(
            f"{plan}: the pixels differ from those recorded: the image file, augsuite or a library under it has changed.",
            err=True,
        )
        raise SystemExit(1)


def _original(record: Record, data: Dataset, plan: Path, source: str) -> Sample:
    """The sample that a plan was drawn for.

    Raises:
        ConfigError: if the dataset has no such image.
    """
    row = row_of(record.plan)
    there = 0 <= row < len(data)
    if not there or (record.image and str(data.images.names[row]) != record.image):
        name = repr(record.image) if record.image else f"row {row}"
        raise ConfigError(
            f"{plan}: it was drawn for image {name}, and {source} has {f'{str(data.images.names[row])!r} in its place' if there else 'no such row'}. "
            "Name the dataset that it was drawn on, unchanged."
        )
    return data.sample(row)
