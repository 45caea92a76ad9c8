"""The rows of one list of a COCO file, block by block, to columns.

A block is decoded into typed rows at once. A block with a key that the types do not know yet, or with an invalid row, is looked at
row by row: then each error names its row, and the key is known from there on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, Raw
from numpy.typing import NDArray

from augsuite.dataset import ABSENT, UNREAD, Intake, objects
from augsuite.dataset.columns import GrowingColumn
from augsuite_coco.model import (
    ODD_KEY,
    OWN,
    AnnotationRow,
    Box,
    CategoryRow,
    ImageRow,
    Kind,
    Number,
    SpelledAnnotationRow,
    explain,
    extra_of,
    spelling_of,
    with_keys,
)

_COMMON: Mapping[Kind, tuple[str, ...]] = {
    ImageRow: ("license", "coco_url", "flickr_url", "date_captured"),
    CategoryRow: ("supercategory",),
    AnnotationRow: ("segmentation",),
}
_UNDECODED = frozenset({"segmentation", "keypoints", "attributes"})  # of annotations: long, and seldom looked at
WRITTEN_ALWAYS = frozenset({"area", "iscrowd"})
"""Keys that the writer derives where a dataset does not say them; where the file did not say them either, their spelling is empty."""
_NOTHING = Raw(b"")
_AS_DICT = msgspec.json.Decoder(dict[str, Raw])
_AS_RAW = msgspec.json.Decoder(list[Raw])


@dataclass
class Columns:
    """Columns that grow block by block.

    Attributes:
        count: how many rows they have.
        own: name -> column.
        extra: name of an extra -> (first row, values) of the blocks that have it.
    """

    count: int = 0
    own: dict[str, GrowingColumn] = field(default_factory=dict)
    extra: dict[str, list[tuple[int, NDArray[np.object_]]]] = field(default_factory=dict)

    def append(self, count: int, own: Mapping[str, Any], extra: Mapping[str, NDArray[np.object_]]) -> None:
        """Add a block of `count` rows."""
        for name, values in own.items():
            self.own.setdefault(name, GrowingColumn()).extend(values)
        for name, column in extra.items():
            self.extra.setdefault(name, []).append((self.count, column))
        self.count += count

    def column(self, name: str) -> NDArray[Any]:
        """An own column, whole."""
        return self.own.pop(name).whole()

    def extras(self, rows: NDArray[np.int64] | None = None) -> dict[str, NDArray[np.object_]]:
        """The extras, whole, ABSENT where a block has none; of some rows only, where `rows` is given."""
        whole = {}
        for name in list(self.extra):
            column = np.full(self.count, ABSENT, object)
            for first, values in self.extra.pop(name):
                column[first : first + len(values)] = values
            whole[name] = column if rows is None else column[rows]
        return whole


class Rows:
    """Decodes one list of one file.

    Attributes:
        name: of the list.
        seen: how many rows the file has so far, valid or not.
        problems: (index in the file, place in the row, what is wrong) of the rows that were left out.
        columns: of the valid rows.
    """

    def __init__(self, name: str, kind: Kind, intake: Intake) -> None:
        self.name = name
        self.seen = 0
        self.problems: list[tuple[int, str, str]] = []
        self.columns = Columns()
        self._strict = msgspec.json.Decoder(kind)
        self._kind = kind
        self._intake = intake
        spelled = kind is AnnotationRow and intake.wanted("coco._bbox")
        self._base: type[msgspec.Struct] = SpelledAnnotationRow if spelled else kind
        self._keys: list[str] = list(_COMMON[kind])
        self._decoder = self._make_decoder()
        self._harvest = _HARVEST[self._base]

    def _make_decoder(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(list[with_keys(self._base, self._keys)])  # type: ignore[misc]  # made at run time

    def decode(self, data: bytes) -> None:
        """Take the rows of a JSON array.

        Raises:
            msgspec.DecodeError: if it is malformed, or no array.
            UnicodeDecodeError: if it is no UTF-8.
        """
        if not data.isascii():
            data.decode()
        skipped: list[tuple[int, str, str]] = []
        try:
            rows = self._decoder.decode(data)
            own = self._harvest(rows, self._intake)
        except msgspec.ValidationError:
            good, skipped = self._look_at_each(_AS_RAW.decode(data))
            rows = self._decoder.decode(b"[%b]" % b",".join(good))
            own = self._harvest(rows, self._intake)
        extra = own.pop("extra", {})
        for number, key in enumerate(self._keys):
            self._add_extra(extra, key, _column(rows, f"extra_{number}"))
        self.problems += [(self.seen + place, where, problem) for place, where, problem in skipped]
        self.seen += len(rows) + len(skipped)
        self.columns.append(len(rows), own, extra)

    def _look_at_each(self, raws: Sequence[Raw]) -> tuple[list[Raw], list[tuple[int, str, str]]]:
        """The valid rows, and what is wrong with the others; learns keys."""
        good, problems = [], []
        known = {*self._keys, *OWN[self._kind], *self._kind.__struct_fields__}
        for place, raw in enumerate(raws):
            try:
                keys = _AS_DICT.decode(raw).keys()
                self._strict.decode(raw)
            except (msgspec.DecodeError, RecursionError) as error:
                problems.append((place, *explain(error, raw)))
                continue
            odd = next((key for key in keys if ODD_KEY.search(key)), None)
            if odd is not None:
                problems.append((place, "", f"expected keys without quotes and control characters, got {odd!r}"))
                continue
            for key in keys:
                if key not in known:
                    known.add(key)
                    self._keys.append(key)
            good.append(raw)
        self._decoder = self._make_decoder()
        return good, problems

    def _add_extra(self, extra: dict[str, NDArray[np.object_]], key: str, values: list[Any]) -> None:
        name = extra_of(key)
        absent = values.count(UNSET)
        if absent == len(values):
            return
        if not self._intake.wanted(name):
            extra[name] = _present(values, absent)
        elif self._kind is AnnotationRow and key in _UNDECODED:
            extra[name] = objects(values)
        else:
            decoded = iter(_decoded([value for value in values if value is not UNSET]))
            extra[name] = objects([value if value is UNSET else next(decoded) for value in values])


def _column(rows: Sequence[Any], name: str) -> list[Any]:
    """One attribute of all rows."""
    return list(map(attrgetter(name), rows))


def _numbers_of(rows: Sequence[Any], name: str) -> NDArray[np.int64]:
    return np.fromiter(map(attrgetter(name), rows), np.int64, len(rows))


def _present(values: list[Any], absent: int) -> NDArray[np.object_]:
    if not absent:
        return np.full(len(values), UNREAD, object)
    return objects([ABSENT if value is UNSET else UNREAD for value in values])


def _decoded(raws: Sequence[Raw]) -> list[Any]:
    """The values; one that would be written in another way stays as it is."""
    text = b"[%b]" % b",".join(raws)
    values: list[Any] = msgspec.json.decode(text)
    if msgspec.json.encode(values) == msgspec.json.format(text, indent=-1):
        return values
    return [
        value if msgspec.json.encode(value) == msgspec.json.format(bytes(raw), indent=-1) else raw
        for value, raw in zip(values, raws, strict=True)
    ]


def _spelled(raws: Sequence[Any], values: Sequence[Any], nothing: Any) -> NDArray[np.object_] | None:
    """The text of each value that we would write in another way; None where there is none.

    Args:
        raws: as read; UNSET for one that is not there.
        values: what the writer will have of those that are there.
        nothing: stands for one that is not there.
    """
    present = [raw for raw in raws if raw is not UNSET]
    text = b"[%b]" % b",".join(present)
    if len(present) == len(raws) and msgspec.json.encode(values) == msgspec.json.format(text, indent=-1):
        return None
    following = iter(values)
    return objects(
        [
            nothing
            if raw is UNSET
            else raw
            if msgspec.json.encode(next(following)) != msgspec.json.format(bytes(raw), indent=-1)
            else ABSENT
            for raw in raws
        ]
    )


def _numbers(raws: Sequence[Any], kind: Any) -> list[Any]:
    """Decode the texts that are there."""
    values: list[Any] = msgspec.json.decode(
        b"[%b]" % b",".join([raw for raw in raws if raw is not UNSET]), type=list[kind]
    )
    return values


def _flat(boxes: Sequence[tuple[float, ...]]) -> NDArray[np.float64]:
    return np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(boxes)).reshape(-1, 4)


def _images(rows: Sequence[Any], intake: Intake) -> dict[str, Any]:
    del intake
    return {
        "id": np.array([row.id for row in rows], np.int64),
        "file_name": objects([row.file_name for row in rows]),
        "size": np.array([(row.width or 0, row.height or 0) for row in rows], np.int64).reshape(-1, 2),
    }


def _categories(rows: Sequence[Any], intake: Intake) -> dict[str, Any]:
    del intake
    return {"id": np.array([row.id for row in rows], np.int64), "name": objects([row.name for row in rows])}


def _ids(rows: Sequence[Any]) -> dict[str, Any]:
    ids = _column(rows, "id")
    given = ids.count(UNSET) == 0
    return {
        "image_id": _numbers_of(rows, "image_id"),
        "category_id": _numbers_of(rows, "category_id"),
        "id": np.array(ids if given else [0 if value is UNSET else value for value in ids], np.int64),
        "without_id": np.zeros(len(ids), bool) if given else np.array([value is UNSET for value in ids], bool),
    }


def _annotations(rows: Sequence[Any], intake: Intake) -> dict[str, Any]:
    """Columns of rows whose spelling nobody wants."""
    crowd = _column(rows, "iscrowd")
    extra = {}
    for key in ("area", "score"):
        values = _column(rows, key)
        absent = values.count(UNSET)
        if absent < len(values):
            extra[extra_of(key)] = objects(values) if intake.wanted(extra_of(key)) else _present(values, absent)
    return {
        **_ids(rows),
        "bbox": _flat(_column(rows, "bbox")),
        "ignore": np.array(
            crowd if crowd.count(UNSET) == 0 else [value is not UNSET and value for value in crowd], bool
        ),
        "extra": extra,
    }


def _spelled_annotations(rows: Sequence[Any], intake: Intake) -> dict[str, Any]:
    """Columns of rows, with what is needed to write their numbers as they were."""
    del intake
    extra: dict[str, NDArray[np.object_]] = {}

    def keep_spelling(key: str, raws: Sequence[Any], values: Sequence[Any]) -> None:
        spelled = _spelled(raws, values, _NOTHING if key in WRITTEN_ALWAYS else ABSENT)
        if spelled is not None:
            extra[spelling_of(key)] = spelled

    texts = _column(rows, "bbox")
    boxes = _flat(_numbers(texts, Box))
    keep_spelling("bbox", texts, boxes.tolist())
    texts = _column(rows, "iscrowd")
    said = iter(_numbers(texts, bool | int))
    ignore = np.array([text is not UNSET and bool(next(said)) for text in texts], bool)
    keep_spelling(
        "iscrowd", texts, [int(crowd) for crowd, text in zip(ignore.tolist(), texts, strict=True) if text is not UNSET]
    )
    for key in ("area", "score"):
        texts = _column(rows, key)
        values = _numbers(texts, Number)
        if values:
            following = iter(values)
            extra[extra_of(key)] = objects([ABSENT if text is UNSET else next(following) for text in texts])
        if values or key in WRITTEN_ALWAYS:
            keep_spelling(key, texts, values)
    return {**_ids(rows), "bbox": boxes, "ignore": ignore, "extra": extra}


_HARVEST = {
    ImageRow: _images,
    CategoryRow: _categories,
    AnnotationRow: _annotations,
    SpelledAnnotationRow: _spelled_annotations,
}
