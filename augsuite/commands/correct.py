"""`augsuite correct`: what an annotator changed in CVAT or LabelMe comes back to the dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import msgspec

from augsuite.commands.console import json_option, print_table, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.commands.writing import Writing, writing_options
from augsuite.correction import TOLERANCE_PX, Corrections
from augsuite.correction import correct as carried_over
from augsuite.dataset import Intake
from augsuite.dataset.correcting import Edit

_SAID = {
    "moved": "moved",
    "reshaped": "outline changed, box as it was",
    "relabelled": "another class",
    "attributes": "attributes changed",
    "deleted": "deleted",
    "added": "added",
}


@click.command()
@click.argument("dataset")
@click.argument("annotated")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--from2", "annotated_format", metavar="FORMAT", help="The format of ANNOTATED; detected by default.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=TOLERANCE_PX,
    show_default=True,
    metavar="PX",
    help="Pixels that the tool may have rounded off.",
)
@click.option("--new-categories", is_flag=True, help="Take classes that DATASET does not have.")
@click.option("--places", type=click.IntRange(0), default=10, show_default=True, help="Edits named.")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Also draw what changed, before and after."
)
@reading_options
@writing_options
@json_option
def correct(
    dataset: str,
    annotated: str,
    target: Path,
    annotated_format: str | None,
    tolerance: float,
    new_categories: bool,
    places: int,
    html: Path | None,
    reading: Reading,
    writing: Writing,
    as_json: bool,
) -> None:
    """Bring back to DATASET what was corrected by hand in ANNOTATED, and write the result to TARGET.

    ANNOTATED is what came back from CVAT ("CVAT for images 1.1"), LabelMe or another tool. What nobody touched stays as it was: ids,
    extras, every digit; images that are not in ANNOTATED stay whole.
    """
    place = writing.prepare(target, [dataset, annotated], reading)
    intake = Intake(reading.skip_invalid, reading.allow_outside)
    with shown_progress():
        before = place.read(dataset)
        known = replace(reading, source_format=annotated_format, shared=True).options_of(annotated)
        options = {name: value for name, value in reading.options.items() if name in known}
        after, found = carried_over(
            before,
            annotated,
            annotated_format,
            tolerance=tolerance,
            new_categories=new_categories,
            intake=intake,
            options=options,
        )
    for text, times in {**intake.notes, **found.notes}.items():
        place.intake.notes[text] += times
    if intake.skipped:
        place.intake.skipped += intake.skipped
        place.intake.notes["invalid rows of what came back were left out, so their objects count as deleted"] += len(
            intake.skipped
        )
    if not as_json:
        _print(found, places)
    if html is not None:
        from augsuite.augment.correction_page import page
        from augsuite.dataset.saving import save_text

        save_text(page(before, after, found.edits), html)
    details = {"corrections": {**msgspec.to_builtins(found), "counts": found.counts()}}
    place.write(after, before, as_json=as_json, details=details)


def _print(found: Corrections, places: int) -> None:
    rows = [[_SAID[kind], f"{count:,}"] for kind, count in found.counts().items() if count]
    if rows:
        print_table(["edit", "objects"], rows, right=frozenset({1}))
    for edit in found.edits[:places]:
        click.echo(f"  {_line(edit)}")
    if len(found.edits) > places:
        click.echo(f"  ... and {len(found.edits) - places:,} more (--places, --json)")
    if found.categories_added:
        click.echo(f"new classes: {', '.join(found.categories_added)}")
    click.echo(
        f"{found.images_changed:,} of {found.images:,} images that came back changed   {found.same:,} objects as they were   "
        f"{found.images_left:,} images were not given out"
    )


def _line(edit: Edit) -> str:
    image = f"{edit.split}: {edit.image}" if edit.split else edit.image
    said = []
    for kind in edit.kinds:
        if kind == "moved":
            said.append(f"moved by {edit.px:.4g} px, IoU {edit.iou:.3f}")
        elif kind == "attributes":
            said.append(f"other {', '.join(edit.values)}")
        elif kind != "relabelled":
            said.append(_SAID[kind])
    now = f", now {edit.category_now}" if edit.category_now else ""
    return "  ".join([image, f"annotation {edit.id}", edit.category + now, *said])
