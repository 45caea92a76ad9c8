"""Metadata files to tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.checks import LARGEST
from augsuite.dataset.files import Finder, with_sizes
from augsuite.dataset.packing import decode
from augsuite.dataset.progress import track
from augsuite.errors import DataError
from augsuite_imagefolder.layout import find_files
from augsuite_imagefolder.lines import LABEL, objects_of, read_lines

_LARGEST_ID = 2**63
_LARGEST_SIDE = 2**31
_NO_BOX = (math.nan,) * 4
_OF_IMAGE = frozenset({"file_name", "image_id", "width", "height", "split", "objects", "extra", *LABEL})
_OF_OBJECT = frozenset({"category", "bbox", "id", "ignore", "iscrowd", "area", "extra"})


def read(path: Path, intake: Intake, boxes: str = "") -> Dataset:
    """Read `metadata.jsonl` or `metadata.csv` beside the images, of one folder or of one per split.

    A line is an image: `file_name`, and `objects` (`bbox` and `categories`, as lists or as a list of objects) or a `label` of the whole
    image. What else it says becomes extras `imagefolder.<key>`. Images that no metadata names are noted and left aside.

    Args:
        path: a folder, or a metadata file.
        intake: takes what is invalid or surprising.
        boxes: the layout of boxes; x, y, width, height in pixels by default.

    Raises:
        DataError: in one line: file, line, what was expected, what was found.
    """
    files = find_files(path)
    if not files:
        raise DataError(f"{path}: no metadata.jsonl or metadata.csv. Name the folder that has it.")
    root = (path if path.is_dir() else path.parent).resolve()
    tables = _Tables()
    for file, split in files:
        folder = file.parent.resolve().relative_to(root).as_posix()
        finder = Finder(root, (folder if folder != "." else "",), allow_outside=intake.allow_outside)
        for where, said in track(read_lines(file, intake), "reading"):
            tables.add(where, said, split, finder, intake)
        if finder.missing:
            intake.note(f"{file}: {finder.missing:,} images have no file")
    layout = Layout(boxes if boxes.endswith("_unit") else f"{boxes or 'xywh'}_px")
    return with_sizes(tables.dataset(root, layout, intake, path))


@dataclass
class _Tables:
    """What the lines have given so far."""

    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    ids: list[int | None] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    extra: list[Mapping[str, Any]] = field(default_factory=list)
    categories: dict[str, int] = field(default_factory=dict)
    image_rows: list[int] = field(default_factory=list)
    category_rows: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    own_ids: list[int | None] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    own_extra: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, where: str, said: dict[str, Any], split: str, finder: Finder, intake: Intake) -> None:
        """Take one image."""
        try:
            name = said.get("file_name")
            if not isinstance(name, str) or not name:
                raise ValueError(f"expected a file_name, got {name!r}")
            listed = objects_of(said)
            size = (_whole(said.get("width"), _LARGEST_SIDE) or 0, _whole(said.get("height"), _LARGEST_SIDE) or 0)
            image_id = _whole(said.get("image_id"), _LARGEST_ID)
            file = finder.find(name)
        except (ValueError, DataError) as error:
            intake.reject(where, str(error))
            return
        row = len(self.names)
        self.names.append(name)
        self.sizes.append(size)
        self.ids.append(image_id)
        own = said.get("split")
        self.splits.append(own if isinstance(own, str) else split)
        self.files.append(file)
        self.extra.append(_extra(said, _OF_IMAGE, where))
        for number, each in enumerate(listed):
            try:
                box, category, own_id = (
                    _box(each.get("bbox")),
                    _category(each["category"]),
                    _whole(each.get("id"), _LARGEST_ID),
                )
            except ValueError as error:
                intake.reject(f"{where}: objects[{number}]", str(error))
                continue
            self.image_rows.append(row)
            self.category_rows.append(self.categories.setdefault(category, len(self.categories)))
            self.boxes.append(box)
            self.own_ids.append(own_id)
            self.ignore.append(bool(each.get("ignore", each.get("iscrowd", False))))
            self.own_extra.append(_extra(each, _OF_OBJECT, where))

    def dataset(self, root: Path, layout: Layout, intake: Intake, path: Path) -> Dataset:
        """The tables. Categories that are numbers all are sorted by number, which is their id too."""
        order = list(self.categories)
        ids: list[int] | None = None
        position = np.arange(len(order))
        if order and all(name.isascii() and name.isdecimal() and len(name) < 10 for name in order):
            rows = sorted(range(len(order)), key=lambda row: int(order[row]))
            position[rows] = np.arange(len(order))
            order = [order[row] for row in rows]
            ids = [int(name) for name in order]
            ids = ids if len(set(ids)) == len(ids) else None
        return Dataset(
            Images.of(
                self.names,
                np.array(self.sizes, np.int64).reshape(-1, 2),
                _ids(self.ids, "image", path, intake),
                self.splits,
                self.files,
                _columns(self.extra),
            ),
            Categories.of(order, ids),
            Annotations.of(
                self.image_rows,
                position[np.array(self.category_rows, np.int64)],
                np.array(self.boxes, np.float64).reshape(-1, 4),
                layout,
                _ids(self.own_ids, "object", path, intake),
                self.ignore,
                _columns(self.own_extra),
            ),
            root=root,
        )


def _box(value: Any) -> tuple[float, ...]:
    if value is None:
        return _NO_BOX
    numbers = isinstance(value, list) and all(type(each) in {int, float} and abs(each) <= LARGEST for each in value)
    if not numbers or len(value) != 4:
        raise ValueError(f"bbox: expected 4 numbers, got {str(value)[:80]}")
    return tuple(float(each) for each in value)


def _category(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(f"expected a category, a name or a number, got {str(value)[:80]!r}")
    return str(value)


def _whole(value: Any, limit: int) -> int | None:
    """A whole number, also as text from a CSV; None where there is none, or where an id is a text."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdecimal() and len(value) < 20 else None
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(f"expected a whole number from 0, got {str(value)[:40]}")
    return value


def _ids(given: list[int | None], what: str, path: Path, intake: Intake) -> NDArray[np.int64] | None:
    """The ids that the lines say, if all do and no two are the same."""
    said = [number for number in given if number is not None]
    if len(said) == len(given) == len(set(said)):
        return np.array(said, np.int64)
    if said:
        intake.note(f"{path}: {what} ids are missing or stand twice; they were numbered anew")
    return None


def _extra(said: Mapping[str, Any], known: frozenset[str], where: str) -> Mapping[str, Any]:
    """What else is said: the extras that we wrote, and unknown keys as `imagefolder.<key>`."""
    ours = said.get("extra")
    kept = dict(decode(ours, where)) if isinstance(ours, str) and ours.startswith("{") else {}
    for key, value in said.items():
        if key not in known and value is not None:
            kept[key if key in {"segmentation", "score"} else f"imagefolder.{key}"] = value
    return kept


def _columns(rows: list[Mapping[str, Any]]) -> dict[str, NDArray[np.object_]]:
    keys = dict.fromkeys(key for row in rows if row for key in row)
    return {key: objects([row.get(key, ABSENT) for row in rows]) for key in keys}
