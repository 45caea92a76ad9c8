"""What a dataset must satisfy, checked once where data enters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from augsuite.dataset.tables import Dataset
from augsuite.errors import DataError

LARGEST = 1e15
"""Coordinates are smaller than that: beyond it a float64 holds no part of a pixel, and areas soon overflow."""


def kept(key: str, keeps: Collection[str]) -> bool:
    """Whether an extra is among those named: itself, as one of `coco.*`, or as any by `*`."""
    return key in keeps or "*" in keeps or f"{key.partition('.')[0]}.*" in keeps


def number(text: str | None) -> float:
    """A coordinate as written in a file; NaN where it is none that a box can have."""
    try:
        value = float(text or "")
    except ValueError:
        return math.nan
    return value if abs(value) <= LARGEST and "_" not in (text or "") else math.nan  # Python alone reads 1_0 as 10


@dataclass
class Intake:
    """What a reader does with a row it cannot accept: stop with a clear line or, where asked to, leave it out and count it.

    Attributes:
        skip_invalid: leave invalid rows out instead of stopping.
        skipped: what was left out, one line each.
        notes: surprises that lose nothing, such as a file name that differs from its XML's: line -> how often.
        allow_outside: let names of images lead outside the dataset's folder.
        wants: the extras that somebody will look at, by name (`coco.area`) or owner (`coco.*`); None for all. A reader may put `UNREAD`
            in place of the values of all others, which saves time and memory.
    """

    skip_invalid: bool = False
    allow_outside: bool = False
    wants: Collection[str] | None = None
    skipped: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def reject(self, where: str, problem: str, total: int | None = None) -> None:
        """Report one row that must not enter the tables; the reader then leaves it out.

        Args:
            where: file and place, such as `train.json: annotations[17].bbox`.
            problem: what was expected and what was found.
            total: how many rows there are, for the hint.

        Raises:
            DataError: unless `skip_invalid` is set.
        """
        if not self.skip_invalid:
            rows = f"1 of {total:,} rows" if total else "this row"
            raise DataError(f"{where}: {problem}. Fix the file, or pass --skip-invalid to leave out {rows}.")
        self.skipped.append(f"{where}: {problem}")

    def wanted(self, key: str) -> bool:
        """Whether somebody will look at the values of an extra."""
        return self.wants is None or kept(key, self.wants)

    def note(self, text: str) -> None:
        """Report a surprise that loses nothing; the same text is counted."""
        self.notes[text] += 1


def checked(data: Dataset, where: str) -> Dataset:
    """Check shapes, dtypes, ranges and references of every column, once.

    Args:
        data: what a reader, a generator or a caller built.
        where: the file or folder it came from, for the message.

    Returns:
        The same dataset.

    Raises:
        DataError: naming the column, what was expected and what was found.
    """
    images, categories, table = data.images, data.categories, data.annotations
    count = {"images": len(images), "categories": len(categories), "annotations": len(table)}
    for name, column, shape, kind in (
        ("images.names", images.names, (count["images"],), object),
        ("images.sizes", images.sizes, (count["images"], 2), np.int64),
        ("images.ids", images.ids, (count["images"],), np.int64),
        ("images.splits", images.splits, (count["images"],), object),
        ("images.files", images.files, (count["images"],), object),
        ("categories.names", categories.names, (count["categories"],), object),
        ("categories.ids", categories.ids, (count["categories"],), np.int64),
        ("annotations.image_rows", table.image_rows, (count["annotations"],), np.int64),
        ("annotations.category_rows", table.category_rows, (count["annotations"],), np.int64),
        ("annotations.boxes", table.boxes, (count["annotations"], 4), np.float64),
        ("annotations.ids", table.ids, (count["annotations"],), np.int64),
        ("annotations.ignore", table.ignore, (count["annotations"],), np.bool_),
    ):
        if column.shape != shape or column.dtype != np.dtype(kind):
            raise DataError(
                f"{where}: {name}: expected shape {shape} and dtype {np.dtype(kind)}, "
                f"got {column.shape} and {column.dtype}. The plugin that read it has a bug."
            )
    for part, extras in (("images", images.extra), ("categories", categories.extra), ("annotations", table.extra)):
        for key, values in extras.items():
            if values.shape != (count[part],) or values.dtype != np.dtype(object):
                raise DataError(f"{where}: {part}.extra[{key!r}]: expected {count[part]} objects, got {values.shape}")
    _unique(where, "images.ids", images.ids)
    _unique(where, "categories.ids", categories.ids)
    _unique(where, "categories.names", categories.names)
    _unique(where, "annotations.ids", table.ids)
    _within(where, "annotations.image_rows", table.image_rows, len(images))
    _within(where, "annotations.category_rows", table.category_rows, len(categories))
    broken = ~np.isfinite(table.boxes).all(axis=1) & ~np.isnan(table.boxes).all(axis=1)
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        raise DataError(
            f"{where}: annotations.boxes[{row}]: expected 4 finite numbers, got {table.boxes[row].tolist()}"
        )
    if (images.sizes < 0).any():
        row = int(np.flatnonzero((images.sizes < 0).any(axis=1))[0])
        raise DataError(
            f"{where}: images.sizes[{row}]: expected width and height of 0 or more, got {images.sizes[row]}"
        )
    return data


def _unique(where: str, name: str, values: np.ndarray) -> None:
    if values.dtype != object:
        ordered = values if (values[1:] > values[:-1]).all() else np.sort(values)
        if (ordered[1:] > ordered[:-1]).all():
            return
    if values.dtype != object and (values[1:] > values[:-1]).all():
        return
    different = len(set(values.tolist())) if values.dtype == object else len(np.unique(values))
    if different != len(values):
        value, times = Counter(values.tolist()).most_common(1)[0]
        raise DataError(f"{where}: {name}: {value!r} stands {times} times. Give each row its own.")


def _within(where: str, name: str, rows: np.ndarray, limit: int) -> None:
    outside = (rows < 0) | (rows >= limit)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise DataError(f"{where}: {name}[{row}]: {rows[row]} is not one of the {limit} rows it refers to.")
