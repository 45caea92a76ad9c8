"""CSV files as columns of text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from augsuite.dataset import Intake
from augsuite.dataset.checks import number
from augsuite.dataset.files import read_text
from augsuite.errors import DataError

_TEXT = pa.dictionary(pa.int32(), pa.string())


def read_rows(file: Path) -> list[list[str]]:
    """All rows, blank ones left out, for files that are short or irregular.

    Raises:
        DataError: if it is no CSV.
    """
    try:
        return [row for row in csv.reader(io.StringIO(read_text(file), newline=""), strict=True) if row]
    except csv.Error as error:
        raise DataError(f"{file}: not CSV ({error}). Fix the file.") from error


def read_blocks(file: Path, needed: Sequence[str], intake: Intake) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Blocks of rows, all columns as text, and the number of the first row of each.

    Args:
        file: with a header.
        needed: the columns that there must be.
        intake: takes rows with too few or too many cells.

    Raises:
        DataError: if it is no CSV, or a column is missing.
    """
    bad: list[str] = []

    def ragged(row: Any) -> str:  # called by Arrow, which swallows what is raised here
        bad.append(f"line {row.number}: expected {row.expected_columns} columns, got {row.actual_columns}")
        return "skip"

    text = read_text(file)
    try:
        head = next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except csv.Error as error:
        raise DataError(f"{file}: line 1: not CSV ({error}). Fix the header.") from error
    missing = [name for name in needed if name not in head]
    if missing or len(set(head)) != len(head) or any("\n" in name or "\r" in name for name in head):
        said = " ".join(", ".join(head).split())[:200]
        raise DataError(f"{file}: line 1: expected the columns {', '.join(needed)}, got: {said}. Fix the header.")
    try:
        with arrow_csv.open_csv(
            pa.BufferReader(text.encode()),
            arrow_csv.ReadOptions(use_threads=False, block_size=1 << 22),
            arrow_csv.ParseOptions(newlines_in_values='"' in text, invalid_row_handler=ragged),
            arrow_csv.ConvertOptions(
                column_types={name: pa.string() if name in _NUMBERS else _TEXT for name in head},
                strings_can_be_null=False,
            ),
        ) as batches:
            first = 0
            for batch in batches:
                _reject(file, bad, intake)
                yield first, batch
                first += len(batch)
    except pa.ArrowInvalid as error:
        said = " ".join(str(error).split())[:200]
        if "Empty CSV" in said:
            return
        raise DataError(f"{file}: not CSV ({said}). Fix the file.") from error
    _reject(file, bad, intake)


def _reject(file: Path, bad: list[str], intake: Intake) -> None:
    for said in bad:
        line, _, problem = said.partition(": ")
        intake.reject(f"{file}: {line}", problem)
    bad.clear()


_NUMBERS = ("XMin", "XMax", "YMin", "YMax")


def numbers(column: pa.Array) -> NDArray[np.float64]:
    """A column as numbers; NaN for what is none."""
    try:
        return np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    except pa.ArrowInvalid:
        return np.array([number(text) for text in column.to_pylist()], np.float64)


def mapped(column: pa.Array, value: Callable[[str], Any]) -> NDArray[np.object_]:
    """A function of each text of a column, called once for each different one."""
    texts = column.dictionary.to_pylist()
    table = np.empty(len(texts) + 1, object)
    for row, text in enumerate(texts):
        table[row] = value(text)
    return np.asarray(table[column.indices.to_numpy(zero_copy_only=False)], object)
