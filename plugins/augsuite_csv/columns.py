"""Ordinary CSV files read column by column; whatever is unusual in them is left to `reader`, which reads rows and words errors."""

from __future__ import annotations

import contextlib
import csv
import math
import mmap
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from augsuite.dataset import ABSENT, UNREAD, Intake, objects
from augsuite.dataset.checks import LARGEST
from augsuite.dataset.columns import GrowingColumn
from augsuite.dataset.fence import current
from augsuite.dataset.finder import Finder
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.progress import advance
from augsuite_csv.header import Header, understand
from augsuite_csv.layout import delimiter_of, find_images

TRUE = frozenset({"1", "true", "yes"})
FALSE = frozenset({"", "0", "false", "no"})
SCORES = frozenset({"score", "confidence", "conf"})
_BLOCK = 1 << 20
_LONGEST_HEADER = 1 << 16
_LARGEST_SIDE = 2.0**31


class UnusualError(Exception):
    """The file needs a reader that looks at each row."""


@dataclass
class Columns:
    """What the files have given so far.

    Attributes:
        images: name -> row.
        categories: name -> row.
        splits: name -> number.
        facts: pieces of width, height and number of the split of each image.
        files: one entry per image; filled once all names are known.
        image_rows, category_rows, boxes, ignore: the columns of the annotations.
        extra: pieces of others.
        finder: looks for image files where most of the first file's are.
    """

    images: dict[str, int] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    facts: list[NDArray[np.int64]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    image_rows: GrowingColumn = field(default_factory=GrowingColumn)
    category_rows: GrowingColumn = field(default_factory=GrowingColumn)
    boxes: GrowingColumn = field(default_factory=GrowingColumn)
    ignore: GrowingColumn = field(default_factory=GrowingColumn)
    extra: dict[str, list[NDArray[np.object_]]] = field(default_factory=dict)
    finder: Finder | None = None


def add_file(columns: Columns, file: Path, split: str, intake: Intake) -> tuple[Header, float]:
    """Read one file.

    Args:
        columns: takes its rows; of no use after an error.
        file: the file.
        split: the split of its images, where no column says one.
        intake: says which extras somebody will look at.

    Returns:
        The header, and the largest coordinate by size: NaN where there is none.

    Raises:
        UnusualError: if anything in the file is not as usual.
        DataError: if the header says nothing of images and boxes.
    """
    header, delimiter, quoted = _header(file)
    largest = math.nan
    with _frugal():
        for batch in _batches(file, header, delimiter, quoted=quoted):
            largest = np.fmax(largest, _add_batch(columns, file, header, batch, split, intake))
            advance("reading", len(batch))
    return header, float(largest)


def find_files_of_images(columns: Columns) -> None:
    """Look for the image files.

    Raises:
        UnusualError: if a name leads outside the folder.
    """
    finder = columns.finder
    if finder is None:
        return
    found, outside = finder.find_many(objects(columns.images))
    if outside:
        raise UnusualError
    columns.files = found.tolist()
    for row, name in enumerate(columns.images):
        if not name.lower().endswith(SUFFIXES):
            columns.files[row] = finder.look(name, stem=True) or columns.files[row]
    finder.missing += columns.files.count("")


def _header(file: Path) -> tuple[Header, str, bool]:
    """The header, the mark between cells, and whether there are quotes in the file."""
    try:
        fence = current()
        if fence is not None:
            fence.check(str(file))
        with file.open("rb") as opened:
            first = opened.readline(_LONGEST_HEADER)
            if not first.strip() or (b"\r" in first.rstrip(b"\r\n")) or len(first) == _LONGEST_HEADER:
                raise UnusualError
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
                quoted = content.find(b'"') >= 0
        line = first.decode("utf-8-sig")
        delimiter = delimiter_of(line)
        names = next(csv.reader([line], delimiter=delimiter, strict=True))
        if quoted:
            # Arrow reads `"a"b` as `ab`, where the csv module says that the quotes are wrong.
            with file.open(encoding="utf-8-sig", newline="") as text:
                deque(csv.reader(text, delimiter=delimiter, strict=True), maxlen=0)
    except (OSError, ValueError, csv.Error) as error:
        raise UnusualError from error
    return understand(file, names), delimiter, quoted


@contextlib.contextmanager
def _frugal() -> Iterator[None]:
    """Have Arrow take memory where it gives it back soonest: at 860,000 rows the peak is 40 MB lower than with its own choice."""
    before = pa.default_memory_pool()
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _batches(file: Path, header: Header, delimiter: str, *, quoted: bool) -> Iterator[pa.RecordBatch]:
    names = [str(index) for index in range(header.count)]
    text = pa.dictionary(pa.int32(), pa.string())
    kinds = {names[index]: text for index in (*header.columns.values(), *header.others.values())}
    kinds |= {names[header.columns[key]]: pa.float64() for key in ("width", "height") if key in header.columns}
    kinds |= {names[index]: pa.float64() for index in header.box}
    try:
        with arrow_csv.open_csv(
            file,
            arrow_csv.ReadOptions(block_size=_BLOCK, column_names=names, skip_rows=1, use_threads=False),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=quoted),
            arrow_csv.ConvertOptions(column_types=kinds, include_columns=list(kinds), null_values=[""]),
        ) as batches:
            yield from batches
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):
            raise UnusualError from error


def _add_batch(
    columns: Columns, file: Path, header: Header, batch: pa.RecordBatch, split: str, intake: Intake
) -> float:
    """Add the rows of one batch; the largest coordinate by size."""
    if not len(batch):
        return math.nan
    names, codes = _texts(batch, header.columns["image"])
    if columns.finder is None:
        few = [names[code] for code in codes[:50].tolist()]
        columns.finder = find_images(file, few, allow_outside=intake.allow_outside)
    images = _image_rows(columns, header, batch, names, codes, split)
    box, largest = _boxes(header, batch)
    ignore = _ignore(header, batch)
    labels, at = _texts(batch, header.columns["label"])
    blank = np.array([not label for label in labels])[at]
    if (blank & ~np.isnan(box[:, 0])).any():
        raise UnusualError
    ids = [columns.categories.setdefault(label, len(columns.categories)) if label else -1 for label in labels]
    said: Any = ~blank if blank.any() else slice(None)
    columns.image_rows.extend(images[said])
    columns.category_rows.extend(np.array(ids, np.int64)[at][said])
    columns.boxes.extend(box[said])
    columns.ignore.extend(ignore[said])
    for name, index in header.others.items():
        columns.extra.setdefault(name, []).append(_extra(batch[str(index)], _wanted(name, intake))[said])
    return largest


def _texts(batch: pa.RecordBatch, index: int) -> tuple[list[str], NDArray[np.int32]]:
    """The different texts of a column, without spaces around them, and for each row which one it is."""
    column = batch[str(index)]
    texts = [text.strip() for text in column.dictionary.to_pylist()]
    return texts, column.indices.to_numpy(zero_copy_only=False)


def _image_rows(
    columns: Columns, header: Header, batch: pa.RecordBatch, names: Sequence[str], codes: NDArray[np.int32], split: str
) -> NDArray[np.int64]:
    """The image of each row; images not seen before are added, and each row must say of its image what the first said."""
    if "" in names:
        raise UnusualError
    known = len(columns.images)
    rows = np.array([columns.images.setdefault(name, len(columns.images)) for name in names], np.int64)[codes]
    facts = np.zeros((len(rows), 3), np.int64)
    for side, key in enumerate(("width", "height")):
        if key in header.columns:
            values = batch[str(header.columns[key])].fill_null(0).to_numpy(zero_copy_only=False)
            if not ((values >= 0) & (values < _LARGEST_SIDE) & (values == np.rint(values))).all():
                raise UnusualError
            facts[:, side] = values
    splits, at = [split], np.zeros(len(rows), np.int32)
    if "split" in header.columns:
        splits, at = _texts(batch, header.columns["split"])
    ids = [columns.splits.setdefault(text or split, len(columns.splits)) for text in splits]
    facts[:, 2] = np.array(ids)[at]
    first = np.zeros(len(columns.images), np.int64)
    first[rows[::-1]] = np.arange(len(rows))[::-1]
    columns.facts.append(facts[first[known:]])
    if rows.min() < known:  # in a file sorted by image, one image for each batch
        columns.facts = [np.concatenate(columns.facts)]
        before = columns.facts[0][rows]
    else:
        before = facts[first[rows]]
    same = (facts == before).all(axis=1) | ((facts[:, :2] == 0).all(axis=1) & (facts[:, 2] == before[:, 2]))
    if not same.all():
        raise UnusualError
    return rows


def _boxes(header: Header, batch: pa.RecordBatch) -> tuple[NDArray[np.float64], float]:
    """`(N, 4)` boxes, NaN where the four cells are empty, and the largest coordinate by size."""
    boxes = np.full((len(batch), 4), np.nan)
    if not header.box:
        return boxes, math.nan
    for side, index in enumerate(header.box):
        column = batch[str(index)]
        boxes[:, side] = column.to_numpy(zero_copy_only=False)
        if np.count_nonzero(np.isnan(boxes[:, side])) != column.null_count:
            raise UnusualError
    empty = np.isnan(boxes)
    largest = float(np.fmax.reduce(np.abs(boxes), axis=None))
    extent = boxes[:, 2:] - boxes[:, :2] if header.corners == "xyxy" else boxes[:, 2:]
    if (empty.any(axis=1) != empty.all(axis=1)).any() or largest > LARGEST or (extent < 0).any():
        raise UnusualError
    return boxes, largest


def _ignore(header: Header, batch: pa.RecordBatch) -> NDArray[np.bool_]:
    if "ignore" not in header.columns:
        return np.zeros(len(batch), bool)
    texts, codes = _texts(batch, header.columns["ignore"])
    lower = [text.lower() for text in texts]
    if not set(lower) <= TRUE | FALSE:
        raise UnusualError
    return np.array([text in TRUE for text in lower])[codes]


def _extra(column: Any, wanted: bool) -> NDArray[np.object_]:
    """The cells of a column that means nothing to us; each different text is held once."""
    texts = [text if wanted or not text else UNREAD for text in column.dictionary.to_pylist()]
    values = np.array([text or ABSENT for text in texts] or [ABSENT], dtype=object)
    return np.asarray(values[column.indices.to_numpy(zero_copy_only=False)], dtype=object)


def _wanted(name: str, intake: Intake) -> bool:
    return intake.wanted(f"csv.{name}") or (name.lower() in SCORES and intake.wanted("score"))
