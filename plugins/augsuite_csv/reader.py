"""CSV files to tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes, Layout
from augsuite.dataset import ABSENT, UNREAD, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.checks import number
from augsuite.dataset.files import with_sizes
from augsuite.dataset.finder import Finder
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.split_folders import read_splits, split_folders
from augsuite.errors import DataError
from augsuite_csv.columns import FALSE, SCORES, TRUE, Columns, UnusualError, add_file, find_files_of_images
from augsuite_csv.header import LARGEST_FRACTION, Header
from augsuite_csv.layout import detect, find_files, find_images, read_rows

_SHIFT = np.array([1.0, 1.0, 0.0, 0.0])


@dataclass
class _Tables:
    """What the files have given, as columns."""

    images: dict[str, int]
    sizes: NDArray[np.int64]
    splits: list[str]
    files: list[str]
    categories: dict[str, int]
    image_rows: NDArray[np.int64]
    category_rows: NDArray[np.int64]
    boxes: Boxes
    ignore: NDArray[np.bool_]
    extra: dict[str, NDArray[np.object_]]
    finder: Finder | None


@dataclass
class _Rows:
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
        homes = [home for home in split_folders(path) if detect(home)]
        if homes:
            return read_splits(homes, lambda home: read(home, intake, units, origin), intake)
        raise DataError(f"{path}: no CSV file. Name one, or the folder that has them.")
    try:
        tables, layout = _read_columns(files, intake, units)
    except UnusualError:
        tables, layout = _read_rows(files, intake, units)
    finder = tables.finder
    if finder is None:
        raise DataError(f"{path}: no CSV file has a header that says which image and class. Add a header line.")
    if finder.missing:
        intake.note(f"{path}: {finder.missing:,} of {len(tables.images):,} images have no file")
    if not origin and layout is Layout.XYXY_PX and _may_count_from_one(tables.boxes):
        intake.note(
            f"{path}: boxes begin at pixel 1 and none at 0; if they count from 1, as in a CSV made from VOC's XML, "
            "pass --option origin=1 (or origin=0 to say that they do not)"
        )
    return _dataset(tables, finder.root, layout, origin, path)


def _read_columns(files: Sequence[Path], intake: Intake, units: str) -> tuple[_Tables, Layout]:
    """Read ordinary files, fast.

    Raises:
        UnusualError: if one is not ordinary; nothing has then been said to `intake`.
    """
    columns, aside = Columns(), []
    layout: Layout | None = None
    for file in files:
        try:
            header, largest = add_file(columns, file, file.stem if len(files) > 1 else "", intake)
        except DataError as error:
            if len(files) == 1:
                raise UnusualError from error
            aside.append(file)
            continue
        layout = _one_layout(file, header, _units(file, header, largest, units), layout)
    find_files_of_images(columns)
    for file in aside:
        _leave_aside(file, intake)
    facts = _joined(columns.facts, (0, 3), np.int64)
    splits = list(columns.splits)
    extra = {f"csv.{name}": _joined(pieces, (0,), object) for name, pieces in columns.extra.items()}
    tables = _Tables(
        columns.images,
        facts[:, :2],
        [splits[code] for code in facts[:, 2].tolist()],
        columns.files,
        columns.categories,
        columns.image_rows.whole().astype(np.int64, copy=False),
        columns.category_rows.whole().astype(np.int64, copy=False),
        columns.boxes.whole().reshape(-1, 4),
        columns.ignore.whole().astype(bool, copy=False),
        {key: values for key, values in extra.items() if not (values == ABSENT).all()},
        columns.finder,
    )
    return tables, layout or Layout.XYXY_PX


def _joined(pieces: list[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """One column of its pieces, which are let go."""
    column = np.concatenate([np.zeros(shape, dtype), *pieces])
    pieces.clear()
    return column


def _read_rows(files: Sequence[Path], intake: Intake, units: str) -> tuple[_Tables, Layout]:
    """Read any files row by row, and say what is wrong with a row."""
    rows = _Rows()
    finder: Finder | None = None
    layout: Layout | None = None
    for file in files:
        try:
            header, lines = read_rows(file)
        except DataError:
            if len(files) == 1:
                raise
            _leave_aside(file, intake)
            continue
        listed = list(lines)
        if finder is None:
            few = [row[header.columns["image"]] for _, row in listed if len(row) == header.count]
            finder = find_images(file, few, allow_outside=intake.allow_outside)
        first = len(rows.boxes)
        _add(rows, file, header, listed, finder, file.stem if len(files) > 1 else "", intake)
        values = [abs(value) for box in rows.boxes[first:] for value in box if not math.isnan(value)]
        layout = _one_layout(file, header, _units(file, header, max(values, default=math.nan), units), layout)
    keys = dict.fromkeys(key for row in rows.extra for key in row)
    tables = _Tables(
        rows.images,
        np.array(rows.sizes, np.int64).reshape(-1, 2),
        rows.splits,
        rows.files,
        rows.categories,
        np.array(rows.image_rows, np.int64),
        np.array(rows.category_rows, np.int64),
        np.array(rows.boxes, np.float64).reshape(-1, 4),
        np.array(rows.ignore, bool),
        {f"csv.{key}": objects([row.get(key, ABSENT) for row in rows.extra]) for key in keys},
        finder,
    )
    return tables, layout or Layout.XYXY_PX


def _leave_aside(file: Path, intake: Intake) -> None:
    intake.note(f"{file}: left aside, its header says nothing of images and boxes")


def _one_layout(file: Path, header: Header, units: str, layout: Layout | None) -> Layout | None:
    """The layout of a file's boxes, which must be that of the files before it; unchanged where it has none."""
    own = header.layout(units)
    if layout is not None and header.box and own is not layout:
        raise DataError(
            f"{file}: holds boxes as {own.value}, the files before it as {layout.value}. Convert them one by one."
        )
    return own if header.box else layout


def _may_count_from_one(boxes: Boxes) -> bool:
    """Whether corners are whole numbers of which some begin at 1, none before."""
    if np.fmin.reduce(boxes[:, :2], axis=None, initial=np.inf) != 1:
        return False
    return bool((np.isnan(boxes) | (boxes == np.rint(boxes))).all())


def _dataset(tables: _Tables, root: Path, layout: Layout, origin: str, path: Path) -> Dataset:
    boxes = tables.boxes
    if origin == "1":
        if layout is not Layout.XYXY_PX:
            raise DataError(
                f"{path}: origin=1 is for corners in pixels, and these boxes are {layout.value}. Leave the option out."
            )
        boxes = boxes - _SHIFT
    data = Dataset(
        Images.of(tables.images, tables.sizes, splits=tables.splits, files=tables.files),
        Categories.of(tables.categories),
        Annotations.of(
            tables.image_rows,
            tables.category_rows,
            boxes,
            layout,
            ignore=tables.ignore,
            extra=_with_scores(tables.extra),
        ),
        root=root,
        extra={} if layout.corners == "xyxy" else {"csv.layout": layout.value},
    )
    return with_sizes(data)


def _with_scores(extra: dict[str, NDArray[np.object_]]) -> dict[str, NDArray[np.object_]]:
    """The extras with a column of confidences, if all that it says are numbers, as the common extra `score`."""
    key = next((key for key in extra if key.removeprefix("csv.").lower() in SCORES), None)
    if key is None:
        return extra
    texts = set(extra[key].tolist()) - {ABSENT}
    values = {text: UNREAD if text is UNREAD else number(text) for text in texts}
    if any(value is not UNREAD and math.isnan(value) for value in values.values()):
        return extra
    values[ABSENT] = ABSENT
    scores = objects([values[text] for text in extra[key].tolist()])
    return {name: values for name, values in extra.items() if name != key} | {"score": scores}


def _add(
    tables: _Rows,
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
                by_stem = "" if image.lower().endswith(SUFFIXES) else finder.look(image, stem=True)
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
    if text not in TRUE | FALSE:
        raise ValueError(f"ignore: expected 0 or 1, got {text!r}")
    return text in TRUE


def _units(file: Path, header: Header, largest: float, option: str) -> str:
    """Pixels or fractions: the option, else the header, else values that no fraction reaches."""
    if option or header.units:
        return option or header.units
    if largest <= LARGEST_FRACTION:
        raise DataError(
            f"{file}: no coordinate is above {LARGEST_FRACTION:g}, and nothing says whether they are pixels or fractions. "
            "Pass --option units=unit or --option units=pixel."
        )
    return "pixel"
