"""The annotations of a COCO file, waiting on disk, sorted by the part that their image is in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Intake, objects
from augsuite_coco.file_ids import FileIds, Numbering
from augsuite_coco.ids import Ids, Places
from augsuite_coco.model import AnnotationRow
from augsuite_coco.rows import Columns, Rows
from augsuite_coco.spool import Spool
from augsuite_coco.waiting_images import WaitingImages

_RUN = 32 << 20  # bytes of JSON between two visits to the disk
_EMPTY: Mapping[str, NDArray[Any]] = {
    "row": np.zeros(0, np.int64),
    "category": np.zeros(0, np.int64),
    "id": np.zeros(0, np.int64),
    "unnumbered": np.zeros(0, bool),
    "place": np.zeros(0, np.int64),
    "bbox": np.zeros((0, 4)),
    "ignore": np.zeros(0, bool),
}


class WaitingAnnotations:
    """The annotations of one file.

    Attributes:
        ids: of those that have some.
        without: how many valid ones have none.
        rejected: place in the file -> where in the row and what is wrong.
    """

    def __init__(
        self,
        file: Path,
        images: WaitingImages,
        categories: Mapping[int, int],
        spools: tuple[Spool, Spool],
        intake: Intake,
        keys: dict[str, None],
    ) -> None:
        """Begin a file.

        Args:
            file: its path.
            images: of it.
            categories: id in the file -> row.
            spools: where rows and ids wait.
            intake: takes invalid rows.
            keys: takes the names of extras, in their order.
        """
        self._file, self._images, self._intake, self._keys = file, images, intake, keys
        self._spool = spools[0]
        self.ids = FileIds(spools[1])
        self.without = 0
        self.rejected: dict[int, tuple[str, str]] = {}
        self._rows = Rows("annotations", AnnotationRow, intake)
        self._kinds = Places(np.array(list(categories), np.int64))
        self._category_rows = np.array([*categories.values(), -1], np.int64)
        self._waiting, self._bytes = Columns(), 0

    def take(self, data: bytes) -> None:
        """Take a block of rows."""
        first, known = self._rows.seen, len(self._rows.problems)
        self._rows.decode(data)
        columns, self._rows.columns = self._rows.columns, Columns()
        problems = {place: (where, problem) for place, where, problem in self._rows.problems[known:]}
        places = np.arange(first, self._rows.seen)
        if problems:
            places = np.delete(places, [place - first for place in problems])
            self.rejected |= problems
        self._keys.update(dict.fromkeys(columns.extra))
        self._sort_out(columns, places)
        self._bytes += len(data)
        if self._bytes >= _RUN:
            self._put()

    def _sort_out(self, columns: Columns, places: Ids) -> None:
        """Keep the valid rows of a block for the disk, and remember the ids that must differ."""
        named, kinds, ids, boxes, unnumbered, ignore = (
            columns.column(key) for key in ("image_id", "category_id", "id", "bbox", "without_id", "ignore")
        )
        parts, rows = self._images.find(named)
        category = self._category_rows[self._kinds.of(kinds)]
        known = (parts >= 0) & (category >= 0)
        good = known & (boxes[:, 2:] >= 0).all(axis=1)
        for row in np.flatnonzero(~good).tolist():
            if parts[row] < 0:
                problem = ".image_id", f"there is no image with id {named[row]}"
            elif category[row] < 0:
                problem = ".category_id", f"there is no category with id {kinds[row]}"
            else:
                width, height = boxes[row, 2:]
                problem = ".bbox", f"expected a width and height of 0 or more, got {width:g} and {height:g}"
            self.rejected[int(places[row])] = problem
        numbered = known & ~unnumbered
        self.ids.add(ids[numbered], places[numbered])
        counted = good & unnumbered
        ids[counted] = self.without + np.arange(int(counted.sum()))
        self.without += int(counted.sum())
        kept = slice(None) if good.all() else np.flatnonzero(good)
        own = {
            "part": parts,
            "row": rows,
            "category": category,
            "id": ids,
            "unnumbered": unnumbered,
            "place": places,
            "bbox": boxes,
            "ignore": ignore,
        }
        extra = {key: values[kept] for key, values in columns.extras().items()}
        self._waiting.append(int(good.sum()), {key: values[kept] for key, values in own.items()}, extra)

    def _put(self) -> None:
        if self._waiting.own:
            own = {key: self._waiting.column(key) for key in list(self._waiting.own)}
            self._spool.sort_in(own.pop("part"), own, self._waiting.extras())
        self._waiting, self._bytes = Columns(), 0

    def finish(self) -> None:
        """All rows were taken: reject the invalid ones, the first in the file first.

        Raises:
            DataError: unless invalid rows are to be left out.
        """
        self._put()
        for place, number in self.ids.repeated():
            self.rejected[place] = ".id", f"{number} is the id of an earlier annotation too"
        for place in sorted(self.rejected):
            where, problem = self.rejected[place]
            self._intake.reject(f"{self._file}: annotations[{place}]{where}", problem, self._rows.seen)
        self._gone = np.array(sorted(self.rejected), np.int64)

    def part(self, number: int, numbering: Numbering) -> Annotations:
        """The annotations of a part of the images, in the order of the file."""
        columns = Columns()
        columns.append(0, _EMPTY, {})
        for own, extra in self._spool.take(number):
            columns.append(len(own["row"]), own, extra)
        row, category, ids, unnumbered, place, boxes, ignore = (columns.column(key) for key in _EMPTY)
        kept: Any = ~np.isin(place, self._gone) if len(self._gone) else slice(None)
        ids = np.where(unnumbered, ids + numbering.first, ids)[kept]
        said = {key: values[kept] for key, values in columns.extras().items()}
        if numbering.shift:
            said["coco._id"] = objects(ids.tolist())
        return Annotations(
            row[kept],
            category[kept],
            boxes[kept],
            Layout.XYWH_PX,
            ids + numbering.shift,
            ignore[kept],
            {key: said[key] for key in self._keys if key in said},
        )
