"""`augsuite augment`: write an augmented copy of a dataset."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import cast, get_args

import click
import numpy as np

import augsuite
from augsuite import conversion, registry
from augsuite.augment.offline import Encoding, augmented
from augsuite.augment.policies import policy as find_policy
from augsuite.commands.console import json_option, print_json, progress
from augsuite.commands.engine import Chosen, engine_options
from augsuite.commands.reading import Reading, reading_options
from augsuite.dataset.archives import at
from augsuite.dataset.output import scratch_folder
from augsuite.dataset.publishing import target_of
from augsuite.detection import find_place
from augsuite.errors import ConfigError, nearest


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("target", metavar="DST", type=click.Path(path_type=Path))
@click.option("--policy", required=True, help="A bundled policy's name or a YAML file.")
@click.option("--to", "target_format", required=True, help="The format to write.")
@click.option("--copies", type=click.IntRange(1), default=1, show_default=True, help="Augmented copies of each image.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random numbers.")
@click.option(
    "--keep-originals/--no-keep-originals", default=True, show_default=True, help="Also the images as they are."
)
@click.option(
    "--split", "splits", multiple=True, help="Augment this split only (repeatable); the others stay as they are."
)
@click.option(
    "--image-format",
    type=click.Choice(get_args(Encoding)),
    default="jpg",
    show_default=True,
    help="Of augmented images.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing dataset.")
@reading_options
@engine_options
@json_option
def augment(
    dataset: Path,
    target: Path,
    policy: str,
    target_format: str,
    copies: int,
    seed: int,
    keep_originals: bool,
    splits: tuple[str, ...],
    image_format: str,
    overwrite: bool,
    reading: Reading,
    chosen: Chosen,
    as_json: bool,
) -> None:
    """Write DATASET with augmented copies of its images to the folder DST, whole or not at all."""
    started = time.perf_counter()
    target = target_of(target)
    steps = find_policy(policy)
    registry.find("format", registry.default().formats(), target_format)
    conversion.check_target(None, target, overwrite, find_place(dataset))  # before all images are rendered
    with chosen.at_work(dataset):
        data = reading(dataset)
    rows = _rows_of(data, splits)
    with scratch_folder(target) as folder, progress() as display, chosen.at_work(dataset, Path(folder).parent):
        task = display.add_task("augmenting", total=len(rows) * copies)
        result, losses = augmented(
            data,
            steps,
            Path(folder),
            copies=copies,
            seed=seed,
            keep_originals=keep_originals,
            image_rows=rows,
            encoding=cast("Encoding", image_format),
            progress=lambda step: display.advance(task, step),
        )
        writing = display.add_task("writing", total=len(result))
        losses.update(
            augsuite.write(
                result, target, target_format, overwrite=overwrite, progress=lambda step: display.advance(writing, step)
            )
        )
    boxes = int(result.annotations.is_box.sum())
    labels = len(result.annotations) - boxes
    counted = [f"{boxes:,} boxes"] * bool(boxes or not labels) + [f"{labels:,} image labels"] * bool(labels)
    lost = conversion.describe(losses, result)
    seconds = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "target": str(target),
                "format": target_format,
                "policy": steps.name,
                "augmented": len(rows) * copies,
                "images": len(result),
                "boxes": boxes,
                "image_labels": labels,
                "losses": dict(losses),
                "lost": lost,
                "retried": [asdict(each) for each in chosen.retried],
                "seconds": seconds,
            }
        )
        return
    click.echo(
        f"{at(dataset)} -> {target}   {len(rows):,} images x {copies} by {steps.name}   {len(result):,} images   "
        f"{'   '.join(counted)}   {seconds:.1f} s" + (f"   lost: {', '.join(lost)}" if lost else "")
    )
    chosen.tell()


def _rows_of(data: augsuite.Dataset, splits: tuple[str, ...]) -> list[int]:
    known = set(data.images.splits.tolist())
    for name in splits:
        if name not in known:
            raise ConfigError(f"unknown split {name!r}. {nearest(name, known - {''})}")
    wanted = set(splits) or known
    return [int(row) for row in np.flatnonzero([split in wanted for split in data.images.splits])]
