"""What the columns of a Parquet file mean, and which categories it speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from augsuite.dataset.members import PLACES
from augsuite.dataset.tables import Categories
from augsuite.errors import DataError
from augsuite_parquet.layout import IMAGE, LABEL, OBJECTS, opened

_FIELDS = {
    "bbox": ("bbox", "bboxes", "box", "boxes"),
    "category": ("category", "categories", "category_id", "label", "labels", "class", "class_id", "classes"),
    "id": ("id", "ids", "bbox_id", "annotation_id"),
    "ignore": ("ignore", "iscrowd", "is_crowd", "difficult"),
    "score": ("score", "scores", "confidence"),
    "segmentation": ("segmentation",),
    "area": ("area", "areas"),
    "extra": ("extra",),
}


@dataclass(frozen=True)
class Columns:
    """What is where.

    Attributes:
        image: the column that names the image.
        label: the column of the label of the whole image; "" where there is none.
        objects: the column of objects; "" where there is none.
        fields: meaning -> field of the objects.
        others: fields of the objects that mean nothing to us.
        rest: columns that mean nothing to us.
        names: of categories that are numbers, as `ClassLabel` says.
        read: the columns to read.
        held: whether the images are inside, where they can be had one by one; see `augsuite_parquet.embedded`.
    """

    image: str
    label: str
    objects: str
    fields: dict[str, str]
    others: tuple[str, ...]
    rest: tuple[str, ...]
    names: tuple[str, ...]
    read: tuple[str, ...]
    held: bool


_KNOWN = ("image_id", "path", "width", "height", "split", "extra")


def understand(file: Path, schema: pa.Schema) -> Columns:
    """Find out what the columns mean, from their names and types.

    Raises:
        DataError: if no column names the image, or none speaks of objects or labels.
    """
    found = ", ".join(schema.names)[:200]
    image = next((name for name in IMAGE if name in schema.names and _names_image(schema.field(name).type)), "")
    if not image:
        raise DataError(f"{file}: expected a column file_name or image that names the image, got: {found}. Add one.")
    objects = next((name for name in OBJECTS if name in schema.names), "")
    label = next((name for name in LABEL if name in schema.names and not objects), "")
    if not objects and not label:
        raise DataError(f"{file}: expected a column objects or label, got: {found}. Add one.")
    inner = fields_of(schema.field(objects).type) if objects else []
    if objects and not inner:
        raise DataError(
            f"{file}: {objects}: expected a struct of lists or a list of structs, got {schema.field(objects).type}. Change it."
        )
    fields = {
        meaning: next(name for name in known if name in inner)
        for meaning, known in _FIELDS.items()
        if any(name in inner for name in known)
    }
    if objects and "category" not in fields:
        raise DataError(f"{file}: {objects}: expected a field category, got: {', '.join(inner)[:200]}. Add it.")
    others = tuple(name for name in inner if name not in fields.values())
    known = {image, objects, label, *_KNOWN} & set(schema.names)
    names = _class_names(schema, objects, fields.get("category", ""), label)
    rest = tuple(name for name in schema.names if name not in known and not _heavy(schema.field(name).type))
    held = PLACES.encode() in (schema.metadata or {})
    read = (*known, *rest, *(["image.path"] if held else []))
    return Columns(image, label, objects, fields, others, rest, names, read, held)


def _names_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(index).name in {"path", "bytes"} for index in range(kind.num_fields))
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _heavy(kind: pa.DataType) -> bool:
    """Whether a column holds bytes, such as a mask: no value that an extra can hold."""
    if pa.types.is_struct(kind):
        return any(_heavy(kind.field(index).type) for index in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def fields_of(kind: pa.DataType) -> list[str]:
    """The fields of objects: a struct of lists or a list of structs; empty for anything else."""
    if _is_list(kind):
        kind = kind.value_type
        return [kind.field(index).name for index in range(kind.num_fields)] if pa.types.is_struct(kind) else []
    if not pa.types.is_struct(kind):
        return []
    return [kind.field(index).name for index in range(kind.num_fields) if _is_list(kind.field(index).type)]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _class_names(schema: pa.Schema, objects: str, category: str, label: str) -> tuple[str, ...]:
    """The names of a `ClassLabel`, from the metadata that `datasets` writes."""
    try:
        said = msgspec.json.decode((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature: Any = said["info"]["features"][objects or label]
        if objects:
            feature = feature[0] if isinstance(feature, list) else feature
            inner = feature.get("feature", feature)
            feature = (inner[0] if isinstance(inner, list) else inner)[category]
        feature = feature.get("feature", feature)
        return tuple(str(name) for name in feature["names"])
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return ()


def categories_of(files: Sequence[Path], columns: Sequence[Columns]) -> Categories:
    """The categories of files of others: those of the `ClassLabel`, else all that occur, sorted."""
    names: dict[str, None] = {}
    others: set[str | int] = set()
    for file, column in zip(files, columns, strict=True):
        names.update(dict.fromkeys(column.names))
        if not column.names:
            others |= _different(file, column)
    texts = sorted(value for value in others if isinstance(value, str))
    numbers = sorted(value for value in others if isinstance(value, int))
    return Categories.of(dict.fromkeys([*names, *texts, *map(str, numbers)]))


def _different(file: Path, column: Columns) -> set[Any]:
    """The different categories of a file."""
    found: set[Any] = set()
    with opened(file) as content:
        for batch in content.iter_batches(columns=[column.objects or column.label], use_threads=False):
            values = batch.column(0)
            if column.objects:
                values = flat(values, column.fields["category"])[0]
            elif _is_list(values.type):
                values = values.flatten()
            found.update(pc.unique(values).to_pylist())
    return found - {None}


def flat(objects: pa.Array, name: str) -> tuple[pa.Array, Any]:
    """One field of all objects, one after the other, and `(rows + 1,)` where those of each row begin."""
    if pa.types.is_struct(objects.type):
        lists = objects.flatten()[objects.type.get_field_index(name)]
        values = lists.flatten()
    else:
        lists = objects
        structs = objects.flatten()
        values = structs.flatten()[structs.type.get_field_index(name)]
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return values, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
