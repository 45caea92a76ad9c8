"""What a sidecar's JSON says, and reading it.

A value of an extra is held twice: as it was, and as it was read right after it was written; so that numbers keep their spelling, both
stand in JSON arrays that are decoded with care.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from augsuite.boxes import Layout
from augsuite.dataset.checks import checked
from augsuite.dataset.files import read_bytes
from augsuite.dataset.losses import is_spelling
from augsuite.dataset.packing import decode, encode, said_of, settled, spelling
from augsuite.dataset.restoring import Change, Changes, Memory
from augsuite.dataset.tables import ABSENT, Annotations, Categories, Dataset, Images
from augsuite.dataset.tracing import Place
from augsuite.errors import DataError

NAME = "augsuite.sidecar"
VERSION = 2
_Four = tuple[float | None, float | None, float | None, float | None]


class Column(msgspec.Struct, omit_defaults=True):
    """Values of an extra: as they were, and as they were read; each a JSON array, so that numbers keep their spelling."""

    rows: list[int]
    values: Raw
    read_rows: list[int] = []
    read: Raw = Raw(b"[]")


class ImagesPart(msgspec.Struct):
    """The images as they were; `read`: file, split and name as each was read, None for those that the format could not hold."""

    names: list[str]
    sizes: list[tuple[int, int]]
    ids: list[int]
    splits: list[str]
    read: list[tuple[str, str, str] | None]
    extra: dict[str, Column]


class CategoriesPart(msgspec.Struct):
    """The categories as they were; `read`: the names as read."""

    names: list[str]
    ids: list[int]
    read: list[str]
    extra: dict[str, Column]


class AnnotationsPart(msgspec.Struct):
    """The annotations as they were; `read_boxes`: corners in pixels of those that were read elsewhere; `read_ignore`: read otherwise."""

    image_rows: list[int]
    category_rows: list[int]
    boxes: list[_Four]
    layout: str
    ids: list[int]
    ignore: list[bool]
    unwritten: list[int]
    read_boxes: dict[int, tuple[float, float, float, float]]
    read_ignore: list[int]
    extra: dict[str, Column]


class Sidecar(msgspec.Struct):
    """The whole file; `extra` and `read_extra` are what is said of the dataset as a whole."""

    augsuite_sidecar: int
    format: str
    images: ImagesPart
    categories: CategoriesPart
    annotations: AnnotationsPart
    extra: Raw
    read_extra: Raw


def load(file: Path) -> tuple[str, Memory]:
    """The format that a sidecar belongs to, and what it knows.

    Raises:
        DataError: if it is damaged, or of another version.
    """
    content = read_bytes(file)
    try:
        version = bytes(
            msgspec.json.decode(content, type=dict[str, Raw]).get("augsuite_sidecar", Raw(b"nothing"))
        ).decode()
        if version == str(VERSION):
            document = msgspec.json.decode(content, type=Sidecar)
            memory = _memory(document)
    except (DataError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        said = " ".join(str(error).split())[:200] or repr(error)
        raise DataError(
            f"{file}: the sidecar is damaged ({said}). Copy it again, or remove it to read the dataset without it."
        ) from error
    if version != str(VERSION):
        raise DataError(
            f"{file}: has version {version[:20]}, expected {VERSION}. Use the augsuite that wrote it, or remove it to read the dataset "
            "without it."
        )
    return document.format, memory


def values_of(key: str, said: Sequence[tuple[int, Any]]) -> tuple[list[int], Raw]:
    """Rows, and their values of an extra as a JSON array; `_decoded` back."""
    values = [value for _, value in said]
    if is_spelling(key):  # an empty text, which says that a key was left out, is no JSON
        values = [bytes(value).decode() if isinstance(value, Raw) else [value] for value in values]
    return [row for row, _ in said], Raw(encode(values).encode())


def packed(values: Mapping[str, Any]) -> Raw:
    """What is said of the whole dataset, as a JSON object."""
    return Raw(encode(said_of(values.items())).encode())


def _memory(document: Sidecar) -> Memory:
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


def _changes(columns: Mapping[str, Column], count: int) -> Changes:
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
