"""The images of a COCO file, waiting on disk in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from augsuite.dataset import Images, Intake, objects
from augsuite.dataset.finder import Finder
from augsuite_coco.ids import Ids, Places, repeated_ids
from augsuite_coco.model import ImageRow
from augsuite_coco.rows import Columns, Rows
from augsuite_coco.spool import Spool
from augsuite_coco.tables import Rejects, Tables, name_of, unique_ids

PART = 4096
"""Images; a part of COCO's own takes 16 MB of its JSON."""
_EXTRA = "extra "


class WaitingImages:
    """The images of a file, in parts, on disk."""

    def __init__(self, file: Path, finder: Finder, spool: Spool, intake: Intake, keys: dict[str, None]) -> None:
        self._file, self._finder, self._spool, self._intake, self._keys = file, finder, spool, intake, keys
        self._rows = Rows("images", ImageRow, intake)
        self._waiting = Columns()
        self._ids: Any = []
        self._seen = 0
        self._strange: dict[int, str] = {}
        self._lost: Any = []  # whether there is no file
        self._keep = np.zeros(0, bool)
        self._moved = np.zeros(0, np.int64)
        self.parts = 0

    def take(self, data: bytes) -> None:
        """Take a block of rows."""
        self._rows.decode(data)
        columns, self._rows.columns = self._rows.columns, Columns()
        count = columns.count
        ids, names, sizes = (columns.column(key) for key in ("id", "file_name", "size"))
        found, strange = self._finder.find_many(names)
        self._strange |= {self._seen + row: problem for row, problem in strange.items()}
        for row in np.flatnonzero((found != "") & (found != names)).tolist():
            names[row] = name_of(names[row], found[row])
        extra = columns.extras()
        self._keys.update(dict.fromkeys(extra))
        self._seen += count
        self._ids.append(ids)
        self._lost.append(found == "")
        self._waiting.append(count, {"name": names, "size": sizes, "file": found}, extra)
        if self._waiting.count >= PART:
            self._put()

    def _put(self, last: bool = False) -> None:
        """Let full parts go to the disk; the last one too, if it is the last."""
        count = self._waiting.count
        own = {key: self._waiting.column(key) for key in list(self._waiting.own)}
        extra = self._waiting.extras()
        self._waiting = Columns()
        full = count if last else count - count % PART
        for start in range(0, full, PART):
            rows = slice(start, min(start + PART, full))
            sizes = {"size": own["size"][rows]}
            texts = {key: own[key][rows] for key in ("name", "file")}
            self._spool.put(self.parts, sizes, texts | {_EXTRA + key: values[rows] for key, values in extra.items()})
            self.parts += 1
        self._waiting.append(
            count - full,
            {key: values[full:] for key, values in own.items()},
            {key: values[full:] for key, values in extra.items()},
        )

    def finish(self, tables: Tables) -> None:
        """All rows were taken: reject the invalid ones, and see to it that ids differ from those of earlier files.

        Raises:
            DataError: unless invalid rows are to be left out.
        """
        self._put(last=True)
        ids = np.concatenate([np.zeros(0, np.int64), *self._ids])
        lost = np.concatenate([np.zeros(0, bool), *self._lost])
        del self._ids, self._lost
        repeated = repeated_ids(ids)
        rejects = Rejects(self._file, self._rows)
        for row in sorted({*np.flatnonzero(repeated).tolist(), *self._strange}):
            if repeated[row]:
                rejects.add(row, ".id", f"{ids[row]} is the id of an earlier image too")
            else:
                rejects.add(row, ".file_name", self._strange[row])
            repeated[row] = True
        rejects.tell(self._intake)
        self._keep = keep = ~repeated
        own = ids if keep.all() else ids[keep]
        self._places = Places(own)
        self._old, self._moved = own, unique_ids(tables, "image", own, self._file, self._intake)
        if self._old is not self._moved:
            self._keys.setdefault("coco._id")
        counts = [int(keep[start : start + PART].sum()) for start in range(0, len(keep), PART)]
        self._starts = np.cumsum([0, *counts])
        missing = int(lost[keep].sum())
        if missing:
            self._intake.note(
                f"{self._file}: {missing:,} of {len(own):,} images have no file under {self._finder.root}"
            )

    def find(self, ids: Ids) -> tuple[Ids, Ids]:
        """Of each id the part and the row in it; -1 where there is no such image."""
        rows = self._places.of(ids)
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        return np.where(rows < 0, -1, parts), rows - self._starts[parts]

    def part(self, number: int, split: str) -> Images:
        """Some images."""
        own, texts = next(self._spool.take(number))
        keep = self._keep[number * PART : (number + 1) * PART]
        first, end = self._starts[number : number + 2].tolist()
        said = {key.removeprefix(_EXTRA): values[keep] for key, values in texts.items() if key.startswith(_EXTRA)}
        ids = self._moved[first:end]
        if self._old is not self._moved:
            said["coco._id"] = objects(self._old[first:end].tolist())
        extra = {key: said[key] for key in self._keys if key in said}
        splits = np.full(len(ids), split, object)
        return Images(texts["name"][keep], own["size"][keep], ids, splits, texts["file"][keep], extra)
