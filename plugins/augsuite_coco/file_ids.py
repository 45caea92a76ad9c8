"""The annotation ids of files of any size: which stand twice, and how they are told from those of other files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from augsuite.dataset import Intake
from augsuite_coco.ids import Ids, check_moved, repeated_ids, shared_ids
from augsuite_coco.spool import Spool

_BUCKETS = 251  # a prime, so that ids in even steps fill all of them
_RUN = 1 << 18  # ids between two visits to the disk
_NO_PLACE = -1


@dataclass(frozen=True)
class Numbering:
    """How the ids of a file's annotations become those of the dataset.

    Attributes:
        first: the id of the first annotation that the file gives none.
        shift: what is added to each.
    """

    first: int
    shift: int


class FileIds:
    """The ids of one file, on disk."""

    def __init__(self, spool: Spool) -> None:
        """Take a spool, which is left open."""
        self._spool = spool
        self._waiting: list[tuple[Ids, Ids]] = []
        self._count = 0

    def add(self, ids: Ids, places: Ids) -> None:
        """Take the ids of some rows, in the order of the file, and the places of these in it."""
        self._waiting.append((ids, places))
        self._count += len(ids)
        if self._count >= _RUN:
            self._put()

    def _put(self) -> None:
        if self._count:
            ids, places = (np.concatenate(columns) for columns in zip(*self._waiting, strict=True))
            self._spool.sort_in(ids % _BUCKETS, {"id": ids, "place": places}, {})
            self._waiting, self._count = [], 0

    def _buckets(self) -> list[int]:
        self._put()
        return self._spool.buckets()

    def bucket(self, number: int) -> tuple[Ids, Ids]:
        """Those ids that leave the same remainder, and their places, in the order of the file."""
        self._put()
        blocks = [own for own, _ in self._spool.take(number)]
        nothing = np.zeros(0, np.int64)
        ids, places = (np.concatenate([nothing, *(own[key] for own in blocks)]) for key in ("id", "place"))
        return ids, places

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Place and id of each row whose id stands further up, too."""
        for number in self._buckets():
            ids, places = self.bucket(number)
            again = repeated_ids(ids)
            yield from zip(places[again].tolist(), ids[again].tolist(), strict=True)

    def number(
        self,
        file: Path,
        rejected: Collection[int],
        without: int,
        earlier: Sequence[FileIds],
        intake: Intake,
    ) -> Numbering:
        """Give those without an id the next free ones, and move all up if earlier files have some of them, too.

        Args:
            file: their file, for messages.
            rejected: the places of rows that were left out, whose ids are free.
            without: how many rows have no id.
            earlier: the ids of the files before, as they became.
            intake: takes what is surprising.

        Raises:
            DataError: if there are no ids left.
        """
        gone = np.array(sorted(rejected), np.int64)
        bounds = [
            (int(ids.min()), int(ids.max()))
            for ids in (self._kept(number, gone) for number in self._buckets())
            if len(ids)
        ]
        first = max([0, *(high for _, high in bounds)]) + 1
        if without:
            intake.note(f"{file}: {without:,} annotations have no id; they were numbered")
            check_moved(first - 1, without, file)
            bounds.append((first, first + without - 1))
            for start in range(first, first + without, _RUN):
                ids = np.arange(start, min(start + _RUN, first + without))
                self.add(ids, np.full(len(ids), _NO_PLACE))
        shift = 0
        if any(
            np.isin(self._kept(number, gone), other.bucket(number)[0]).any()
            for other in earlier
            for number in self._buckets()
        ):
            shift = max(other.largest() for other in earlier) + 1 - min(low for low, _ in bounds)
            check_moved(max(high for _, high in bounds), shift, file)
            intake.note(shared_ids(file, "annotation", shift))
        return Numbering(first, shift)

    def _kept(self, number: int, gone: Ids) -> Ids:
        ids, places = self.bucket(number)
        return ids[~np.isin(places, gone)] if len(gone) else ids

    def moved(self, rejected: Collection[int], shift: int, spool: Spool) -> FileIds:
        """The ids of the rows that were not left out, as they became."""
        result = FileIds(spool)
        gone = np.array(sorted(rejected), np.int64)
        for number in self._buckets():
            ids = self._kept(number, gone) + shift
            result.add(ids, np.full(len(ids), _NO_PLACE))
        return result

    def largest(self) -> int:
        """The largest id; 0 at least."""
        return max([0, *(int(self.bucket(number)[0].max()) for number in self._buckets())])
