"""A file beside a written dataset that keeps what its format could not hold, and reading it back.

It holds the columns that were lost and what is needed to find the rows again: the place of each image file, and the class and box of
each annotation. Whatever was edited in the written files since then wins: an annotation that was moved keeps its new place and gets
nothing back, one that was deleted stays deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset.checks import Intake, kept
from augsuite.dataset.files import read_bytes
from augsuite.dataset.restoring import restore
from augsuite.dataset.tables import ABSENT, Annotations, Categories, Dataset, Extra, Images, objects
from augsuite.errors import DataError

NAME = "augsuite.sidecar"
VERSION = 1
_ROW = "augsuite._row"


class _Column(msgspec.Struct):
    """Values of an extra at some rows; raw: they are to stay undecoded."""

    rows: list[int]
    values: list[Any]
    raw: bool = False


class _Images(msgspec.Struct):
    paths: list[str]
    names: list[str]
    sizes: list[tuple[int, int]]
    ids: list[int]
    splits: list[str]
    extra: dict[str, _Column]


class _Categories(msgspec.Struct):
    names: list[str]
    ids: list[int]
    extra: dict[str, _Column]


class _Annotations(msgspec.Struct):
    image_rows: list[int]
    category_rows: list[int]
    boxes: list[tuple[float | None, float | None, float | None, float | None]]
    layout: str
    ids: list[int]
    ignore: list[bool]
    written: list[bool]
    extra: dict[str, _Column]


class _Sidecar(msgspec.Struct):
    augsuite_sidecar: int
    format: str
    images: _Images
    categories: _Categories
    annotations: _Annotations
    extra: dict[str, Raw]


def mark(data: Dataset) -> Dataset:
    """The dataset with the number of each row in it, so that `write` knows which rows a format could hold."""
    images, table = data.images, data.annotations
    return replace(
        data,
        images=replace(images, extra={**images.extra, _ROW: objects(range(len(images)))}),
        annotations=replace(table, extra={**table.extra, _ROW: objects(range(len(table)))}),
    )


def unmark(data: Dataset) -> Dataset:
    """The dataset without those numbers."""
    images, table = data.images, data.annotations
    return replace(
        data,
        images=replace(images, extra={key: value for key, value in images.extra.items() if key != _ROW}),
        annotations=replace(table, extra={key: value for key, value in table.extra.items() if key != _ROW}),
    )


def write(
    folder: Path, data: Dataset, left: Dataset, paths: Sequence[str], format_name: str, keeps: Collection[str]
) -> None:
    """Write the sidecar.

    Args:
        folder: where the dataset was written.
        data: the dataset, whole.
        left: what was left of `mark(data)` for the format, not yet unmarked.
        paths: where the images of `left` belong.
        format_name: the format that was written.
        keeps: what it keeps.
    """
    places = np.full(len(data), "", object)
    places[left.images.extra[_ROW].astype(np.int64)] = list(paths)
    written = np.zeros(len(data.annotations), bool)
    written[left.annotations.extra[_ROW].astype(np.int64)] = True
    images, categories, table = data.images, data.categories, data.annotations
    document = _Sidecar(
        VERSION,
        format_name,
        _Images(
            places.tolist(),
            images.names.tolist(),
            images.sizes.tolist(),
            images.ids.tolist(),
            images.splits.tolist(),
            _columns(images.extra, keeps),
        ),
        _Categories(categories.names.tolist(), categories.ids.tolist(), _columns(categories.extra, keeps)),
        _Annotations(
            table.image_rows.tolist(),
            table.category_rows.tolist(),
            table.boxes.tolist(),
            table.layout.value,
            table.ids.tolist(),
            table.ignore.tolist(),
            written.tolist(),
            _columns(table.extra, keeps),
        ),
        {key: Raw(_encode(value)) for key, value in data.extra.items() if not kept(key, keeps)},
    )
    (folder / NAME).write_bytes(_encode(document))


def _columns(extra: Extra, keeps: Collection[str]) -> dict[str, _Column]:
    columns = {}
    for key, values in extra.items():
        if key == _ROW or kept(key, keeps):
            continue
        rows = [row for row, value in enumerate(values.tolist()) if value is not ABSENT]
        present = values[rows].tolist()
        raw = any(isinstance(value, Raw) for value in present)
        if raw:  # an empty text, which says that a key was left out, is no JSON
            present = [
                bytes(value).decode() if isinstance(value, Raw) else _encode(value).decode() for value in present
            ]
        columns[key] = _Column(rows, present, raw)
    return columns


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def find(path: Path) -> Path | None:
    """The sidecar of a dataset, given its folder or a file in it."""
    for folder in (path, path.parent, path.parent.parent) if not path.is_dir() else (path,):
        if (folder / NAME).is_file():
            return folder / NAME
    return None


def bring_back(file: Path, data: Dataset, format_name: str, keeps: Collection[str], intake: Intake) -> Dataset:
    """The dataset with what its sidecar keeps.

    Args:
        file: the sidecar.
        data: what was read of the dataset beside it.
        format_name: the format that was read.
        keeps: what that format keeps; for this the files count, for all else the sidecar.
        intake: told what was brought back, and what was not.

    Raises:
        DataError: if the sidecar cannot be read.
    """
    try:
        document = msgspec.json.decode(read_bytes(file), type=_Sidecar)
        if document.augsuite_sidecar != VERSION:
            raise DataError(
                f"{file}: has version {document.augsuite_sidecar}, expected {VERSION}. Use a newer augsuite."
            )
        before = _dataset(document)
        paths, written = document.images.paths, np.array(document.annotations.written, bool)
        if len(paths) != len(before) or len(written) != len(before.annotations):
            raise ValueError("columns of different lengths")
    except (msgspec.DecodeError, ValueError, IndexError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{file}: the sidecar is damaged ({str(error).splitlines()[0] if str(error) else error!r}). Copy it again, or remove it "
            "to read the dataset without it."
        ) from error
    if document.format != format_name:
        intake.note(f"{file}: belongs to a dataset in the format {document.format}, and was left aside")
        return data
    return restore(data, before, paths, written, keeps, file, intake)


def _dataset(document: _Sidecar) -> Dataset:
    images, categories, table = document.images, document.categories, document.annotations
    boxes = np.array([[np.nan if value is None else value for value in box] for box in table.boxes], np.float64)
    data = Dataset(
        Images.of(
            images.names, images.sizes, images.ids, images.splits, extra=_extras(images.extra, len(images.names))
        ),
        Categories.of(categories.names, categories.ids, _extras(categories.extra, len(categories.names))),
        Annotations.of(
            table.image_rows,
            table.category_rows,
            boxes.reshape(-1, 4),
            Layout(table.layout),
            table.ids,
            table.ignore,
            _extras(table.extra, len(table.ids)),
        ),
        extra={key: msgspec.json.decode(value) for key, value in document.extra.items()},
    )
    from augsuite.dataset.checks import checked

    return checked(data, "sidecar")


def _extras(columns: Mapping[str, _Column], count: int) -> dict[str, NDArray[np.object_]]:
    extra = {}
    for key, column in columns.items():
        values = np.full(count, ABSENT, object)
        if len(column.rows) != len(column.values):
            raise ValueError(f"{key}: {len(column.rows)} rows and {len(column.values)} values")
        values[column.rows] = objects([Raw(value.encode()) for value in column.values] if column.raw else column.values)
        extra[key] = values
    return extra
