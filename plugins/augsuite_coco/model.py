"""The rows of a COCO file: which keys the tables know, of what types, and what is said of a row that does not fit.

Source: COCO data format, cocodataset.org/#format-data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from augsuite.dataset.checks import LARGEST

LARGEST_ID = 2**63 - 1
Id = Annotated[int, Meta(ge=-(2**63), le=LARGEST_ID)]
Extent = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Coordinate = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Box = tuple[Coordinate, Coordinate, Coordinate, Coordinate]
Number = float | int | None


class ImageRow(msgspec.Struct, gc=False):
    """One of `images`; every other key becomes an extra."""

    id: Id
    file_name: str
    width: Extent | UnsetType | None = UNSET
    height: Extent | UnsetType | None = UNSET


class CategoryRow(msgspec.Struct, gc=False):
    """One of `categories`."""

    id: Id
    name: str


class AnnotationRow(msgspec.Struct, gc=False):
    """One of `annotations`."""

    image_id: Id
    category_id: Id
    bbox: Box
    id: Id | UnsetType = UNSET
    iscrowd: bool | int | UnsetType = UNSET
    area: Number | UnsetType = UNSET
    score: Number | UnsetType = UNSET


class SpelledAnnotationRow(msgspec.Struct, gc=False):
    """As `AnnotationRow`, with the text of its numbers."""

    image_id: Id
    category_id: Id
    bbox: Raw
    id: Id | UnsetType = UNSET
    iscrowd: Raw | UnsetType = UNSET
    area: Raw | UnsetType = UNSET
    score: Raw | UnsetType = UNSET


Kind = type[ImageRow] | type[CategoryRow] | type[AnnotationRow]
SHARED = frozenset({"segmentation", "score"})
"""Keys whose extras are those that formats share."""
ODD_KEY = re.compile(r'["\\\x00-\x1f]')
"""What msgspec allows in no name of a field, and JSON in no key without an escape."""
OWN: dict[type[msgspec.Struct], frozenset[str]] = {
    ImageRow: frozenset({"id", "file_name", "width", "height"}),
    CategoryRow: frozenset({"id", "name"}),
    AnnotationRow: frozenset({"id", "image_id", "category_id", "bbox", "iscrowd"}),
}
"""The keys that have a column of their own in the tables; the others are extras."""


def extra_of(key: str) -> str:
    """The name of the extra that holds a key."""
    return key if key in SHARED else f"coco.{key}"


def spelling_of(key: str) -> str:
    """The name of the extra that holds how a number was written, where we would write it in another way."""
    return f"coco._{key}"


def with_keys(base: type[msgspec.Struct], keys: Iterable[str]) -> type[msgspec.Struct]:
    """A row type with further keys, whose values stay undecoded as attributes `extra_0`, `extra_1` ...; it refuses all others."""
    names = {f"extra_{number}": key for number, key in enumerate(keys)}
    return msgspec.defstruct(
        base.__name__,
        [(name, Raw | UnsetType, UNSET) for name in names],
        bases=(base,),
        rename=names,
        forbid_unknown_fields=True,
        gc=False,
    )


def said(error: Exception) -> str:
    """Msgspec's message with its path in our spelling."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r" - at `\$\.?(.*)`$", r" at \1", text).replace("`", "").replace("Expected", "expected").rstrip(" .")


def explain(error: Exception, raw: Raw) -> tuple[str, str]:
    """Where in the row, and what is wrong."""
    text = str(error)
    place = re.search(r" - at `\$(.*)`$", text)
    where = place.group(1) if place else ""
    if where == ".bbox" and "length 4" in text:
        box: list[Any] = msgspec.json.decode(raw)["bbox"]
        return where, f"expected 4 numbers, got {len(box)}"
    problem = said(error).removesuffix(f" at {where.lstrip('.')}")
    return where, problem[:1].lower() + problem[1:]
