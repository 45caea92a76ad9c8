"""A file beside a written dataset that keeps what its format could not hold, and reading it back.

When a dataset was written, it is read back at once. The sidecar holds whatever then differs: of each value what it was before and what
was read in its place, and where each image, class and box was found. Whatever is edited in the written files later wins: only a value
that is still as it was read becomes what it was before; an annotation that was moved is a new one, one that was deleted stays deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from augsuite.boxes import Layout
from augsuite.dataset.checks import Intake, checked
from augsuite.dataset.files import read_bytes
from augsuite.dataset.losses import is_spelling
from augsuite.dataset.packing import decode, encode, said_of, settled, spelling
from augsuite.dataset.restoring import Change, Changes, Memory, alike, restore
from augsuite.dataset.tables import ABSENT, Annotations, Categories, Dataset, Extra, Images, Rows, objects
from augsuite.dataset.tracing import (
    CLOSE_PX,
    Place,
    pair_the_rest,
    trace_annotations,
    trace_categories,
    trace_images,
    with_sizes_of,
)
from augsuite.errors import DataError

NAME = "augsuite.sidecar"
VERSION = 2
_ROW = "augsuite._row"
Four = tuple[float | None, float | None, float | None, float | None]


class _Column(msgspec.Struct, omit_defaults=True):
    """Values of an extra: as they were, and as they were read; each a JSON array, so that numbers keep their spelling."""

    rows: list[int]
    values: Raw
    read_rows: list[int] = []
    read: Raw = Raw(b"[]")


class _Images(msgspec.Struct):
    names: list[str]
    sizes: list[tuple[int, int]]
    ids: list[int]
    splits: list[str]
    read: list[tuple[str, str, str] | None]
    extra: dict[str, _Column]


class _Categories(msgspec.Struct):
    names: list[str]
    ids: list[int]
    read: list[str]
    extra: dict[str, _Column]


class _Annotations(msgspec.Struct):
    image_rows: list[int]
    category_rows: list[int]
    boxes: list[Four]
    layout: str
    ids: list[int]
    ignore: list[bool]
    unwritten: list[int]
    read_boxes: dict[int, tuple[float, float, float, float]]
    read_ignore: list[int]
    extra: dict[str, _Column]


class _Sidecar(msgspec.Struct):
    augsuite_sidecar: int
    format: str
    images: _Images
    categories: _Categories
    annotations: _Annotations
    extra: Raw
    read_extra: Raw


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


def write(folder: Path, data: Dataset, left: Dataset, paths: Sequence[str], format_name: str, back: Dataset) -> None:
    """Write the sidecar.

    Args:
        folder: where the dataset was written.
        data: the dataset, whole.
        left: what was left of `mark(data)` for the format, not yet unmarked.
        paths: where the images of `left` belong.
        format_name: the format that was written.
        back: what is read of the folder now.
    """
    images, categories, table = data.images, data.categories, data.annotations
    of_image = left.images.extra[_ROW].astype(np.int64)
    expected: list[Place | None] = [None] * len(data)
    for row, path, split, name in zip(of_image.tolist(), paths, left.images.splits, left.images.names, strict=True):
        expected[row] = Place(path, split, name)
    traced = trace_images(back, expected)
    image_of = _inverse(traced, len(data))
    of_category = trace_categories(back.categories, categories.names.tolist())
    _pair_categories(of_category, len(categories), len(back.categories))
    written = np.zeros(len(table), bool)
    written[left.annotations.extra[_ROW].astype(np.int64)] = True
    corners = with_sizes_of(data, back.images, traced).boxes()
    matches = trace_annotations(back, data, corners, written, traced, of_category)
    pair_the_rest(back, data, matches, written, traced, of_category)
    found = np.flatnonzero(matches >= 0)
    read = matches[found]
    others = back.boxes()[read]
    moved = ~(np.abs(corners[found] - others).max(axis=1, initial=0) <= CLOSE_PX) & ~np.isnan(others[:, 0])
    names = categories.names.tolist()
    for row, before in of_category.items():
        names[before] = back.categories.names[row]
    extra = {key: (data.extra.get(key, ABSENT), back.extra.get(key, ABSENT)) for key in {**data.extra, **back.extra}}
    extra = {key: change for key, change in extra.items() if not alike(*change)}
    document = _Sidecar(
        VERSION,
        format_name,
        _Images(
            images.names.tolist(),
            images.sizes.tolist(),
            images.ids.tolist(),
            images.splits.tolist(),
            [_place(back, row) if row >= 0 else None for row in image_of.tolist()],
            _columns(images.extra, back.images.extra, image_of),
        ),
        _Categories(
            categories.names.tolist(),
            categories.ids.tolist(),
            names,
            _columns(
                categories.extra,
                back.categories.extra,
                _inverse(
                    np.array([of_category.get(row, -1) for row in range(len(back.categories))], np.int64), len(names)
                ),
            ),
        ),
        _Annotations(
            table.image_rows.tolist(),
            table.category_rows.tolist(),
            table.boxes.tolist(),
            table.layout.value,
            table.ids.tolist(),
            table.ignore.tolist(),
            np.flatnonzero(matches < 0).tolist(),
            {int(row): tuple(box) for row, box in zip(found[moved].tolist(), others[moved].tolist(), strict=True)},
            found[table.ignore[found] != back.annotations.ignore[read]].tolist(),
            _columns(table.extra, back.annotations.extra, matches),
        ),
        _packed({key: before for key, (before, _) in extra.items()}),
        _packed({key: seen for key, (_, seen) in extra.items()}),
    )
    (folder / NAME).write_bytes(encode(document).encode())


def _inverse(rows: Rows, count: int) -> Rows:
    inverse = np.full(count, -1, np.int64)
    inverse[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    return inverse


def _pair_categories(of_category: dict[int, int], count: int, read: int) -> None:
    """Match those that a writer had to rename, in order, if none came or went."""
    if count == read:
        missing = sorted(set(range(count)) - set(of_category.values()))
        of_category |= zip(sorted(set(range(read)) - of_category.keys()), missing, strict=True)


def _place(data: Dataset, row: int) -> tuple[str, str, str]:
    return data.images.files[row], data.images.splits[row], data.images.names[row]


def _columns(extra: Extra, back: Extra, source: Rows) -> dict[str, _Column]:
    """What differs in extras; `source` says which row of `back` each row is (-1: none)."""
    columns = {}
    for key in dict.fromkeys((*extra, *back)):
        if key == _ROW:
            continue
        before = extra[key].tolist() if key in extra else [ABSENT] * len(source)
        now = np.full(len(source), ABSENT, object)
        if key in back:
            now[source >= 0] = back[key][source[source >= 0]]
        changes = [
            (row, value, seen)
            for row, (value, seen) in enumerate(zip(before, now.tolist(), strict=True))
            if not alike(value, seen)
        ]
        if changes:
            said = [(row, value) for row, value, _ in changes if value is not ABSENT]
            seen_of = [(row, seen) for row, _, seen in changes if seen is not ABSENT]
            columns[key] = _Column(*_values(key, said), *(_values(key, seen_of) if seen_of else ()))
    return columns


def _values(key: str, said: Sequence[tuple[int, Any]]) -> tuple[list[int], Raw]:
    values = [value for _, value in said]
    if is_spelling(key):  # an empty text, which says that a key was left out, is no JSON
        values = [bytes(value).decode() if isinstance(value, Raw) else [value] for value in values]
    return [row for row, _ in said], Raw(encode(values).encode())


def _packed(values: Mapping[str, Any]) -> Raw:
    return Raw(encode(said_of(values.items())).encode())


def find(path: Path) -> Path | None:
    """The sidecar of a dataset, given its folder or a file in it."""
    for folder in (path, path.parent, path.parent.parent) if not path.is_dir() else (path,):
        if (folder / NAME).is_file():
            return folder / NAME
    return None


def bring_back(file: Path, data: Dataset, format_name: str, intake: Intake) -> Dataset:
    """The dataset with what its sidecar keeps.

    Args:
        file: the sidecar.
        data: what was read of the dataset beside it.
        format_name: the format that was read.
        intake: told what was brought back, and what was not.

    Raises:
        DataError: if the sidecar cannot be read.
    """
    content = read_bytes(file)
    try:
        version = bytes(
            msgspec.json.decode(content, type=dict[str, Raw]).get("augsuite_sidecar", Raw(b"nothing"))
        ).decode()
        if version == str(VERSION):
            document = msgspec.json.decode(content, type=_Sidecar)
            memory = _memory(document)
    except (DataError, ValueError, IndexError, TypeError, OverflowError, RecursionError) as error:
        said = " ".join(str(error).split())[:200] or repr(error)
        raise DataError(
            f"{file}: the sidecar is damaged ({said}). Copy it again, or remove it to read the dataset without it."
        ) from error
    if version != str(VERSION):
        raise DataError(
            f"{file}: has version {version[:20]}, expected {VERSION}. Use the augsuite that wrote it, or remove it to read the dataset "
            "without it."
        )
    if document.format != format_name:
        intake.note(f"{file}: belongs to a dataset in the format {document.format}, and was left aside")
        return data
    return restore(data, memory, file, intake)


def _memory(document: _Sidecar) -> Memory:
    images, categories, table = document.images, document.categories, document.annotations
    boxes = np.array([[np.nan if value is None else value for value in box] for box in table.boxes], np.float64)
    data = checked(
        Dataset(
            Images.of(images.names, images.sizes, images.ids, images.splits),
            Categories.of(categories.names, categories.ids),
            Annotations.of(
                table.image_rows,
                table.category_rows,
                boxes.reshape(-1, 4),
                Layout(table.layout),
                table.ids,
                table.ignore,
            ),
        ),
        NAME,
    )
    if len(images.read) != len(data) or len(categories.read) != len(categories.names):
        raise ValueError("columns of different lengths")
    written, ignore = np.ones(len(table.ids), bool), np.zeros(len(table.ids), bool)
    written[table.unwritten] = False
    ignore[table.read_ignore] = True
    read_boxes = np.full((len(table.ids), 4), np.nan)
    read_boxes[list(table.read_boxes)] = np.array(list(table.read_boxes.values()), np.float64).reshape(-1, 4)
    before, seen = decode(document.extra, NAME), decode(document.read_extra, NAME)
    return Memory(
        data,
        [Place(*place) if place else None for place in images.read],
        categories.read,
        written,
        read_boxes,
        ignore,
        _changes(images.extra, len(data)),
        _changes(categories.extra, len(categories.names)),
        _changes(table.extra, len(table.ids)),
        {key: (before.get(key, ABSENT), seen.get(key, ABSENT)) for key in {**before, **seen}},
    )


def _changes(columns: Mapping[str, _Column], count: int) -> Changes:
    changes = {}
    for key, column in columns.items():
        before = dict(zip(column.rows, _decoded(key, column.values), strict=True))
        seen = dict(zip(column.read_rows, _decoded(key, column.read), strict=True))
        of_rows: dict[int, Change] = {
            row: (before.get(row, ABSENT), seen.get(row, ABSENT)) for row in dict.fromkeys((*before, *seen))
        }
        if any(not 0 <= row < count for row in of_rows):
            raise ValueError(f"{key}: a row outside the {count} there are")
        changes[key] = of_rows
    return changes


def _decoded(key: str, raw: Raw) -> list[Any]:
    """The values of a JSON array; what would be written in another way stays undecoded."""
    values = msgspec.json.decode(raw, type=list[Any])
    if is_spelling(key):
        return [spelling(value) if isinstance(value, str) else value[0] for value in values]
    if msgspec.json.encode(values) == bytes(raw):
        return values
    return [settled(value) for value in msgspec.json.decode(raw, type=list[Raw])]
