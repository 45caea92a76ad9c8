"""Extras as JSON text, for formats that have one place for whatever else is known of a row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import ABSENT, UNREAD, Extra
from augsuite.errors import DataError

_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(dict[str, Any]).decode


def packed(extra: Extra, rows: NDArray[np.int64], without: Collection[str] = ()) -> list[str | None]:
    """For each of some rows a JSON object of the extras that it has; None where it has none."""
    columns = [(key, values[rows].tolist()) for key, values in extra.items() if key not in without]
    if not columns:
        return [None] * len(rows)
    keys = [key for key, _ in columns]
    result: list[str | None] = []
    for values in zip(*(values for _, values in columns), strict=True):
        said = {
            key: value for key, value in zip(keys, values, strict=True) if value is not ABSENT and value is not UNREAD
        }
        result.append(encode(said) if said else None)
    return result


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


def decode(text: str | bytes, where: str) -> Mapping[str, Any]:
    """A JSON object.

    Raises:
        DataError: if it is none.
    """
    try:
        return _DECODE(text)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        said = " ".join(str(error).split())
        raise DataError(
            f"{where}: extra: expected a JSON object, got {str(text)[:60]!r} ({said}). Fix the file."
        ) from error
