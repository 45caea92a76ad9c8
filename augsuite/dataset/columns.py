"""Columns that grow: block by block, and extras row by row, of which each row says only some."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import ABSENT, objects


class GrowingColumn:
    """A column that grows block by block and lies in one piece: at no time does it take twice its size for long.

    Memory that it has in reserve was never touched, and so costs nothing.
    """

    def __init__(self) -> None:
        self._data: NDArray[Any] | None = None
        self._count = 0

    def extend(self, values: NDArray[Any]) -> None:
        """Add a block; the first says shape and dtype."""
        end = self._count + len(values)
        if self._data is None:
            self._data = values
        else:
            if end > len(self._data):
                larger = np.empty((max(end, 2 * len(self._data)), *self._data.shape[1:]), self._data.dtype)
                larger[: self._count] = self._data[: self._count]
                self._data = larger
            self._data[self._count : end] = values
        self._count = end

    def whole(self) -> NDArray[Any]:
        """The column; to be used once nothing more comes."""
        return np.zeros(0) if self._data is None else self._data[: self._count]


class GrowingExtras:
    """Key -> the rows that said something, and what; it travels between processes."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[array[int], list[Any]]] = {}

    def add(self, row: int, key: str, value: Any) -> None:
        """Take one value."""
        said = self._said.get(key)
        if said is None:
            said = self._said[key] = (array("q"), [])
        said[0].append(row)
        said[1].append(value)

    def add_all(self, key: str, rows: Iterable[int], values: Iterable[Any]) -> None:
        """Take many values of one key."""
        listed = array("q", rows)
        if not listed:
            return
        said = self._said.setdefault(key, (array("q"), []))
        said[0].extend(listed)
        said[1].extend(values)

    def exchange_last(self, key: str, value: Any) -> None:
        """Put another value in the place of the one that came last."""
        self._said[key][1][-1] = value

    def extend(self, others: GrowingExtras, first: int) -> None:
        """Take all values of others, whose row 0 is row `first` here."""
        for key, (rows, values) in others._said.items():
            said = self._said.setdefault(key, (array("q"), []))
            said[0].extend([row + first for row in rows] if first else rows)
            said[1].extend(values)

    def columns(self, count: int) -> dict[str, NDArray[np.object_]]:
        """Key -> one value for each of `count` rows, ABSENT where none was said; the last one where several were."""
        result = {}
        for key, (rows, values) in self._said.items():
            column = np.full(count, ABSENT, object)
            column[np.frombuffer(rows, np.int64)] = objects(values)
            result[key] = column
        return result
