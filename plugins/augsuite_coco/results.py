"""COCO results: a list of detections, which name their images and categories by id alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.errors import DataError
from augsuite_coco.rows import Rows


def is_results(file: Path) -> bool:
    """Whether a file holds a list, not an object; False where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    except OSError:
        return False


def as_dataset(file: Path, rows: Rows, about: Dataset | None, intake: Intake) -> Dataset:
    """Detections as a dataset.

    Args:
        file: where they were read from, for messages.
        rows: the detections.
        about: the dataset that they are about; where it is None, images and categories are called by their ids.
        intake: takes what is invalid or surprising.

    Raises:
        DataError: if a detection names an image or category that `about` does not have.
    """
    columns = rows.columns
    images, categories, boxes = (columns.column(key) for key in ("image_id", "category_id", "bbox"))
    if about is None:
        intake.note(
            f"{file}: results name images and categories by id alone; pass --option images=FILE, the annotations that they "
            "are about, to give them names"
        )
        ids, kinds = np.unique(images), np.unique(categories)
        about = Dataset(
            Images.of([str(number) for number in ids.tolist()], ids=ids),
            Categories.of([str(number) for number in kinds.tolist()], kinds),
            Annotations.of([], []),
            root=file.parent,
        )
    image_row = {number: row for row, number in enumerate(about.images.ids.tolist())}
    category_row = {number: row for row, number in enumerate(about.categories.ids.tolist())}
    for what, named, known in (("image", images, image_row), ("category", categories, category_row)):
        strange = next((number for number in named.tolist() if number not in known), None)
        if strange is not None:
            place = named.tolist().index(strange)
            raise DataError(
                f"{file}: [{place}].{what}_id: there is no {what} with id {strange} in the annotations given by images=. "
                "Name those that the results are about."
            )
    extra = columns.extras()
    scores = extra.get("score", np.full(len(images), ABSENT, object))
    if any(not isinstance(score, int | float) for score in scores.tolist()):
        intake.note(f"{file}: not every detection has a score")
    return replace(
        about,
        annotations=Annotations.of(
            [image_row[number] for number in images.tolist()],
            [category_row[number] for number in categories.tolist()],
            boxes,
            Layout.XYWH_PX,
            extra={**extra, "score": objects(scores)},
        ),
    )
