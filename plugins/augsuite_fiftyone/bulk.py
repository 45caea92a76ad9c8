"""Samples and labels into a FiftyOne dataset in bulk: documents straight to MongoDB, after their fields were declared.

`add_samples` and `set_values` make an object of every label and validate it; here a document is written as it is, so it must be one that
FiftyOne itself would write (`labels`). Fields and attributes are declared with the types of their values.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId

from augsuite.errors import ConfigError
from augsuite_fiftyone.database import connect
from augsuite_fiftyone.labels import LISTS, Document, labels_of

_BATCH = 1000  # documents sent at a time
_MIME = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "bmp": "image/bmp", "webp": "image/webp", "tif": "image/tiff", "tiff": "image/tiff"}  # fmt: skip
_OWN = frozenset(
    {"_id", "_cls", "tags", "attributes", "label", "bounding_box", "mask", "confidence", "points", "closed", "filled"}
)
"""What FiftyOne declares for labels by itself."""


@dataclass(frozen=True)
class NewSample:
    """A sample to be inserted.

    Attributes:
        filepath: absolute.
        width: of the image in pixels; 0 where unknown.
        height: as `width`.
        fields: name -> a label document (`augsuite_fiftyone.labels`) or a plain value; None is left out.
        tags: of the sample.
        group: id of the group and name of the slice, in a grouped dataset.
        id: of the sample; a new one by default.
    """

    filepath: str
    width: int
    height: int
    fields: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    group: tuple[str, str] | None = None
    id: str | None = None


def insert_samples(
    dataset: Any, samples: Iterable[NewSample], progress: Callable[[int], None] | None = None
) -> list[str]:
    """Add image samples to a FiftyOne dataset, as `add_samples(..., dynamic=True)` would, many times faster.

    Args:
        dataset: the `fiftyone.Dataset`; one with groups if the samples have some.
        samples: taken batch by batch.
        progress: called with the number of samples after each batch.

    Returns:
        The ids of the samples, in order.

    Raises:
        ConfigError: if a sample has a group and the dataset no group field, or a field exists with another type.
    """
    collection, ids, schema = dataset._sample_collection, [], Schema(dataset)  # noqa: SLF001 - there is no public way in bulk
    for batch in _batches(samples):
        now = dt.datetime.now(dt.UTC)
        schema.see([sample.fields for sample in batch])
        if dataset.media_type is None:
            dataset.media_type = "image"
        if dataset.group_field is None and any(sample.group is not None for sample in batch):
            raise ConfigError(f"{dataset.name}: has no group field. Make one with add_group_field.")
        for name in sorted({sample.group[1] for sample in batch if sample.group is not None}):
            dataset.add_group_slice(name, "image")
        documents = [_document(dataset, sample, now) for sample in batch]
        collection.insert_many(documents, ordered=False)
        ids += [str(document["_id"]) for document in documents]
        if progress is not None:
            progress(len(batch))
    return ids


def set_labels(
    dataset: Any,
    field: str,
    documents: Mapping[str, Document | None],
    kind: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Give samples that exist a label field.

    Args:
        dataset: the `fiftyone.Dataset`.
        field: its name; made where it does not exist.
        documents: id of the sample -> label document; None removes the field's value.
        kind: the class of the labels, such as `Detections`; needed only where all documents are None.
        progress: called with the number of samples after each batch.

    Raises:
        ConfigError: if the field exists with another type.
    """
    schema = Schema(dataset)
    if kind is not None:
        schema.declare_label(field, kind)
    schema.see([{field: document} for document in documents.values()])
    _write(dataset, field, documents, progress)


def set_values(dataset: Any, field: str, type: Any, values: Mapping[str, Any]) -> None:  # noqa: A002 - FiftyOne's word
    """Give samples that exist a plain value.

    Args:
        dataset: the `fiftyone.Dataset`.
        field: its name; made where it does not exist.
        type: a field class of FiftyOne, such as `fiftyone.FloatField`, or its name.
        values: id of the sample -> value.

    Raises:
        ConfigError: if the field exists with another type.
    """
    Schema(dataset).declare(field, type)
    _write(dataset, field, values, None)


class Schema:
    """Declares the fields and attributes of documents, each once."""

    def __init__(self, dataset: Any) -> None:
        self._fo = connect(quiet=True)
        self._dataset = dataset
        self._known: dict[str, Any] = dict(dataset.get_field_schema(flat=True))

    def see(self, fields: Iterable[Mapping[str, Any]]) -> None:
        """Declare what the fields of some samples hold.

        Raises:
            ConfigError: if a field exists with another type.
        """
        found: dict[str, set[str]] = {}
        for each in fields:
            for name, value in each.items():
                if value is None:
                    continue
                if isinstance(value, Mapping) and "_cls" in value:
                    kind = str(value["_cls"])
                    if name not in self._known:
                        self.declare_label(name, kind)
                    place = f"{name}.{LISTS[kind]}" if kind in LISTS else name
                    for label in labels_of(value):
                        for key, attribute in label.items():
                            if key not in _OWN and attribute is not None:
                                found.setdefault(f"{place}.{key}", set()).add(_kind(attribute))
                else:
                    found.setdefault(name, set()).add(_kind(value))
        for path, kinds in found.items():
            if path not in self._known:
                self.declare(path, _common(kinds))

    def declare_label(self, field: str, kind: str) -> None:
        """Make a field for labels of a class.

        Raises:
            ConfigError: if it exists with another type.
        """
        self._add(field, self._fo.EmbeddedDocumentField, embedded_doc_type=getattr(self._fo, kind))

    def declare(self, path: str, kind: Any) -> None:
        """Make a field, or an attribute of labels, of a type such as `IntField`, or of lists such as `ListField:IntField`.

        Raises:
            ConfigError: if it exists with another type.
        """
        if not isinstance(kind, str):
            self._add(path, kind)
            return
        outer, _, inner = kind.partition(":")
        more = {"subfield": getattr(self._fo, inner)} if inner else {}
        self._add(path, getattr(self._fo, outer), **more)

    def _add(self, path: str, kind: Any, **more: Any) -> None:
        known = self._known.get(path)
        wanted = more.get("embedded_doc_type")
        if known is not None:
            if not isinstance(known, kind) or (wanted is not None and known.document_type is not wanted):
                raise ConfigError(f"{self._dataset.name}: the field {path!r} exists as {known}. Choose another name.")
            return
        self._dataset.add_sample_field(path, kind, **more)
        self._known = dict(self._dataset.get_field_schema(flat=True))


def _document(dataset: Any, sample: NewSample, now: dt.datetime) -> Document:
    document: Document = {
        "_id": ObjectId(sample.id),
        "_dataset_id": dataset._doc.id,  # noqa: SLF001 - FiftyOne finds a sample's dataset by it
        "_media_type": "image",
        "_rand": random.random() * 0.001 + 0.999,  # as FiftyOne draws it
        "filepath": sample.filepath,
        "tags": list(sample.tags),
        "created_at": now,
        "last_modified_at": now,
    }
    if sample.width > 0 and sample.height > 0:
        document["metadata"] = {"_cls": "ImageMetadata", "width": int(sample.width), "height": int(sample.height)}
        mime = _MIME.get(sample.filepath.rpartition(".")[2].lower())
        if mime:
            document["metadata"]["mime_type"] = mime
    if sample.group is not None:
        document[dataset.group_field] = {"_cls": "Group", "_id": ObjectId(sample.group[0]), "name": sample.group[1]}
    document.update((name, value) for name, value in sample.fields.items() if value is not None)
    return document


def _write(dataset: Any, field: str, values: Mapping[str, Any], progress: Callable[[int], None] | None) -> None:
    from pymongo import UpdateOne

    now = dt.datetime.now(dt.UTC)
    for batch in _batches(values.items()):
        dataset._sample_collection.bulk_write(  # noqa: SLF001 - there is no public way in bulk
            [
                UpdateOne({"_id": ObjectId(key)}, {"$set": {field: value, "last_modified_at": now}})
                for key, value in batch
            ],
            ordered=False,
        )
        if progress is not None:
            progress(len(batch))
    dataset._reload_docs(hard=True)  # noqa: SLF001 - samples that the caller holds would show the old values


def _kind(value: Any) -> str:
    """The type of field that holds a value."""
    exact = _EXACT.get(type(value))
    if exact is not None:
        return exact
    if isinstance(value, list | tuple):
        return f"ListField:{_common({_kind(each) for each in value})}" if value else "ListField"
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "Field")


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "BooleanField"),
    (int, "IntField"),
    (float, "FloatField"),
    (str, "StringField"),
    (dict, "DictField"),
    (dt.datetime, "DateTimeField"),
    (ObjectId, "ObjectIdField"),
)


_EXACT = dict(_KINDS)


def _common(kinds: set[str]) -> str:
    """One type for several; that for anything where none fits."""
    left = kinds - {"ListField"} or kinds
    if left == {"IntField", "FloatField"}:
        return "FloatField"
    if left == {"ListField:IntField", "ListField:FloatField"}:
        return "ListField:FloatField"
    if len(left) == 1:
        return left.pop()
    return "ListField" if all(kind.startswith("ListField") for kind in left) else "Field"


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    left = iter(items)
    while batch := list(itertools.islice(left, _BATCH)):
        yield batch
