"""Tables to one CSV file beside `images/`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Dataset
from augsuite.dataset.files import inside, unique
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_csv.header import LARGEST_FRACTION

_PREFIX = "csv."
_HEADINGS = {
    "xyxy": ("xmin", "ymin", "xmax", "ymax"),
    "xywh": ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    "cxcywh": ("x_center", "y_center", "w", "h"),
}


def write(data: Dataset, folder: Path, losses: Losses) -> Sequence[str]:
    """Write `annotations.csv`, with the images in `images/`.

    Columns: `filename, width, height, class, xmin, ymin, xmax, ymax`, and where something is there to say, `split`, `ignore` and the
    extras `csv.*`. Fractions stay fractions (`xmin_norm`, ...). Numbers are written so that they read back as the same float64.
    """
    names = [_safe(name, losses) for name in data.images.names.tolist()]
    filenames = unique(names)
    losses["image names"] += sum(name != filename for name, filename in zip(names, filenames, strict=True))
    layout = _layout(data)
    boxes = data.boxes(layout)
    headings = _headings(layout, boxes)
    extras = {key: values for key, values in data.annotations.extra.items() if key.startswith(_PREFIX)}
    splits = bool((data.images.splits != "").any())
    ignore = bool(data.annotations.ignore.any())
    classes = [_cell(name, losses) for name in data.categories.names.tolist()]
    with (folder / "annotations.csv").open("w", encoding="utf-8", newline="") as opened:
        out = csv.writer(opened, lineterminator="\n")
        out.writerow(
            ["filename", "width", "height", "class", *headings]
            + ["split"] * splits
            + ["ignore"] * ignore
            + [key.removeprefix(_PREFIX) for key in extras]
        )
        for row, filename in enumerate(filenames):
            width, height = data.images.sizes[row].tolist()
            start = [filename, width or "", height or ""]
            split = [_cell(data.images.splits[row], losses)] * splits
            annotations = data.rows_of(row).tolist()
            for at in annotations:
                box: list[Any] = [""] * 4
                if data.annotations.is_box[at]:
                    box = [int(value) if value.is_integer() else value for value in boxes[at].tolist()]
                said = [values[at] for values in extras.values()]
                out.writerow(
                    [*start, classes[data.annotations.category_rows[at]], *box, *split]
                    + [int(data.annotations.ignore[at])] * ignore
                    + ["" if value is ABSENT else value for value in said]
                )
            if not annotations:
                out.writerow([*start, "", *[""] * 4, *split] + [""] * (ignore + len(extras)))
    return [f"images/{filename}" for filename in filenames]


def _safe(name: str, losses: Losses) -> str:
    path = inside(_cell(name, losses))
    if path is None:
        raise DataError(f"image {name!r} would be written outside the output. Rename it.")
    losses["image names"] += path != name
    return path


def _cell(text: str, losses: Losses) -> str:
    """Text for a cell; spaces around it do not come back."""
    losses["spaces around text"] += text != text.strip()
    return text


def _layout(data: Dataset) -> Layout:
    """As it was read from CSV; else corners, in the units that the dataset has."""
    own = data.annotations.layout
    if data.extra.get("csv.layout") == own.value:
        return own
    return Layout.XYXY_UNIT if own.unit else Layout.XYXY_PX


def _headings(layout: Layout, boxes: np.ndarray) -> tuple[str, ...]:
    """The names of the box columns; they say the units where the values alone would leave it open."""
    plain = _HEADINGS[layout.corners]
    if layout.unit:
        return tuple(f"{name}_norm" for name in plain)
    values = np.abs(boxes[~np.isnan(boxes)])
    return tuple(f"{name}_px" for name in plain) if len(values) and values.max() <= LARGEST_FRACTION else plain
