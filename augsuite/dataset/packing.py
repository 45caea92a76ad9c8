"""Extras as JSON text, for formats that have one place for whatever else is known of a row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from augsuite.dataset.losses import is_spelling
from augsuite.dataset.tables import ABSENT, UNREAD, Extra
from augsuite.errors import DataError

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(dict[str, Any]).decode
_DECODE_EACH = msgspec.json.Decoder(dict[str, Raw]).decode


def packed(extra: Extra, rows: NDArray[np.int64], without: Collection[str] = ()) -> list[str | None]:
    """For each of some rows a JSON object of the extras that it has; None where it has none."""
    columns = [(key, values[rows].tolist()) for key, values in extra.items() if key not in without]
    if not columns:
        return [None] * len(rows)
    keys = [key for key, _ in columns]
    result: list[str | None] = []
    for values in zip(*(values for _, values in columns), strict=True):
        said = said_of(zip(keys, values, strict=True))
        result.append(encode(said) if said else None)
    return result


def said_of(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The extras that say something, as JSON can hold them.

    How a number was spelled is a text, which may be empty; a text under such a key that is no spelling stands in a list.
    """
    return {
        key: (bytes(value).decode() if isinstance(value, Raw) else [value] if isinstance(value, str) else value)
        if is_spelling(key)
        else value
        for key, value in values
        if value is not ABSENT and value is not UNREAD
    }


def unpacked(texts: Sequence[str | None], where: str) -> dict[str, NDArray[np.object_]]:
    """The extras that `packed` wrote; ABSENT where a row has none.

    Raises:
        DataError: if a text is no JSON object.
    """
    columns: dict[str, NDArray[np.object_]] = {}
    for row, text in enumerate(texts):
        if text is None:
            continue
        for key, value in decode(text, where).items():
            if key not in columns:
                columns[key] = np.full(len(texts), ABSENT, object)
            columns[key][row] = value
    return columns


def encode(value: Any) -> str:
    """JSON text.

    Raises:
        DataError: if JSON has no such value.
    """
    try:
        return _ENCODE(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{str(value)[:80]!r} cannot be written as JSON ({error}). Leave it out.") from error


def decode(text: str | bytes | Raw, where: str) -> Mapping[str, Any]:
    """The extras in a JSON object that `said_of` gave; a value that would be written in another way stays undecoded.

    Raises:
        DataError: if it is none.
    """
    try:
        said = _DECODE(text)
        if _ENCODE(said) != (text.encode() if isinstance(text, str) else bytes(text)):
            said = {key: settled(value) for key, value in _DECODE_EACH(text).items()}
        for key, value in said.items():
            if is_spelling(key) and isinstance(value, str):
                said[key] = spelling(value)
            elif is_spelling(key) and isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
                said[key] = value[0]
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        problem = " ".join(str(error).split())
        shown = text if isinstance(text, str) else bytes(text).decode("utf-8", "replace")
        raise DataError(
            f"{where}: extra: expected a JSON object, got {shown[:60]!r} ({problem}). Fix the file."
        ) from error
    return said


def settled(raw: Raw) -> Any:
    """The value of a JSON text; the text itself, undecoded, if the value would be written in another way (`1.50`, `1e-05`)."""
    text = bytes(raw)
    value = msgspec.json.decode(text)
    return value if _ENCODE(value) == msgspec.json.format(text, indent=-1) else Raw(text)


def spelling(text: str) -> Raw:
    """How a number was spelled, from the text that `said_of` gave."""
    if text:
        msgspec.json.decode(text)
    return Raw(text.encode())
