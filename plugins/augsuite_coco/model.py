"""The rows of a COCO file, and how its bytes become them.

The fast path decodes the whole file into typed rows. A file with a key that the types do not know, or with an invalid row, is
decoded row by row instead: then each error names its row, each row can be left out, and unknown keys become extras.

Source: COCO data format, cocodataset.org/#format-data.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from augsuite.dataset import Intake
from augsuite.dataset.checks import LARGEST
from augsuite.dataset.files import line_of, not_utf8, read_bytes
from augsuite.errors import DataError

LARGEST_ID = 2**63 - 1
Id = Annotated[int, Meta(ge=-(2**63), le=LARGEST_ID)]
Extent = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Coordinate = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Box = tuple[Coordinate, Coordinate, Coordinate, Coordinate]


class ImageRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One of `images`; what is no field of its own in the tables becomes an extra."""

    id: Id
    file_name: str
    width: Extent | UnsetType | None = UNSET
    height: Extent | UnsetType | None = UNSET
    license: Any = UNSET
    coco_url: Any = UNSET
    flickr_url: Any = UNSET
    date_captured: Any = UNSET


class CategoryRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One of `categories`."""

    id: Id
    name: str
    supercategory: Any = UNSET
    keypoints: Any = UNSET
    skeleton: Any = UNSET


class AnnotationRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One of `annotations`; masks and keypoints stay undecoded."""

    image_id: Id
    category_id: Id
    bbox: Box
    id: Id | UnsetType = UNSET
    iscrowd: bool | int | UnsetType = UNSET
    area: float | int | UnsetType | None = UNSET
    segmentation: Raw | UnsetType = UNSET
    keypoints: Raw | UnsetType = UNSET
    num_keypoints: Any = UNSET
    attributes: Raw | UnsetType = UNSET


Row = TypeVar("Row", ImageRow, CategoryRow, AnnotationRow)
OWN: dict[type[msgspec.Struct], frozenset[str]] = {
    ImageRow: frozenset({"id", "file_name", "width", "height"}),
    CategoryRow: frozenset({"id", "name"}),
    AnnotationRow: frozenset({"id", "image_id", "category_id", "bbox"}),
}
"""The keys that have a column of their own in the tables; the others are extras."""


class _Typed(msgspec.Struct, gc=False):
    images: list[ImageRow]
    categories: list[CategoryRow]
    annotations: list[AnnotationRow] = []


class _Untyped(msgspec.Struct):
    images: list[Raw]
    categories: list[Raw]
    annotations: list[Raw] = []


class Part(msgspec.Struct, Generic[Row]):
    """The valid rows of one list.

    Attributes:
        rows: the rows.
        places: the index in the file of each.
        unknown: key that the types do not know -> value for each row, UNSET where a row has none.
    """

    rows: list[Row]
    places: list[int]
    unknown: dict[str, list[Any]]


class Document(msgspec.Struct):
    """One file.

    Attributes:
        head: every other key of the file, such as `info` and `licenses`.
    """

    images: Part[ImageRow]
    categories: Part[CategoryRow]
    annotations: Part[AnnotationRow]
    head: dict[str, Any]


def load(file: Path, intake: Intake) -> Document:
    """Decode one COCO file.

    Raises:
        DataError: if it is no JSON, no COCO, or holds an invalid row; says where.
    """
    data = read_bytes(file)
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise not_utf8(file, data, error) from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    with _collector_off():
        try:
            head = msgspec.json.decode(data, type=dict[str, Raw])
            try:
                typed = msgspec.json.decode(data, type=_Typed)
            except msgspec.ValidationError:
                typed = None
            rest = {
                key: msgspec.json.decode(value)
                for key, value in head.items()
                if key not in {"images", "categories", "annotations"}
            }
            if typed is not None:
                return Document(_whole(typed.images), _whole(typed.categories), _whole(typed.annotations), rest)
            untyped = msgspec.json.decode(data, type=_Untyped)
        except msgspec.ValidationError as error:
            raise DataError(
                f"{file}: expected a COCO object with the lists images, annotations and categories: {_said(error)}. "
                "Name another file, or its format with --from."
            ) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed(file, data, error) from error
        return Document(
            _row_by_row(file, "images", untyped.images, ImageRow, intake),
            _row_by_row(file, "categories", untyped.categories, CategoryRow, intake),
            _row_by_row(file, "annotations", untyped.annotations, AnnotationRow, intake),
            rest,
        )


def _whole(rows: list[Row]) -> Part[Row]:
    return Part(rows, list(range(len(rows))), {})


def _row_by_row(file: Path, name: str, raws: list[Raw], kind: type[Row], intake: Intake) -> Part[Row]:
    known = frozenset(kind.__struct_fields__)
    as_dict = msgspec.json.Decoder(dict[str, Raw])
    rows: list[Row] = []
    places: list[int] = []
    unknown: dict[str, list[Any]] = {}
    for place, raw in enumerate(raws):
        try:
            fields = as_dict.decode(raw)
            others = {key: msgspec.json.decode(value) for key, value in fields.items() if key not in known}
            text = raw if not others else msgspec.json.encode({key: fields[key] for key in fields if key in known})
            row = msgspec.json.decode(text, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            place_in_row, problem = _explain(error, raw)
            intake.reject(f"{file}: {name}[{place}]{place_in_row}", problem, len(raws))
            continue
        for key, value in others.items():
            unknown.setdefault(key, [UNSET] * len(rows)).append(value)
        rows.append(row)
        places.append(place)
        for values in unknown.values():
            if len(values) < len(rows):
                values.append(UNSET)
    return Part(rows, places, unknown)


def _said(error: Exception) -> str:
    """Msgspec's message with its path in our spelling."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return re.sub(r" - at `\$\.?(.*)`$", r" at \1", text).replace("`", "").replace("Expected", "expected").rstrip(" .")


def _explain(error: Exception, raw: Raw) -> tuple[str, str]:
    """Where in the row, and what is wrong."""
    text = str(error)
    place = re.search(r" - at `\$(.*)`$", text)
    where = place.group(1) if place else ""
    if where == ".bbox" and "length 4" in text:
        box = msgspec.json.decode(raw)["bbox"]
        return where, f"expected 4 numbers, got {len(box)}"
    problem = _said(error).removesuffix(f" at {where.lstrip('.')}")
    return where, problem[:1].lower() + problem[1:]


_AFTER_WORD = re.compile(rb"[^-A-Za-z]")


def _malformed(file: Path, data: bytes, error: Exception) -> DataError:
    if isinstance(error, RecursionError):
        return DataError(f"{file}: nested too deeply to be COCO. Name another file.")
    found = re.search(r"\(byte (\d+)\)", str(error))
    offset = min(int(found.group(1)), len(data)) if found else len(data)
    offset -= data[offset - 1 : offset + 1] == b"-I"
    if "truncated" in str(error):
        reason = "the file ends in the middle of its JSON. Copy or download it again"
    elif data[offset : offset + 1] in (b"N", b"I") or data[offset : offset + 2] == b"-I":
        reason = f"expected a JSON number, got {_AFTER_WORD.split(data[offset : offset + 9])[0].decode()}. Replace it by a number"
    else:
        said = str(error).partition(": ")[2].partition(" (byte")[0] or _said(error)
        reason = f"malformed JSON: {said}. Fix the file there"
    return DataError(f"{file}: line {line_of(data, offset)}, byte {offset}: {reason}.")


@contextmanager
def _collector_off() -> Iterator[None]:
    """Decoding makes millions of objects and no garbage; the collector would walk them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
