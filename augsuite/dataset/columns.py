"""Extras that grow row by row, of which each row says only some."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import ABSENT, objects


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
