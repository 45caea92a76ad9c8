"""The rows of one file after another to the tables of one dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake
from augsuite.dataset.finder import Finder, inside
from augsuite.errors import DataError
from augsuite_coco.model import LARGEST_ID
from augsuite_coco.rows import Columns, Rows

Ids = NDArray[np.int64]
_DENSE = 1 << 22  # ids: a table of 32 MB at most


@dataclass
class Document:
    """One file.

    Attributes:
        images: its rows, and so on.
        head: every other key, such as `info` and `licenses`, decoded; a value that JSON would not give back as it was stays undecoded.
    """

    images: Rows
    categories: Rows
    annotations: Rows
    head: dict[str, Any]


@dataclass
class Tables:
    """What the files have given so far."""

    root: Path
    images: Columns = field(default_factory=Columns)
    categories: dict[str, int] = field(default_factory=dict)
    category_ids: list[int] = field(default_factory=list)
    category_extra: Columns = field(default_factory=Columns)
    annotations: Columns = field(default_factory=Columns)
    taken: dict[str, list[Ids]] = field(default_factory=dict)
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)

    def dataset(self) -> Dataset:
        """All that was added, as one dataset."""
        images, table = self.images, self.annotations
        return Dataset(
            Images(
                images.column("name"),
                images.column("size"),
                images.column("id"),
                images.column("split"),
                images.column("file"),
                images.extras(),
            ),
            Categories.of(self.categories, np.array(self.category_ids, np.int64), self.category_extra.extras()),
            Annotations(
                table.column("image_row"),
                table.column("category_row"),
                table.column("bbox"),
                Layout.XYWH_PX,
                table.column("id"),
                table.column("ignore"),
                table.extras(),
            ),
            root=self.root,
            extra=_head(self.heads),
        )


def add(tables: Tables, file: Path, split: str, document: Document, finder: Finder, intake: Intake) -> None:
    """Append one file."""
    first = tables.images.count
    image_ids = _add_images(tables, file, split, document.images, finder, intake)
    categories = _add_categories(tables, file, split, document.categories, intake)
    _add_annotations(tables, file, document.annotations, image_ids, first, categories, intake)
    tables.heads[split] = {**tables.heads.get(split, {}), **document.head}
    if finder.missing:
        intake.note(f"{file}: {finder.missing:,} of {len(image_ids):,} images have no file under {finder.root}")


class Rejects:
    """The invalid rows of one list, told in the order of the file once all are known."""

    def __init__(self, file: Path, rows: Rows) -> None:
        self._file = file
        self._rows = rows
        self._problems = list(rows.problems)
        self._places = np.arange(rows.seen)
        if rows.problems:
            self._places = np.delete(self._places, [place for place, _, _ in rows.problems])

    def add(self, row: int, where: str, problem: str) -> None:
        """Report a row, by its number among those that could be decoded."""
        self._problems.append((int(self._places[row]), where, problem))

    def tell(self, intake: Intake) -> None:
        """Reject them all, the first in the file first."""
        for place, where, problem in sorted(self._problems, key=lambda each: each[0]):
            intake.reject(f"{self._file}: {self._rows.name}[{place}]{where}", problem, self._rows.seen)


def _add_images(tables: Tables, file: Path, split: str, rows: Rows, finder: Finder, intake: Intake) -> Ids:
    """Append the images; returns their ids in the file."""
    columns, rejects = rows.columns, Rejects(file, rows)
    ids, names, sizes = (columns.column(key) for key in ("id", "file_name", "size"))
    repeated = _repeated(ids)
    keep = np.ones(len(ids), bool)
    found = names.copy()
    for row, name in enumerate(names.tolist()):
        if repeated[row]:
            rejects.add(row, ".id", f"{ids[row]} is the id of an earlier image too")
            keep[row] = False
            continue
        try:
            found[row] = finder.find(name)
        except DataError as error:
            rejects.add(row, ".file_name", str(error))
            keep[row] = False
    rejects.tell(intake)
    kept = np.flatnonzero(keep)
    ids, names, found = ids[kept], names[kept], found[kept]
    for row in np.flatnonzero((found != "") & (found != names)).tolist():
        names[row] = _name(names[row], found[row])
    extra = columns.extras(kept)
    moved = _unique_ids(tables, "image", ids, file, intake, extra)
    splits = np.full(len(ids), split, object)
    tables.images.append(
        len(ids), {"name": names, "size": sizes[kept], "id": moved, "split": splits, "file": found}, extra
    )
    return ids


def _repeated(ids: Ids) -> NDArray[np.bool_]:
    """Whether a value stands further up, too."""
    repeated = np.zeros(len(ids), bool)
    if (ids[1:] > ids[:-1]).all():
        return repeated
    order = np.argsort(ids, kind="stable")
    repeated[order[1:]] = ids[order[1:]] == ids[order[:-1]]
    return repeated


def _name(named: str, found: str) -> str:
    """As the file says; where that leaves its folder by `..`, as seen from the root, if it stays in there."""
    return named if inside(named) or not inside(found) else found


def _add_categories(tables: Tables, file: Path, split: str, rows: Rows, intake: Intake) -> dict[int, int]:
    """Append the categories whose names are new; returns id in the file -> row."""
    columns, rejects = rows.columns, Rejects(file, rows)
    ids, names = (columns.column(key).tolist() for key in ("id", "name"))
    valid: dict[int, str] = {}
    fresh = []
    for index, (number, name) in enumerate(zip(ids, names, strict=True)):
        if number in valid:
            rejects.add(index, ".id", f"{number} is the id of an earlier category too")
        elif not name.strip():
            rejects.add(index, ".name", f"expected the name of a class, got {name!r}")
        elif name in valid.values():
            rejects.add(index, ".name", f"{name!r} is the name of an earlier category too")
        else:
            valid[number] = name
            if name not in tables.categories:
                fresh.append(index)
    rejects.tell(intake)
    taken = set(tables.category_ids)
    for number, name in valid.items():
        row = tables.categories.setdefault(name, len(tables.categories))
        if row < len(tables.category_ids):
            if tables.category_ids[row] != number:
                intake.note(
                    f"{file}: category {name!r} has id {number} here and {tables.category_ids[row]} in another file; "
                    "the first is kept"
                )
            continue
        own = number
        if own in taken:
            own = _moved(number, max(taken) + 1 - number, file)
            intake.note(f"{file}: category {name!r}: id {number} is another's in another file; now {own}")
        taken.add(own)
        tables.category_ids.append(own)
    tables.category_extra.append(len(fresh), {}, columns.extras(np.array(fresh, np.int64)))
    tables.heads.setdefault(split, {})["_categories"] = [[number, name] for number, name in valid.items()]
    return {number: tables.categories[name] for number, name in valid.items()}


def _add_annotations(
    tables: Tables, file: Path, rows: Rows, image_ids: Ids, first: int, categories: dict[int, int], intake: Intake
) -> None:
    columns, rejects = rows.columns, Rejects(file, rows)
    images_named, categories_named, ids, boxes = (
        columns.column(key) for key in ("image_id", "category_id", "id", "bbox")
    )
    image_rows = _positions(image_ids, images_named)
    category_ids = np.array(list(categories), np.int64)
    places = _positions(category_ids, categories_named)
    unnumbered = columns.column("without_id")
    invalid = (image_rows < 0) | (places < 0)
    repeated = _repeated_of(ids, ~(invalid | unnumbered))
    invalid |= repeated
    for row in np.flatnonzero(invalid | (boxes[:, 2:] < 0).any(axis=1)).tolist():
        if image_rows[row] < 0:
            rejects.add(row, ".image_id", f"there is no image with id {images_named[row]}")
        elif places[row] < 0:
            rejects.add(row, ".category_id", f"there is no category with id {categories_named[row]}")
        elif repeated[row]:
            rejects.add(row, ".id", f"{ids[row]} is the id of an earlier annotation too")
        else:
            width, height = boxes[row, 2:]
            rejects.add(row, ".bbox", f"expected a width and height of 0 or more, got {width:g} and {height:g}")
            invalid[row] = True
    rejects.tell(intake)
    kept = np.flatnonzero(~invalid) if invalid.any() else None
    chosen: Any = slice(None) if kept is None else kept
    extra = columns.extras(kept)
    ids = _numbered(ids[chosen], unnumbered[chosen], file, intake)
    ids = _unique_ids(tables, "annotation", ids, file, intake, extra)
    boxes = boxes[chosen]
    rows_of_categories = np.array(list(categories.values()), np.int64)
    tables.annotations.append(
        len(ids),
        {
            "image_row": image_rows[chosen] + first,
            "category_row": rows_of_categories[places[chosen]],
            "bbox": boxes,
            "id": ids,
            "ignore": columns.column("ignore")[chosen],
        },
        extra,
    )
    empty = int((boxes[:, 2:] == 0).any(axis=1).sum())
    if empty:
        intake.note(f"{file}: {empty:,} boxes have no area")


def _positions(values: Ids, wanted: Ids) -> Ids:
    """Where in `values`, all different, each of `wanted` stands; -1 where it does not."""
    if not len(values):
        return np.full(len(wanted), -1, np.int64)
    low, high = int(values.min()), int(values.max())
    if high - low < _DENSE:
        table = np.full(high - low + 2, -1, np.int64)  # one more, at the end, for what is out of range
        table[values - low] = np.arange(len(values))
        outside = (wanted < low) | (wanted > high)
        return table[np.where(outside, -1, wanted - low) if outside.any() else wanted - low]
    order = np.argsort(values, kind="stable")
    places = np.minimum(np.searchsorted(values, wanted, sorter=order), len(values) - 1)
    found = order[places]
    return np.where(values[found] == wanted, found, -1)


def _repeated_of(ids: Ids, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As `_repeated`, among some rows only."""
    if among.all():
        return _repeated(ids)
    repeated = np.zeros(len(ids), bool)
    repeated[among] = _repeated(ids[among])
    return repeated


def _numbered(ids: Ids, unnumbered: NDArray[np.bool_], file: Path, intake: Intake) -> Ids:
    """Give those without an id the next free one."""
    without = int(unnumbered.sum())
    if not without:
        return ids
    intake.note(f"{file}: {without:,} annotations have no id; they were numbered")
    numbered = ids.copy()
    largest: int = max([0, *ids[~unnumbered].tolist()])
    _moved(largest, without, file)
    numbered[unnumbered] = largest + 1 + np.arange(without)
    return numbered


def _unique_ids(
    tables: Tables, what: str, ids: Ids, file: Path, intake: Intake, extra: dict[str, NDArray[np.object_]]
) -> Ids:
    """Ids that no file before has; those of a file that shares some are all moved up together, and the old ones kept."""
    earlier = tables.taken.setdefault(what, [])
    moved = ids
    if earlier and len(ids) and any(np.isin(ids, others).any() for others in earlier):
        shift = max(int(others.max(initial=0)) for others in earlier) + 1 - int(ids.min())
        _moved(int(ids.max()), shift, file)
        moved = ids + shift
        extra["coco._id"] = np.array(ids.tolist(), object)
        intake.note(f"{file}: {what} ids also stand in another file; {shift} was added to each")
    earlier.append(moved)
    return moved


def _moved(value: int, shift: int, file: Path) -> int:
    if value + shift > LARGEST_ID:
        raise DataError(
            f"{file}: its ids must be moved up, and {value} + {shift} is more than 64 bits hold. Number its rows from 1."
        )
    return value + shift


def _head(heads: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the files say as a whole: `coco.info` where all agree, `coco.info@train` where they differ."""
    extra: dict[str, Any] = {}
    keys = dict.fromkeys(key for head in heads.values() for key in head)
    for key in keys:
        values = [head.get(key, ABSENT) for head in heads.values()]
        if all(value is not ABSENT and _equal(value, values[0]) for value in values):
            extra[f"coco.{key}"] = values[0]
        else:
            extra.update({f"coco.{key}@{split}": head[key] for split, head in heads.items() if key in head})
    extra.pop("coco._categories", None)  # the table says it
    return extra


def _equal(first: Any, second: Any) -> bool:
    return first is not ABSENT and bool(msgspec.json.encode(first) == msgspec.json.encode(second))
