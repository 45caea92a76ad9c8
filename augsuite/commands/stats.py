"""`augsuite stats`: what is in a dataset."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
import msgspec

from augsuite.commands.console import json_option, print_json, print_table, shown_progress
from augsuite.commands.engine import Chosen, engine_options
from augsuite.commands.reading import Reading, reading_options
from augsuite.dataset.archives import at
from augsuite.dataset.files import with_sizes
from augsuite.dataset.patterns import patterns
from augsuite.dataset.stats import Bin, Spread, Summary, bin_name, summary

_BAR = 40  # columns
_SIZES = 5  # image sizes shown


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page with charts."
)
@reading_options
@engine_options
@json_option
def stats(dataset: Path, html: Path | None, reading: Reading, chosen: Chosen, as_json: bool) -> None:
    """Count images, boxes, classes and sizes of DATASET."""
    with shown_progress(), chosen.at_work(dataset):
        data = with_sizes(reading(dataset))
        found = summary(data)
        if html is not None:
            from augsuite.dataset.statpage import write_page  # templates and pictures, which the text does not need

            write_page(data, html, dataset.resolve().name if dataset.exists() else str(at(dataset)), found=found)
    if as_json:
        again = [asdict(each) for each in chosen.retried]
        print_json({**msgspec.to_builtins(found), **msgspec.to_builtins(patterns(data)), "retried": again})
        return
    chosen.tell()
    if html is not None:
        click.echo(html)
        return
    _print_counts(found)
    if found.categories:
        click.echo()
        _print_categories(found)
    if not found.boxes:
        return
    click.echo()
    print_table(
        ["", "min", "median", "mean", "max"],
        [
            _spread("boxes per image", found.boxes_per_image),
            _spread("box width, px", found.box_width),
            _spread("box height, px", found.box_height),
            _spread("width / height", found.aspect_ratio),
        ],
        right=frozenset({1, 2, 3, 4}),
    )
    _print_histogram("boxes per image", found.boxes_per_image_bins, whole=True)
    _print_histogram("box side (square root of its area), px", found.box_side_bins)
    _print_histogram("width / height", found.aspect_ratio_bins)


def _print_counts(found: Summary) -> None:
    sizes = [f"{size.width} x {size.height} ({size.images:,})" for size in found.image_sizes[:_SIZES]]
    more = len(found.image_sizes) - _SIZES
    rows = [
        ["images", f"{found.images:,}"],
        *([f"  split {name or '(none)'}", f"{count:,}"] for name, count in found.splits.items()),
        ["  without annotations", f"{found.images_without_annotations:,}"],
        ["  sizes", ", ".join(sizes) + (f", and {more:,} more" if more > 0 else "") or "-"],
    ]
    if found.images_of_unknown_size:
        rows.append(["  of unknown size", f"{found.images_of_unknown_size:,}"])
    if found.image_labels:
        rows.append(["image labels", f"{found.image_labels:,}"])
    rows.append(["boxes", f"{found.boxes:,}"])
    if found.boxes:
        rows += [
            ["  small, medium, large", f"{found.small:,}, {found.medium:,}, {found.large:,}"],
            ["  reaching out of the image", f"{found.boxes_outside:,} ({found.boxes_wholly_outside:,} wholly)"],
            ["  empty", f"{found.empty_boxes:,}"],
            ["  duplicates", f"{found.duplicate_boxes:,}"],
            ["  ignored (crowd, difficult)", f"{found.ignored:,}"],
        ]
    print_table(["what", "count"], rows)


def _print_categories(found: Summary) -> None:
    labels = bool(found.image_labels)
    total = max(1, found.boxes + found.image_labels)
    print_table(
        ["category", "boxes", *(["labels"] if labels else []), "share", "images"],
        [
            [
                category.name,
                f"{category.boxes:,}",
                *([f"{category.image_labels:,}"] if labels else []),
                f"{(category.boxes + category.image_labels) / total:.1%}",
                f"{category.images:,}",
            ]
            for category in sorted(found.categories, key=lambda category: -category.boxes - category.image_labels)
        ],
        right=frozenset({1, 2, 3, 4}),
    )


def _spread(name: str, spread: Spread) -> list[str]:
    return [name, *(f"{value:.4g}" for value in (spread.min, spread.median, spread.mean, spread.max))]


def _print_histogram(title: str, bins: list[Bin], *, whole: bool = False) -> None:
    """Bars of the bins between the first and the last that hold anything."""
    filled = [index for index, each in enumerate(bins) if each.count]
    shown = bins[filled[0] : filled[-1] + 1] if filled else []
    longest = max((each.count for each in shown), default=0)
    rows = [
        [
            bin_name(each, whole=whole),
            f"{each.count:,}",
            "█" * max(round(_BAR * each.count / longest), bool(each.count)),
        ]
        for each in shown
    ]
    click.echo()
    print_table([title, "count", ""], rows, right=frozenset({1}))
