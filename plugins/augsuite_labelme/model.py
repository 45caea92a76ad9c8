"""One LabelMe file: how its bytes become rows.

The fast path decodes typed rows. A file with keys that the types do not know, or with an invalid shape, is decoded shape by shape
instead: then each error names its shape, and unknown keys are kept.

Source: LabelMe, labelme/_label_file.py (`LabelFile.load`), github.com/wkentaro/labelme.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from augsuite.dataset.checks import LARGEST
from augsuite.dataset.files import line_of, not_utf8
from augsuite.errors import DataError

Coordinate = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Extent = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Points = list[tuple[Coordinate, Coordinate]]


class Shape(msgspec.Struct, forbid_unknown_fields=True, gc=False, rename={"others": "(others)"}):
    """One of `shapes`."""

    label: str
    points: Points
    shape_type: str | UnsetType | None = UNSET
    group_id: Any = UNSET
    flags: Raw | UnsetType = UNSET
    description: Any = UNSET
    mask: str | UnsetType | None = UNSET
    score: Any = UNSET
    others: dict[str, Any] = {}


class File(
    msgspec.Struct,
    forbid_unknown_fields=True,
    rename={"height": "imageHeight", "width": "imageWidth", "others": "(others)"},
):
    """A whole file; `others` are keys that LabelMe does not know."""

    shapes: list[Shape]
    imagePath: str | None = None  # noqa: N815 - as in the file
    imageData: Raw | UnsetType = UNSET  # noqa: N815 - as in the file
    height: Extent | None = None
    width: Extent | None = None
    version: Any = UNSET
    flags: dict[str, Any] | UnsetType | None = UNSET
    others: dict[str, Any] = {}


_FILE = msgspec.json.Decoder(File)
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_KEYS = frozenset(File.__struct_encode_fields__) - {"(others)"}
_SHAPE_KEYS = frozenset(Shape.__struct_fields__) - {"others"}


def decode(data: bytes, file: str, problems: list[tuple[str, str]]) -> File:
    """Decode one file.

    Args:
        data: its bytes.
        file: its path, for errors.
        problems: takes place and problem of each shape that was left out.

    Raises:
        DataError: if it is no JSON or no LabelMe file.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        try:
            return _FILE.decode(data)
        except msgspec.ValidationError:
            pass
        return _shape_by_shape(_OBJECT.decode(data), problems)
    except msgspec.ValidationError as error:
        raise DataError(
            f"{file}: expected a LabelMe object: {_said(error)}. Fix the file, or move it elsewhere."
        ) from error
    except UnicodeDecodeError as error:
        raise not_utf8(file, data, error) from error
    except RecursionError as error:
        raise DataError(f"{file}: nested too deeply to be LabelMe. Move it elsewhere.") from error
    except msgspec.DecodeError as error:
        raise _malformed(data, file, error) from error


def _shape_by_shape(content: dict[str, Any], problems: list[tuple[str, str]]) -> File:
    shapes = content.pop("shapes", None)
    if not isinstance(shapes, list):
        raise msgspec.ValidationError("`shapes` must be a list")
    image = content.pop("imageData", UNSET)
    for key in ("imageHeight", "imageWidth"):
        if isinstance(content.get(key), float) and content[key].is_integer():
            content[key] = int(content[key])
    found = msgspec.convert({key: content[key] for key in content if key in _KEYS} | {"shapes": []}, File)
    found.imageData = image if image is UNSET else Raw(msgspec.json.encode(image))
    found.others = {key: value for key, value in content.items() if key not in _KEYS}
    for place, given in enumerate(shapes):
        if not isinstance(given, dict):
            problems.append((f"shapes[{place}]", f"expected an object, got {_short(given)}"))
            continue
        flags = given.get("flags", UNSET)
        try:
            shape = msgspec.convert({key: given[key] for key in given if key in _SHAPE_KEYS and key != "flags"}, Shape)
        except msgspec.ValidationError as error:
            text = _said(error)
            problem, _, where = text.partition(" at ")
            problems.append((f"shapes[{place}]{'.' + where if where else ''}", problem))
            continue
        shape.flags = flags if flags is UNSET else Raw(msgspec.json.encode(flags))
        shape.others = {key: value for key, value in given.items() if key not in _SHAPE_KEYS}
        found.shapes.append(shape)
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else f"{text[:37]}..."


def _said(error: Exception) -> str:
    """Msgspec's message with its path in our spelling."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    text = re.sub(r" - at `\$\.?(.*)`$", r" at \1", text).replace("`", "").rstrip(" .")
    return text[:1].lower() + text[1:]


def _malformed(data: bytes, file: str, error: Exception) -> DataError:
    found = re.search(r"\(byte (\d+)\)", str(error))
    offset = min(int(found.group(1)), len(data)) if found else len(data)
    if "truncated" in str(error):
        reason = "the file ends in the middle of its JSON. Copy or download it again"
    else:
        said = str(error).partition(": ")[2].partition(" (byte")[0] or _said(error)
        reason = f"malformed JSON: {said}. Fix the file there"
    return DataError(f"{file}: line {line_of(data, offset)}, byte {offset}: {reason}.")
