"""`augsuite tile`: cut large images and their boxes into tiles."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import cast, get_args

import click

from augsuite import conversion
from augsuite.commands.console import json_option, print_json, shown_progress
from augsuite.commands.engine import Chosen, engine_options
from augsuite.commands.reading import Reading, reading_options
from augsuite.commands.writing import Writing
from augsuite.dataset.output import Placing, scratch_folder
from augsuite.dataset.publishing import target_of
from augsuite.dataset.tiling import Encoding, tiled
from augsuite.dataset.urls import url_of
from augsuite.protocols import Losses


def _size(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    """`640` or `640x480`."""
    found = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", value)
    if not found:
        raise click.BadParameter(f"{value!r} is no size. Write 640, or 640x480.", context, parameter)
    return int(found[1]), int(found[2] or found[1])


@click.command()
@click.argument("dataset")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--size", callback=_size, default="640", show_default=True, metavar="W[xH]", help="Of a tile, in pixels.")
@click.option(
    "--overlap",
    type=click.FloatRange(0),
    default=0.2,
    show_default=True,
    help="Of neighbours: below 1 a share of the tile's side, else pixels.",
)
@click.option(
    "--min-visible",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="A box stays in a tile that shows at least this share of its whole area.",
)
@click.option(
    "--empty", type=click.Choice(("keep", "drop")), default="keep", show_default=True, help="Tiles without annotations."
)
@click.option(
    "--image-format",
    type=click.Choice(get_args(Encoding)),
    default="same",
    show_default=True,
    help="Of tiles; same: JPEG for a JPEG, PNG for all others.",
)
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of JPEG tiles.")
@click.option("--max-pixels", type=click.IntRange(1), help="Open images of up to so many pixels.")
@engine_options
@click.option("--to", metavar="FORMAT", help="The format to write; that of the source by default.")
@click.option(
    "--sidecar",
    is_flag=True,
    help="Keep what the format cannot hold, such as tile.source, in a file beside the output.",
)
@click.option("--overwrite", is_flag=True, help="Replace the dataset at TARGET.")
@reading_options
@json_option
def tile(
    dataset: str,
    target: Path,
    size: tuple[int, int],
    overlap: float,
    min_visible: float,
    empty: str,
    image_format: str,
    quality: int,
    max_pixels: int | None,
    chosen: Chosen,
    to: str | None,
    sidecar: bool,
    overwrite: bool,
    reading: Reading,
    as_json: bool,
) -> None:
    """Cut the images of DATASET into overlapping tiles and write them to the folder TARGET, whole or not at all."""
    started = time.perf_counter()
    target = target_of(target)
    place = Writing(to, overwrite=overwrite, chosen=chosen).prepare(target, [dataset], reading)
    with scratch_folder(target) as folder, shown_progress(), chosen.at_work(dataset, target):
        data = place.read(dataset)
        tiles, losses = tiled(
            data,
            Path(folder),
            size=size,
            overlap=overlap,
            min_visible_frac=min_visible,
            keep_empty=empty == "keep",
            encoding=cast("Encoding", image_format),
            quality=quality,
            max_pixels=max_pixels,
        )
        lost = Counter(losses)
        lost.update(place.put(tiles, _placing(Path(folder), target), sidecar=sidecar))
    said = conversion.describe(Losses(lost), tiles)
    seconds = time.perf_counter() - started
    boxes = int(tiles.annotations.is_box.sum())
    if as_json:
        print_json(
            {
                "target": str(target),
                "format": place.format,
                "images_before": len(data),
                "boxes_before": int(data.annotations.is_box.sum()),
                "images": len(tiles),
                "boxes": boxes,
                "losses": dict(lost),
                "lost": said,
                "retried": [asdict(each) for each in chosen.retried],
                "seconds": seconds,
            }
        )
        return
    click.echo(
        f"{target} ({place.format})   {len(data):,} images -> {len(tiles):,} tiles of {size[0]} x {size[1]}   {boxes:,} boxes   "
        f"{seconds:.1f} s   lost: {', '.join(said) or 'nothing'}"
    )
    chosen.tell()


def _placing(folder: Path, target: Path) -> Placing:
    """The tiles become part of the dataset without a copy, where the file system has hard links."""
    if url_of(target) is not None:
        return "copy"
    probe = folder / "probe"
    probe.touch()
    try:
        os.link(probe, folder / "linked")
    except OSError:
        return "copy"
    return "hardlink"
