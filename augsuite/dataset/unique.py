"""Names made different as they come, in a few bytes for each: what writers of any size need."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MERGE = 16  # sorted runs are merged into one when there are so many


class Unique:
    """Hands out paths, none twice: the second `a.jpg` becomes `a_2.jpg`.

    What a name becomes depends on the names before it alone, so that a dataset may come in any number of parts. Names are remembered
    by their hashes, 8 bytes each; two different names with one hash cost a needless number, nothing else.
    """

    def __init__(self) -> None:
        self._runs: list[NDArray[np.int64]] = []
        self._next: Counter[str] = Counter()

    def names(self, wanted: Sequence[str]) -> list[str]:
        """Names for the next paths, in their order."""
        hashes = np.sort(np.fromiter(map(hash, wanted), np.int64, len(wanted)))
        if not (hashes[1:] == hashes[:-1]).any() and not any(_meet(run, hashes) for run in self._runs):
            self._remember(hashes)
            return list(wanted)
        given: list[str] = []
        own: set[int] = set()
        for path in wanted:
            name = path
            stem, suffix = posixpath.splitext(path)
            while hash(name) in own or self._taken(name):
                self._next[path] += 1
                name = f"{stem}_{self._next[path] + 1}{suffix}"
            own.add(hash(name))
            given.append(name)
        self._remember(np.sort(np.fromiter(own, np.int64, len(own))))
        return given

    def _taken(self, name: str) -> bool:
        one = np.array([hash(name)], np.int64)
        return any(_meet(run, one) for run in self._runs)

    def _remember(self, hashes: NDArray[np.int64]) -> None:
        self._runs.append(hashes)
        if len(self._runs) > _MERGE:
            self._runs = [np.sort(np.concatenate(self._runs))]


def _meet(run: NDArray[np.int64], hashes: NDArray[np.int64]) -> bool:
    """Whether a sorted run holds one of the hashes."""
    if not len(run):
        return False
    return bool((run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] == hashes).any())
