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
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.finder import Finder, inside
from augsuite_coco.ids import Places, check_moved, repeated_ids, shared_ids
from augsuite_coco.rows import Columns, Rows

Ids = NDArray[np.int64]


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
            extra=head_of(self.heads),
        )


def add(tables: Tables, file: Path, split: str, document: Document, finder: Finder, intake: Intake) -> None:
    """Append one file."""
    first = tables.images.count
    image_ids = _add_images(tables, file, split, document.images, finder, intake)
    categories = add_categories(tables, file, split, document.categories, intake)
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
    ids: Ids
    ids, names, sizes = (columns.column(key) for key in ("id", "file_name", "size"))
    repeated = repeated_ids(ids)
    found, strange = finder.find_many(names)
    for row in sorted({*np.flatnonzero(repeated).tolist(), *strange}):
        if repeated[row]:
            rejects.add(row, ".id", f"{ids[row]} is the id of an earlier image too")
        else:
            rejects.add(row, ".file_name", strange[row])
    rejects.tell(intake)
    repeated[list(strange)] = True
    kept = np.flatnonzero(~repeated) if repeated.any() else None
    chosen: Any = slice(None) if kept is None else kept
    ids, names, found, sizes = ids[chosen], names[chosen], found[chosen], sizes[chosen]
    finder.missing += int((found == "").sum())
    for row in np.flatnonzero((found != "") & (found != names)).tolist():
        names[row] = name_of(names[row], found[row])
    extra = columns.extras(kept)
    moved = unique_ids(tables, "image", ids, file, intake)
    with_old_ids(extra, ids, moved)
    splits = np.full(len(ids), split, object)
    tables.images.append(len(ids), {"name": names, "size": sizes, "id": moved, "split": splits, "file": found}, extra)
    return ids


def name_of(named: str, found: str) -> str:
    """As the file says; where that leaves its folder by `..`, as seen from the root, if it stays in there."""
    return named if inside(named) or not inside(found) else found


def add_categories(tables: Tables, file: Path, split: str, rows: Rows, intake: Intake) -> dict[int, int]:
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
            own = check_moved(number, max(taken) + 1 - number, file)
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
    image_rows = Places(image_ids).of(images_named)
    category_ids = np.array(list(categories), np.int64)
    places = Places(category_ids).of(categories_named)
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
    moved = unique_ids(tables, "annotation", ids, file, intake)
    with_old_ids(extra, ids, moved)
    boxes = boxes[chosen]
    rows_of_categories = np.array(list(categories.values()), np.int64)
    tables.annotations.append(
        len(ids),
        {
            "image_row": image_rows[chosen] + first,
            "category_row": rows_of_categories[places[chosen]],
            "bbox": boxes,
            "id": moved,
            "ignore": columns.column("ignore")[chosen],
        },
        extra,
    )
    empty = int((boxes[:, 2:] == 0).any(axis=1).sum())
    if empty:
        intake.note(f"{file}: {empty:,} boxes have no area")


def _repeated_of(ids: Ids, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As `repeated_ids`, among some rows only."""
    if among.all():
        return repeated_ids(ids)
    repeated = np.zeros(len(ids), bool)
    repeated[among] = repeated_ids(ids[among])
    return repeated


def _numbered(ids: Ids, unnumbered: NDArray[np.bool_], file: Path, intake: Intake) -> Ids:
    """Give those without an id the next free one."""
    without = int(unnumbered.sum())
    if not without:
        return ids
    intake.note(f"{file}: {without:,} annotations have no id; they were numbered")
    numbered = ids.copy()
    largest: int = max([0, *ids[~unnumbered].tolist()])
    check_moved(largest, without, file)
    numbered[unnumbered] = largest + 1 + np.arange(without)
    return numbered


def unique_ids(tables: Tables, what: str, ids: Ids, file: Path, intake: Intake) -> Ids:
    """Ids that no file before has; those of a file that shares some are all moved up together."""
    earlier = tables.taken.setdefault(what, [])
    own = ids
    if earlier and len(ids) and any(np.isin(ids, others).any() for others in earlier):
        shift = max(int(others.max(initial=0)) for others in earlier) + 1 - int(ids.min())
        check_moved(int(ids.max()), shift, file)
        own = ids + shift
        intake.note(shared_ids(file, what, shift))
    earlier.append(own)
    return own


def with_old_ids(extra: dict[str, NDArray[np.object_]], old: Ids, new: Ids) -> None:
    """Keep the ids of a file that were changed."""
    if old is not new:
        extra["coco._id"] = objects(old.tolist())


def head_of(heads: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
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
