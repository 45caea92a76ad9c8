"""Lines of metadata, from JSON or CSV, as one shape."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from augsuite.dataset import Intake
from augsuite.dataset.files import read_bytes, read_text
from augsuite.errors import DataError

CATEGORY = ("categories", "category", "category_id", "labels", "label", "class")
"""Names under which objects hold their categories."""
LABEL = ("label", "labels")
"""Columns that hold the label of the whole image, where there are no objects."""

_DECODE = msgspec.json.Decoder(dict[str, Any]).decode


def read_lines(file: Path, intake: Intake) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each line says, with its place for messages. Cells of a CSV that hold JSON objects or lists are decoded."""
    if file.suffix == ".csv":
        yield from _csv(file)
        return
    for number, line in enumerate(read_bytes(file).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield f"{file}: line {number}", _DECODE(line)
        except (ValueError, RecursionError) as error:
            intake.reject(f"{file}: line {number}", f"expected a JSON object ({' '.join(str(error).split())})")


def _csv(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""), strict=True)
    try:
        for row in reader:
            said = {key: _cell(text) for key, text in row.items() if isinstance(key, str) and text}
            yield f"{file}: line {reader.line_num}", said
    except csv.Error as error:
        raise DataError(f"{file}: not CSV ({error}). Fix the file.") from error


def _cell(text: str) -> Any:
    if text[:1] not in {"{", "["}:
        return text
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return text


def objects_of(said: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of a line, one mapping each: from a mapping of lists, or from a list of mappings.

    Raises:
        ValueError: if they are neither, or the lists differ in length.
    """
    given = said.get("objects")
    if given is None:
        label = next((said[key] for key in LABEL if said.get(key) is not None), None)
        labels = label if isinstance(label, list) else [] if label is None else [label]
        return [{"category": each} for each in labels]
    if isinstance(given, list) and all(isinstance(each, dict) for each in given):
        return [_one(each) for each in given]
    if not isinstance(given, dict) or not all(isinstance(column, list) for column in given.values()):
        raise ValueError("objects: expected lists such as bbox and categories, or a list of objects")
    if len({len(column) for column in given.values()}) > 1:
        raise ValueError(f"objects: {', '.join(given)[:80]} differ in length")
    return [_one(dict(zip(given, row, strict=True))) for row in zip(*given.values(), strict=True)]


def _one(each: dict[str, Any]) -> dict[str, Any]:
    """An object whose category is called `category`."""
    key = next((key for key in CATEGORY if key in each), None)
    if key is None:
        raise ValueError("objects: expected categories beside bbox")
    return {"category": each[key]} | {name: value for name, value in each.items() if name != key}
