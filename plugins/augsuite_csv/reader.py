"""CSV files to tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.checks import number
from augsuite.dataset.files import Finder, is_image, with_sizes
from augsuite.errors import DataError
from augsuite_csv.header import LARGEST_FRACTION, Header
from augsuite_csv.layout import find_files, find_images, read_rows

_TRUE = {"1", "true", "yes"}
_FALSE = {"", "0", "false", "no"}
_SHIFT = np.array([1.0, 1.0, 0.0, 0.0])


@dataclass
class _Tables:
    """What the rows have given so far."""

    images: dict[str, int] = field(default_factory=dict)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    categories: dict[str, int] = field(default_factory=dict)
    image_rows: list[int] = field(default_factory=list)
    category_rows: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    extra: list[dict[str, str]] = field(default_factory=list)


def read(path: Path, intake: Intake, units: str = "", origin: str = "") -> Dataset:
    """Read a CSV file, or the CSV files of a folder; of several files each is a split by its name, where no column says so.

    A row without coordinates labels the whole image; without a class too, it only says that the image exists. Columns that mean
    nothing to us become extras `csv.<column>`; an empty cell is absent.

    Args:
        path: a file or folder.
        intake: takes what is invalid or surprising.
        units: "pixel" or "unit", where the header does not say and the values could be both.
        origin: "1" for corners that count pixels from 1 and belong to the box, as in a CSV made from VOC's XML; "0", which is
            assumed with a note where the values look like the other.

    Raises:
        DataError: in one line: file, line, what was expected, what was found.
    """
    files = find_files(path)
    if not files:
        raise DataError(f"{path}: no CSV file. Name one, or the folder that has them.")
    tables = _Tables()
    finder: Finder | None = None
    layout: Layout | None = None
    for file in files:
        try:
            header, rows = read_rows(file)
        except DataError:
            if len(files) == 1:
                raise
            intake.note(f"{file}: left aside, its header says nothing of images and boxes")
            continue
        listed = list(rows)
        if finder is None:
            finder = find_images(file, [row[header.columns["image"]] for _, row in listed if len(row) == header.count])
        first = len(tables.boxes)
        _add(tables, file, header, listed, finder, file.stem if len(files) > 1 else "", intake)
        own = header.layout(_units(file, header, tables.boxes[first:], units))
        if layout is not None and header.box and own is not layout:
            raise DataError(
                f"{file}: holds boxes as {own.value}, the files before it as {layout.value}. Convert them one by one."
            )
        layout = own if header.box else layout
    if finder is None:
        raise DataError(f"{path}: no CSV file has a header that says which image and class. Add a header line.")
    if finder.missing:
        intake.note(f"{path}: {finder.missing:,} of {len(tables.images):,} images have no file")
    if not origin and layout is Layout.XYXY_PX and _may_count_from_one(tables.boxes):
        intake.note(
            f"{path}: boxes begin at pixel 1 and none at 0; if they count from 1, as in a CSV made from VOC's XML, "
            "pass --option origin=1 (or origin=0 to say that they do not)"
        )
    return _dataset(tables, finder.root, layout or Layout.XYXY_PX, origin, path)


def _may_count_from_one(boxes: list[tuple[float, ...]]) -> bool:
    """Whether corners are whole numbers of which some begin at 1, none before."""
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    corners = corners[~np.isnan(corners).any(axis=1)]
    return len(corners) > 0 and bool((corners == np.rint(corners)).all()) and corners[:, :2].min() == 1


def _dataset(tables: _Tables, root: Path, layout: Layout, origin: str, path: Path) -> Dataset:
    boxes = np.array(tables.boxes, np.float64).reshape(-1, 4)
    if origin == "1":
        if layout is not Layout.XYXY_PX:
            raise DataError(
                f"{path}: origin=1 is for corners in pixels, and these boxes are {layout.value}. Leave the option out."
            )
        boxes = boxes - _SHIFT
    keys = dict.fromkeys(key for row in tables.extra for key in row)
    extra = {f"csv.{key}": objects([row.get(key, ABSENT) for row in tables.extra]) for key in keys}
    data = Dataset(
        Images.of(
            tables.images, np.array(tables.sizes, np.int64).reshape(-1, 2), splits=tables.splits, files=tables.files
        ),
        Categories.of(tables.categories),
        Annotations.of(tables.image_rows, tables.category_rows, boxes, layout, ignore=tables.ignore, extra=extra),
        root=root,
        extra={} if layout.corners == "xyxy" else {"csv.layout": layout.value},
    )
    return with_sizes(data)


def _add(
    tables: _Tables,
    file: Path,
    header: Header,
    rows: list[tuple[int, list[str]]],
    finder: Finder,
    split: str,
    intake: Intake,
) -> None:
    total = len(rows)
    for line, cells in rows:
        where = f"{file}: line {line}"
        if len(cells) != header.count:
            intake.reject(where, f"expected {header.count} columns as in the header, got {len(cells)}", total)
            continue
        try:
            image, size, of = _image(header, cells)
            label = cells[header.columns["label"]].strip() if "label" in header.columns else ""
            box = _box(header, cells)
            ignore = _flag(header, cells)
        except ValueError as error:
            intake.reject(where, str(error), total)
            continue
        if box is not None and not label:
            intake.reject(where, "expected a class for the box, got an empty cell", total)
            continue
        row = tables.images.get(image)
        if row is not None and (size not in {tables.sizes[row], (0, 0)} or (of or split) != tables.splits[row]):
            known = f"{tables.sizes[row]} in split {tables.splits[row]!r}"
            intake.reject(where, f"image {image!r} is {size} in split {of or split!r} here and {known} before", total)
            continue
        if row is None:
            try:
                by_stem = "" if is_image(Path(image)) else finder.look(image, stem=True)
                found = by_stem or finder.find(image)
            except DataError as error:
                intake.reject(where, str(error), total)
                continue
            row = tables.images[image] = len(tables.images)
            tables.sizes.append(size)
            tables.splits.append(of or split)
            tables.files.append(found)
        if not label:
            continue
        tables.image_rows.append(row)
        tables.category_rows.append(tables.categories.setdefault(label, len(tables.categories)))
        tables.boxes.append(box or (math.nan,) * 4)
        tables.ignore.append(ignore)
        tables.extra.append({name: cells[index] for name, index in header.others.items() if cells[index]})


def _image(header: Header, cells: list[str]) -> tuple[str, tuple[int, int], str]:
    """The image's name, its size (zeros where not said) and its split ("" where not said)."""
    name = cells[header.columns["image"]].strip()
    if not name:
        raise ValueError("expected the name of an image, got an empty cell")
    size = [0, 0]
    for index, key in enumerate(("width", "height")):
        if key in header.columns and (text := cells[header.columns[key]].strip()):
            value = _finite(text, key)
            if not (0 <= value < 2**31 and value == int(value)):
                raise ValueError(f"{key}: expected a whole number of pixels, got {text!r}")
            size[index] = int(value)
    split = cells[header.columns["split"]].strip() if "split" in header.columns else ""
    return name, (size[0], size[1]), split


def _box(header: Header, cells: list[str]) -> tuple[float, ...] | None:
    texts = [cells[index].strip() for index in header.box]
    if not any(texts):
        return None
    values = tuple(_finite(text, "box") for text in texts)
    extent = (values[2] - values[0], values[3] - values[1]) if header.corners == "xyxy" else values[2:]
    if min(extent) < 0:
        raise ValueError(f"box: expected a width and height of 0 or more, got {list(values)}")
    return values


def _finite(text: str, what: str) -> float:
    value = number(text)
    if math.isnan(value):
        raise ValueError(f"{what}: expected a number, got {text!r}")
    return value


def _flag(header: Header, cells: list[str]) -> bool:
    text = cells[header.columns["ignore"]].strip().lower() if "ignore" in header.columns else ""
    if text not in _TRUE | _FALSE:
        raise ValueError(f"ignore: expected 0 or 1, got {text!r}")
    return text in _TRUE


def _units(file: Path, header: Header, boxes: list[Any], option: str) -> str:
    """Pixels or fractions: the option, else the header, else values that no fraction reaches."""
    if option or header.units:
        return option or header.units
    values = [abs(value) for box in boxes for value in box if not math.isnan(value)]
    if values and max(values) <= LARGEST_FRACTION:
        raise DataError(
            f"{file}: no coordinate is above {LARGEST_FRACTION:g}, and nothing says whether they are pixels or fractions. "
            "Pass --option units=unit or --option units=pixel."
        )
    return "pixel"
