"""Columns as the text of CSV cells, and lines as bytes, without a Python step per row."""

from __future__ import annotations

import functools
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_STEPS = 100  # numbers of up to two decimals, as most annotation tools write them, come from a table
_LARGEST = 1 << 18  # of those steps


def numbers(values: NDArray[np.float64]) -> pa.Array:
    """The shortest text that reads back as the same float64; whole numbers without a point; null for NaN."""
    steps = np.rint(values * _STEPS)
    short = (steps / _STEPS == values) & (steps < _LARGEST) & ~np.signbit(values)
    if not short.any():
        return pc.cast(pa.array(values, from_pandas=True), pa.string())
    at = np.where(short, steps, 0).astype(np.int32)
    text = pc.take(_table(1 << int(at.max()).bit_length()), pa.array(at))
    if short.all():
        return text
    others = pc.cast(pa.array(values[~short], from_pandas=True), pa.string())
    return pc.replace_with_mask(text, pa.array(~short), others)


@functools.cache
def _table(count: int) -> pa.Array:
    """The texts of the first steps; a quarter of a million of them take 4 MB."""
    return pc.cast(pa.array(np.arange(count) / _STEPS), pa.string())


def cells(text: pa.Array) -> pa.Array:
    """Text with quotes around it where CSV needs them."""
    needs = pc.match_substring_regex(text, '[",\r\n]')
    if not pc.any(needs).as_py():
        return text
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(needs, quoted, text)


def join(columns: list[pa.Array], separator: str = ",") -> pa.Array:
    """The columns of each row as one text; null is an empty cell."""
    return pc.binary_join_element_wise(*columns, separator, null_handling="replace", null_replacement="")


def write_lines(out: BinaryIO, columns: list[pa.Array]) -> None:
    """Write the rows as lines, without copying them."""
    lines = join([*columns[:-1], join([columns[-1], pa.scalar("")], "\n")])
    _, offsets, content = lines.buffers()
    if content is not None and len(lines):
        out.write(memoryview(content)[: np.frombuffer(offsets, np.int32)[len(lines)]])
