"""Batches of rows to columns, and what is wrong with a row."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import PIL.Image
import pyarrow as pa
from numpy.typing import NDArray

from augsuite.boxes import Boxes
from augsuite.dataset import ABSENT, Intake, objects
from augsuite.dataset.checks import LARGEST
from augsuite.dataset.images import upright_size
from augsuite.dataset.packing import unpacked
from augsuite.dataset.tables import Categories, Rows
from augsuite.errors import DataError
from augsuite_parquet.foreign import Columns, flat

_LARGEST_SIDE = 2**31


@dataclass
class Batch:
    """Some images and their annotations; `image_rows` count from the first image of the batch."""

    names: list[str]
    paths: list[str]
    sizes: NDArray[np.int64]
    ids: Rows | None
    splits: list[str] | None
    image_extra: dict[str, NDArray[np.object_]]
    image_rows: Rows
    category_rows: Rows
    boxes: Boxes
    annotation_ids: Rows | None
    ignore: NDArray[np.bool_]
    annotation_extra: dict[str, NDArray[np.object_]]
    embedded: int


def read_batch(
    file: Path,
    first: int,
    group: pa.RecordBatch,
    columns: Columns,
    categories: Categories,
    *,
    ours: bool,
    intake: Intake,
    before: int = 0,
) -> Batch:
    """Read one batch.

    Args:
        file: where it is from, for messages.
        first: the number of its first row in the file, for messages.
        group: the batch.
        columns: what is where.
        categories: all categories.
        ours: whether the file says ids and splits as we write them, so that they can be trusted.
        intake: takes invalid rows.
        before: how many rows the files before it have, which count in the names of images that have none.
    """
    try:
        return _read_batch(file, first, group, columns, categories, ours=ours, intake=intake, before=before)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"{file}: rows {first} to {first + len(group) - 1}: unexpected values ({said}). Fix the file."
        ) from error


def _read_batch(
    file: Path,
    first: int,
    group: pa.RecordBatch,
    columns: Columns,
    categories: Categories,
    *,
    ours: bool,
    intake: Intake,
    before: int = 0,
) -> Batch:
    images, embedded = _images(group, columns.image, before + first)
    sizes = _sizes(file, first, group, images.sizes, intake)
    good = np.array([bool(name) for name in images.names], bool)
    for row in np.flatnonzero(~good).tolist():
        intake.reject(f"{file}: row {first + row}", "expected the name of an image, got nothing")
    if columns.objects:
        table = _objects(file, first, group.column(columns.objects), columns, categories, ours=ours, intake=intake)
    else:
        table = _labels(file, first, group.column(columns.label), columns, categories, intake)
    rows, category, boxes, ids, ignore, extra = table
    keep = good[rows]
    position = np.cumsum(good) - 1
    names = [name for name, fine in zip(images.names, good.tolist(), strict=True) if fine]
    paths = images.names
    if ours:
        paths = [path or "" for path in _paths(group, columns).to_pylist()]
    image_extra = {f"parquet.{name}": _said(group.column(name)) for name in columns.rest}
    if ours:
        image_extra = unpacked(group.column("extra").to_pylist(), f"{file}: from row {first}")
    return Batch(
        names,
        [path for path, fine in zip(paths, good.tolist(), strict=True) if fine] if not embedded else [""] * len(names),
        sizes[good],
        group.column("image_id").to_numpy(zero_copy_only=False).astype(np.int64)[good] if ours else None,
        [split or "" for split, fine in zip(group.column("split").to_pylist(), good.tolist(), strict=True) if fine]
        if "split" in group.schema.names
        else None,
        {key: values[good] for key, values in image_extra.items() if ours or not (values == ABSENT).all()},
        position[rows[keep]].astype(np.int64),
        category[keep],
        boxes[keep],
        None if ids is None else ids[keep],
        ignore[keep],
        {key: values[keep] for key, values in extra.items()},
        embedded,
    )


def _paths(group: pa.RecordBatch, columns: Columns) -> pa.Array:
    """Where the images are: files beside, or names inside."""
    return group.column("image").field("path") if columns.held else group.column("path")


@dataclass
class _Names:
    names: list[str]
    sizes: NDArray[np.int64]


def _images(group: pa.RecordBatch, column: str, first: int) -> tuple[_Names, int]:
    """Names, sizes of embedded images (zeros else), and how many images are embedded."""
    values = group.column(column)
    sizes = np.zeros((len(values), 2), np.int64)
    if not pa.types.is_struct(values.type):
        return _Names([value or "" for value in values.to_pylist()], sizes), 0
    names, embedded = [], 0
    for row, value in enumerate(values.to_pylist()):
        content = (value or {}).get("bytes")
        name = (value or {}).get("path") or ""
        if content is not None:
            embedded += 1
            sizes[row] = _size(content)
            name = name or f"{first + row:08d}{_suffix(content)}"
        names.append(name)
    return _Names(names, sizes), embedded


def _size(content: bytes) -> tuple[int, int]:
    """Width and height as the image is shown (a turned photograph has them exchanged); zeros where it is no image."""
    try:
        with PIL.Image.open(io.BytesIO(content)) as image:
            return upright_size(image)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return 0, 0


def _suffix(content: bytes) -> str:
    return ".png" if content.startswith(b"\x89PNG") else ".jpg" if content.startswith(b"\xff\xd8") else ""


def _sizes(
    file: Path, first: int, group: pa.RecordBatch, sizes: NDArray[np.int64], intake: Intake
) -> NDArray[np.int64]:
    """The sizes that the columns say, else those given."""
    if "width" not in group.schema.names or "height" not in group.schema.names:
        return sizes
    said = np.stack([_integers(group.column(name), 0) for name in ("width", "height")], axis=1)
    wrong = ((said < 0) | (said >= _LARGEST_SIDE)).any(axis=1)
    for row in np.flatnonzero(wrong).tolist():
        intake.reject(f"{file}: row {first + row}", f"expected a width and height in pixels, got {said[row].tolist()}")
        said[row] = 0
    known = np.asarray((said > 0).all(axis=1), bool)
    return np.where(known[:, None], said, sizes)


def _integers(column: pa.Array, default: int) -> NDArray[np.int64]:
    """A column of whole numbers."""
    filled = column.cast(pa.int64()).fill_null(default)
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.int64)


_Table = tuple[Rows, Rows, Boxes, Rows | None, NDArray[np.bool_], dict[str, NDArray[np.object_]]]


def _objects(
    file: Path, first: int, column: pa.Array, columns: Columns, categories: Categories, *, ours: bool, intake: Intake
) -> _Table:
    """The objects of a batch."""
    fields = columns.fields
    values, offsets = flat(column, fields["category"])
    rows = np.repeat(np.arange(len(column)), np.diff(offsets)).astype(np.int64)

    def field(name: str) -> pa.Array:
        found, starts = flat(column, name)
        if not np.array_equal(starts, offsets):
            row = first + int(np.flatnonzero(np.diff(starts) != np.diff(offsets))[0])
            raise DataError(
                f"{file}: row {row}: {columns.objects}.{name} and {columns.objects}.{fields['category']} differ in length. Fix the file."
            )
        return found

    category = _category_rows(values, columns, categories)
    boxes = np.full((len(rows), 4), np.nan)
    boxed = np.zeros(len(rows), bool)
    if "bbox" in fields:
        boxes, boxed = _boxes(file, first, field(fields["bbox"]), rows)
    bad: NDArray[np.bool_] = (boxed & ~(np.abs(boxes) <= LARGEST).all(axis=1)) | (category < 0)
    for at in np.flatnonzero(bad).tolist():
        where = f"{file}: row {first + int(rows[at])}: {columns.objects}[{at - int(offsets[rows[at]])}]"
        if category[at] < 0:
            intake.reject(where, f"expected one of the {len(categories)} categories, got {values[at].as_py()!r}")
        else:
            intake.reject(where, f"bbox: expected 4 numbers, got {boxes[at].tolist()}")
    ignore = np.zeros(len(rows), bool)
    if "ignore" in fields:
        ignore = np.asarray(
            field(fields["ignore"]).cast(pa.bool_()).fill_null(False).to_numpy(zero_copy_only=False), bool
        )
    extra: dict[str, NDArray[np.object_]] = {}
    if ours and "extra" in fields:
        extra = unpacked(field(fields["extra"]).to_pylist(), f"{file}: from row {first}")
    for name in columns.others:
        if intake.wanted(f"parquet.{name}"):
            extra[f"parquet.{name}"] = _said(field(name))
    if "score" in fields and (scores := _said(field(fields["score"]).cast(pa.float64()))).size:
        odd = extra.get("score")
        extra["score"] = (
            scores
            if odd is None
            else objects(
                [
                    known if known is not ABSENT else other
                    for known, other in zip(scores.tolist(), odd.tolist(), strict=True)
                ]
            )
        )
    if "segmentation" in fields:
        extra["segmentation"] = _shapes(field(fields["segmentation"]))
    ids = _integers(field(fields["id"]), -1) if ours and "id" in fields else None
    keep: Any = ~bad
    return (
        rows[keep],
        category[keep],
        boxes[keep],
        None if ids is None else ids[keep],
        ignore[keep],
        {key: column[keep] for key, column in extra.items() if not all(value is ABSENT for value in column.tolist())},
    )


def _labels(
    file: Path, first: int, column: pa.Array, columns: Columns, categories: Categories, intake: Intake
) -> _Table:
    """Labels of whole images, one or a list for each."""
    rows = np.arange(len(column), dtype=np.int64)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        rows, column = np.repeat(rows, counts), column.flatten()
    said = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)
    category = _category_rows(column, columns, categories)
    for at in np.flatnonzero(said & (category < 0)).tolist():
        if column[at].as_py() != -1 or not columns.names:  # -1 is how a test set says that it hides its labels
            where = f"{file}: row {first + int(rows[at])}: {columns.label}"
            intake.reject(where, f"expected one of the {len(categories)} categories, got {column[at].as_py()!r}")
    keep = category >= 0
    count = int(keep.sum())
    return rows[keep], category[keep], np.full((count, 4), np.nan), None, np.zeros(count, bool), {}


def _category_rows(values: pa.Array, columns: Columns, categories: Categories) -> Rows:
    """Rows of categories; -1 for what is none."""
    names = {name: row for row, name in enumerate(categories.names.tolist())}
    if pa.types.is_integer(values.type):
        numbers = _integers(values, -1)
        if columns.names:
            table = np.array([names[name] for name in columns.names] + [-1], np.int64)
            return table[np.where((numbers >= 0) & (numbers < len(columns.names)), numbers, -1)]
        return np.array([names.get(str(number), -1) for number in numbers.tolist()], np.int64)
    return np.array([names.get(value, -1) for value in values.to_pylist()], np.int64)


def _boxes(file: Path, first: int, column: pa.Array, rows: Rows) -> tuple[Boxes, NDArray[np.bool_]]:
    """`(N, 4)` boxes, and which there are."""
    boxed = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), bool)
    if not pa.types.is_fixed_size_list(column.type):
        counts = column.value_lengths().to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(boxed & (counts != 4))
        if len(wrong):
            where = f"{file}: row {first + int(rows[wrong[0]])}: bbox"
            raise DataError(f"{where}: expected 4 numbers, got {column[int(wrong[0])].as_py()!r}. Fix the file.")
    elif column.type.list_size != 4:
        raise DataError(f"{file}: bbox: expected 4 numbers, got {column.type.list_size}. Fix the file.")
    boxes = np.full((len(column), 4), np.nan)
    numbers = column.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, 4)
    boxes[boxed] = numbers
    return boxes, boxed


def _said(column: pa.Array) -> NDArray[np.object_]:
    """Values as Python has them; null is absent."""
    return objects([ABSENT if value is None else value for value in column.to_pylist()])


def _shapes(column: pa.Array) -> NDArray[np.object_]:
    """Segmentations: JSON text is kept as it is, to be decoded by who looks at it."""
    values: Sequence[Any] = column.to_pylist()
    return objects(
        [
            ABSENT if value is None else msgspec.Raw(_json(value)) if isinstance(value, str) else value
            for value in values
        ]
    )


def _json(text: str) -> bytes:
    """The text, if it is JSON.

    Raises:
        ValueError: if it is not.
    """
    msgspec.json.decode(text, type=msgspec.Raw)
    return text.encode()
