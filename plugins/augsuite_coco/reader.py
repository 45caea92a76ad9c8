"""COCO files to tables; several files become one dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.files import Finder, inside
from augsuite.errors import DataError
from augsuite_coco import layout
from augsuite_coco.model import LARGEST_ID, OWN, AnnotationRow, CategoryRow, Document, ImageRow, Part, load

_EXTRAS = {"segmentation": "segmentation", "score": "score"}
"""Keys that formats share."""


@dataclass
class _Columns:
    """Extras that grow file by file."""

    length: int = 0
    values: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, part: Part[Any], keep: Sequence[int], kind: type[Any]) -> None:
        """Append the extras of the kept rows of one file."""
        rows = part.rows
        for key in (name for name in kind.__struct_fields__ if name not in OWN[kind]):
            column = [getattr(rows[row], key) for row in keep]
            if any(value is not UNSET for value in column):
                self._append(key, column)
        for key, listed in part.unknown.items():
            self._append(key, [listed[row] for row in keep])
        self.length += len(keep)
        for column in self.values.values():
            column.extend([ABSENT] * (self.length - len(column)))

    def _append(self, key: str, column: list[Any]) -> None:
        self.values.setdefault(_EXTRAS.get(key, f"coco.{key}"), [ABSENT] * self.length).extend(column)

    def extra(self) -> dict[str, Any]:
        return {key: objects(column) for key, column in self.values.items()}


@dataclass
class _Tables:
    """What the files have given so far."""

    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    image_ids: list[int] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    category_rows: dict[str, int] = field(default_factory=dict)
    category_ids: list[int] = field(default_factory=list)
    annotation_images: list[int] = field(default_factory=list)
    annotation_categories: list[int] = field(default_factory=list)
    annotation_ids: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    image_extra: _Columns = field(default_factory=_Columns)
    category_extra: _Columns = field(default_factory=_Columns)
    annotation_extra: _Columns = field(default_factory=_Columns)
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)


def read(path: Path, intake: Intake) -> Dataset:
    """Read a COCO file, or a folder of them as one dataset.

    Boxes stay as they are in the file (x, y, width, height in pixels); a crowd is ignored in training and evaluation. Keys that
    the tables have no column for become extras `coco.<key>`; masks and keypoints are kept as undecoded JSON (`msgspec.Raw`).
    Categories of several files are one by name; ids that two files share are renumbered, with a note.

    Raises:
        DataError: in one line: file, place, what was expected, what was found.
    """
    files = layout.find_files(path) if path.is_dir() else [path]
    if not files:
        raise DataError(
            f"{path}: no JSON file in annotations/, in a folder per split or in the folder itself. Name the file."
        )
    root = path if path.is_dir() else layout.root_of(path)
    tables = _Tables()
    for file in files:
        split = layout.split_of(file, alone=len(files) == 1)
        document = load(file, intake)
        _add(tables, file, split, document, Finder(root, layout.image_folders(root, file, split)), intake)
    return Dataset(
        Images.of(
            tables.names,
            np.array(tables.sizes, np.int64).reshape(-1, 2),
            np.array(tables.image_ids, np.int64),
            tables.splits,
            tables.files,
            tables.image_extra.extra(),
        ),
        Categories.of(tables.category_rows, np.array(tables.category_ids, np.int64), tables.category_extra.extra()),
        Annotations.of(
            tables.annotation_images,
            tables.annotation_categories,
            np.array(tables.boxes, np.float64).reshape(-1, 4),
            Layout.XYWH_PX,
            np.array(tables.annotation_ids, np.int64),
            tables.ignore,
            tables.annotation_extra.extra(),
        ),
        root=root,
        extra=_head(tables.heads),
    )


def _add(tables: _Tables, file: Path, split: str, document: Document, finder: Finder, intake: Intake) -> None:
    images = _add_images(tables, file, split, document.images, finder, intake)
    categories = _add_categories(tables, file, document.categories, intake)
    _add_annotations(tables, file, document.annotations, images, categories, intake)
    tables.heads[split] = {**tables.heads.get(split, {}), **document.head}
    if finder.missing:
        intake.note(f"{file}: {finder.missing:,} of {len(images):,} images have no file under {finder.root}")


def _add_images(
    tables: _Tables, file: Path, split: str, part: Part[ImageRow], finder: Finder, intake: Intake
) -> dict[int, int]:
    """Append the images; returns id in the file -> row."""
    rows: dict[int, int] = {}
    keep = []
    for index, image in enumerate(part.rows):
        where = f"{file}: images[{part.places[index]}]"
        if image.id in rows:
            intake.reject(f"{where}.id", f"{image.id} is the id of an earlier image too", len(part.rows))
            continue
        try:
            found = finder.find(image.file_name)
        except DataError as error:
            intake.reject(f"{where}.file_name", str(error), len(part.rows))
            continue
        rows[image.id] = len(tables.names)
        keep.append(index)
        tables.names.append(_name(image.file_name, found))
        tables.sizes.append((image.width or 0, image.height or 0))
        tables.files.append(found)
    tables.splits.extend([split] * len(keep))
    _add_ids(tables.image_ids, [part.rows[index].id for index in keep], "image", file, intake)
    tables.image_extra.add(part, keep, ImageRow)
    return rows


def _name(said: str, found: str) -> str:
    """As the file says; where that leaves its folder by `..`, as seen from the root."""
    return said if not found or inside(said) else found


def _add_categories(tables: _Tables, file: Path, part: Part[CategoryRow], intake: Intake) -> dict[int, int]:
    """Append the categories whose names are new; returns id in the file -> row."""
    rows: dict[int, int] = {}
    names: set[str] = set()
    fresh = []
    taken = set(tables.category_ids)
    for index, category in enumerate(part.rows):
        where = f"{file}: categories[{part.places[index]}]"
        if category.id in rows:
            intake.reject(f"{where}.id", f"{category.id} is the id of an earlier category too", len(part.rows))
            continue
        if not category.name.strip():
            intake.reject(f"{where}.name", f"expected the name of a class, got {category.name!r}", len(part.rows))
            continue
        if category.name in names:
            intake.reject(f"{where}.name", f"{category.name!r} is the name of an earlier category too", len(part.rows))
            continue
        names.add(category.name)
        row = tables.category_rows.setdefault(category.name, len(tables.category_rows))
        rows[category.id] = row
        if row < len(tables.category_ids):
            if tables.category_ids[row] != category.id:
                intake.note(
                    f"{file}: category {category.name!r} has id {category.id} here and {tables.category_ids[row]} in another "
                    "file; the first is kept"
                )
            continue
        number = category.id
        if number in taken:
            number = _moved(category.id, max(taken) + 1 - category.id, file)
            intake.note(
                f"{file}: category {category.name!r}: id {category.id} is another's in another file; now {number}"
            )
        taken.add(number)
        tables.category_ids.append(number)
        fresh.append(index)
    tables.category_extra.add(part, fresh, CategoryRow)
    return rows


def _add_annotations(
    tables: _Tables,
    file: Path,
    part: Part[AnnotationRow],
    images: dict[int, int],
    categories: dict[int, int],
    intake: Intake,
) -> None:
    keep = []
    seen: set[int] = set()
    empty = 0
    for index, row in enumerate(part.rows):
        problem = ""
        if row.image_id not in images:
            problem = f".image_id: there is no image with id {row.image_id}"
        elif row.category_id not in categories:
            problem = f".category_id: there is no category with id {row.category_id}"
        elif row.id is not UNSET and row.id in seen:
            problem = f".id: {row.id} is the id of an earlier annotation too"
        elif row.bbox[2] < 0 or row.bbox[3] < 0:
            problem = f".bbox: expected a width and height of 0 or more, got {row.bbox[2]:g} and {row.bbox[3]:g}"
        if problem:
            place, _, said = problem.partition(": ")
            intake.reject(f"{file}: annotations[{part.places[index]}]{place}", said, len(part.rows))
            continue
        if row.id is not UNSET:
            seen.add(row.id)
        empty += not (row.bbox[2] and row.bbox[3])
        keep.append(index)
    rows = [part.rows[index] for index in keep]
    tables.annotation_images.extend([images[row.image_id] for row in rows])
    tables.annotation_categories.extend([categories[row.category_id] for row in rows])
    tables.boxes.extend([row.bbox for row in rows])
    tables.ignore.extend([row.iscrowd is not UNSET and bool(row.iscrowd) for row in rows])
    _add_ids(tables.annotation_ids, _numbered([row.id for row in rows], file, intake), "annotation", file, intake)
    tables.annotation_extra.add(part, keep, AnnotationRow)
    if empty:
        intake.note(f"{file}: {empty:,} boxes have no area")


def _numbered(ids: list[Any], file: Path, intake: Intake) -> list[int]:
    """Give those without an id the next free one."""
    without = sum(value is UNSET for value in ids)
    if not without:
        return ids
    intake.note(f"{file}: {without:,} annotations have no id; they were numbered")
    following = max((value for value in ids if value is not UNSET), default=0)
    numbered = []
    for value in ids:
        if value is UNSET:
            following = _moved(following, 1, file)
        numbered.append(following if value is UNSET else value)
    return numbered


def _add_ids(taken: list[int], ids: Iterable[int], what: str, file: Path, intake: Intake) -> None:
    """Append ids; those of a file that shares some with the files before it are all moved up together."""
    listed = list(ids)
    if taken and not set(taken).isdisjoint(listed):
        shift = max(taken) + 1 - min(listed)
        listed = [_moved(value, shift, file) for value in listed]
        intake.note(f"{file}: {what} ids also stand in another file; {shift} was added to each")
    taken.extend(listed)


def _moved(value: int, shift: int, file: Path) -> int:
    if value + shift > LARGEST_ID:
        raise DataError(
            f"{file}: its ids must be moved up, and {value} + {shift} is more than 64 bits hold. Number its rows from 1."
        )
    return value + shift


def _head(heads: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the files say as a whole: `coco.info` where all agree, `coco.info@train` where they differ."""
    extra: dict[str, Any] = {}
    keys = dict.fromkeys(key for head in heads.values() for key in head)
    for key in keys:
        values = [head.get(key, ABSENT) for head in heads.values()]
        if all(value is not ABSENT and value == values[0] for value in values):
            extra[f"coco.{key}"] = values[0]
        else:
            extra.update({f"coco.{key}@{split}": head[key] for split, head in heads.items() if key in head})
    return extra
