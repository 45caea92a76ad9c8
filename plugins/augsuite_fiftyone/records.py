"""What the tables hold exactly, kept in FiftyOne beside what is seen there: one JSON text on each sample, and one on the dataset.

A record knows its labels by their ids, which FiftyOne keeps through every edit. So what was not edited comes back to the last bit, what was
deleted stays away, and what is new is known as new.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from augsuite.dataset.packing import decode, encode, said_of
from augsuite.errors import DataError
from augsuite_fiftyone.attributes import Seen

FIELD = "augsuite_record"
"""The field of samples, and the key of a dataset's `info`, that hold the records; `augsuite` alone says of augmented samples where they
come from."""

VERSION = 1
NOTHING = msgspec.Raw(b"{}")
_NUMBER = "augsuite number"  # the key of an object that stands for a number that JSON does not have


class LabelRecord(msgspec.Struct, array_like=True):
    """One annotation.

    Attributes:
        row: in the table.
        id: as in the table.
        category: its name.
        ignore: as in the table.
        box: four numbers in the table's layout; None for a label of the whole image.
        extra: the extras, packed.
    """

    row: int
    id: int
    category: str
    ignore: bool
    box: tuple[float, float, float, float] | None = None
    extra: msgspec.Raw = NOTHING


class SampleRecord(msgspec.Struct, array_like=True):
    """One image.

    Attributes:
        row: in the table.
        id: as in the table.
        name: as in the table.
        size: width and height.
        split: as in the table.
        file: as in the table.
        filepath: where FiftyOne finds the file.
        extra: the extras, packed.
        labels: id of the label in FiftyOne -> annotation.
    """

    row: int
    id: int
    name: str
    size: tuple[int, int]
    split: str
    file: str
    filepath: str
    extra: msgspec.Raw
    labels: dict[str, LabelRecord]


class CategoryRecord(msgspec.Struct, array_like=True):
    """One category: name, id and extras, packed."""

    name: str
    id: int
    extra: msgspec.Raw = NOTHING


class DatasetRecord(msgspec.Struct):
    """What is said of the dataset as a whole.

    Attributes:
        version: of the record.
        root: the folder that files are relative to.
        layout: of boxes, as `augsuite.boxes.Layout` calls it.
        boxes: the field of detections; "" where there is none.
        labels: the field of labels of whole images; "" where there is none.
        polygons: the field of polylines; "" where there is none.
        keypoints: the field of keypoints; "" where there is none.
        categories: in order.
        extra: of the dataset, packed.
        of_images: attributes of samples.
        of_labels: attributes of labels.
        ignored: the attributes of labels that say whether one is ignored.
        columns: the extras of images and of annotations, in order.
        splits: all there are.
    """

    version: int
    root: str
    layout: str
    boxes: str
    labels: str
    polygons: str
    keypoints: str
    categories: list[CategoryRecord]
    extra: msgspec.Raw
    of_images: list[Seen]
    of_labels: list[Seen]
    ignored: list[str]
    columns: tuple[list[str], list[str]]
    splits: list[str]

    @property
    def fields(self) -> set[str]:
        """The label fields."""
        return {self.boxes, self.labels, self.polygons, self.keypoints} - {""}


_ENCODE = msgspec.json.Encoder().encode
_DATASET = msgspec.json.Decoder(DatasetRecord)
_SAMPLE = msgspec.json.Decoder(SampleRecord)


def pack(extra: Mapping[str, Any]) -> msgspec.Raw:
    """The extras of a row.

    Raises:
        DataError: if JSON has no such value.
    """
    said = said_of(extra.items())
    if not said:
        return NOTHING
    text = encode(said)
    if "null" in text or _NUMBER in text:
        text = encode({key: _finite(value) for key, value in said.items()})
    return msgspec.Raw(text.encode())


def unpack(extra: msgspec.Raw, where: str) -> dict[str, Any]:
    """The extras that `pack` packed.

    Raises:
        DataError: if they are none.
    """
    text = bytes(extra)
    if text == b"{}":
        return {}
    found = dict(decode(extra, where))
    return {key: _any_float(value) for key, value in found.items()} if _NUMBER.encode() in text else found


def _finite(value: Any) -> Any:
    """A value in which NaN and the infinities, for which JSON has no numbers, are objects of one text."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_NUMBER: str(value)}
    if isinstance(value, Mapping):
        found = {key: _finite(each) for key, each in value.items()}
        return {_NUMBER: found} if _NUMBER in found else found
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _any_float(value: Any) -> Any:
    """What `_finite` was given."""
    if isinstance(value, Mapping):
        inner = value.get(_NUMBER, value)
        return float(inner) if isinstance(inner, str) else {key: _any_float(each) for key, each in inner.items()}
    return [_any_float(each) for each in value] if isinstance(value, list) else value


def write(record: SampleRecord | DatasetRecord) -> str:
    """A record as text.

    Raises:
        DataError: if a name in it is no text.
    """
    try:
        return _ENCODE(record).decode()
    except UnicodeEncodeError as error:
        raise DataError(f"{error.object!r} is no text that can be stored. Rename it.") from error


def read_sample(text: str, where: str) -> SampleRecord:
    """The record of a sample.

    Raises:
        DataError: if it is damaged.
    """
    try:
        return _SAMPLE.decode(text)
    except msgspec.DecodeError as error:
        raise DataError(f"{where}: the field {FIELD!r} is damaged ({error}). Store the dataset again.") from error


def read_dataset(info: Mapping[str, Any], name: str) -> DatasetRecord | None:
    """The record of a dataset; None where augsuite did not make it.

    Raises:
        DataError: if it is damaged, or was written by a later version.
    """
    text = info.get(FIELD)
    if text is None:
        return None
    try:
        record = _DATASET.decode(text)
    except (msgspec.DecodeError, TypeError) as error:
        raise DataError(
            f"{name}: info[{FIELD!r}] is damaged or of a later version ({error}). Update augsuite."
        ) from error
    if record.version > VERSION:
        raise DataError(f"{name}: was stored by a later version of augsuite. Update it.")
    return record
