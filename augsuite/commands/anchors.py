"""`augsuite anchors`: shapes of anchors that suit a dataset's boxes."""

from __future__ import annotations

from pathlib import Path

import click

from augsuite.commands.console import json_option, print_json, print_table
from augsuite.commands.reading import Reading, reading_options
from augsuite.dataset.anchors import Anchors, box_shapes, setting, suggest
from augsuite.dataset.archives import at
from augsuite.dataset.files import with_sizes
from augsuite.errors import DataError

_MOST = 9  # as far as the paper's own figure nearly goes


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("-k", "count", type=click.IntRange(1, 100), help="How many; by default 1 to 9 are compared.")
@click.option(
    "--size", type=click.IntRange(1), default=128, show_default=True, help="The trainer's input, for the pixels shown."
)
@click.option("--split", "splits", multiple=True, help="Use the boxes of this split only (repeatable).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random starts.")
@reading_options
@json_option
def anchors(
    dataset: Path, count: int | None, size: int, splits: tuple[str, ...], seed: int, reading: Reading, as_json: bool
) -> None:
    """Suggest anchors for the boxes of DATASET: k-means on their intersection over union.

    With -k the anchors are printed as the setting `shapes` of the trainer ssd.
    """
    data = with_sizes(reading(dataset))
    shapes = box_shapes(data.where(splits=splits) if splits else data)
    found = suggest(shapes, [count] if count else range(1, _MOST + 1), seed)
    if not found:
        raise DataError(
            f"{at(dataset)}: {count or 1} anchors need boxes of as many shapes, in images of known size; "
            f"{len(shapes):,} boxes were found. Ask for fewer, or put the images beside the annotations."
        )
    if as_json:
        print_json(found)
    elif count:
        _print_shapes(found[0], size)
    else:
        print_table(
            ["anchors", "mean IoU"], [[str(each.k), f"{each.mean_iou:.3f}"] for each in found], right=frozenset({0, 1})
        )
        click.echo(f"\n{len(shapes):,} boxes. The shapes: augsuite anchors {at(dataset)} -k N")


def _print_shapes(found: Anchors, size: int) -> None:
    print_table(
        ["width", "height", f"px at {size}", "boxes"],
        [
            [f"{width:.4f}", f"{height:.4f}", f"{width * size:.1f} x {height * size:.1f}", f"{share:.1%}"]
            for (width, height), share in zip(found.shapes, found.shares, strict=True)
        ],
        right=frozenset({0, 1, 2, 3}),
    )
    click.echo(f"\nmean IoU {found.mean_iou:.3f}. For the trainer ssd:\n--set '{setting(found)}'")
