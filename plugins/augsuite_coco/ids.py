"""Ids of a COCO file: which stand twice, where one stands among others, and how they are told from those of other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsuite.errors import DataError
from augsuite_coco.model import LARGEST_ID

Ids = NDArray[np.int64]
_DENSE = 1 << 22  # ids: a table of 32 MB at most


class Places:
    """Where ids stand among others."""

    def __init__(self, values: Ids) -> None:
        """Take the others, all different."""
        self._values = values
        self._low, self._high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
        self._order: Ids | None = None
        self._table: Ids | None = None
        if self._high - self._low < _DENSE:
            self._table = np.full(
                self._high - self._low + 2, -1, np.int64
            )  # one more, at the end, for what is out of range
            self._table[values - self._low] = np.arange(len(values))
        else:
            self._order = np.argsort(values, kind="stable")

    def of(self, wanted: Ids) -> Ids:
        """The place of each id; -1 where it does not stand there."""
        if self._table is not None:
            outside = (wanted < self._low) | (wanted > self._high)
            return self._table[np.where(outside, -1, wanted - self._low) if outside.any() else wanted - self._low]
        places = np.minimum(np.searchsorted(self._values, wanted, sorter=self._order), len(self._values) - 1)
        found = np.asarray(self._order)[places]
        return np.where(self._values[found] == wanted, found, -1)


def repeated_ids(ids: Ids) -> NDArray[np.bool_]:
    """Whether an id stands further up, too."""
    repeated = np.zeros(len(ids), bool)
    if (ids[1:] > ids[:-1]).all():
        return repeated
    order = np.argsort(ids, kind="stable")
    repeated[order[1:]] = ids[order[1:]] == ids[order[:-1]]
    return repeated


def check_moved(value: int, shift: int, file: Path) -> int:
    """An id, moved up.

    Raises:
        DataError: if there is no such id.
    """
    if value + shift > LARGEST_ID:
        raise DataError(
            f"{file}: its ids must be moved up, and {value} + {shift} is more than 64 bits hold. Number its rows from 1."
        )
    return value + shift


def shared_ids(file: Path, what: str, shift: int) -> str:
    """What is noted of a file whose ids had to be moved up."""
    return f"{file}: {what} ids also stand in another file; {shift} was added to each"
