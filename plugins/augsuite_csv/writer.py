"""Tables to one CSV file beside `images/`, in parts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from augsuite.boxes import Layout, convert
from augsuite.dataset import ABSENT, UNREAD, Dataset
from augsuite.dataset.delimited import cells, join, numbers, write_lines
from augsuite.dataset.files import inside
from augsuite.dataset.progress import advance
from augsuite.dataset.unique import Unique
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_csv.header import LARGEST_FRACTION

_PREFIX = "csv."
_SCORE = "score"
_HEADINGS = {
    "xyxy": ("xmin", "ymin", "xmax", "ymax"),
    "xywh": ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    "cxcywh": ("x_center", "y_center", "w", "h"),
}
_CHUNK = 1 << 16  # rows in memory at a time
_NOT_PLAIN = r"^$|[\\:\x00]|^[./]|/[./]|/$"
"""What may lead outside a folder, or is not the shortest way to write a path."""
_SPACE = re.compile(r"\s").search
_FIXED = ("image", "label", "0", "1", "2", "3", "split", "ignore", _SCORE)


def write_parts(parts: Iterable[Dataset], folder: Path, losses: Losses) -> Iterator[Sequence[str]]:
    """Write `annotations.csv`, with the images in `images/`.

    Columns: `filename, width, height, class, xmin, ymin, xmax, ymax`, and where something is there to say, `split`, `ignore`, `score`
    and the extras `csv.*`. Fractions stay fractions (`xmin_norm`, ...). Numbers are written so that they read back as the same float64.

    Which columns there are is known at the end only, so rows wait in Arrow files until then.
    """
    taken = Unique()
    spool = _Spool(folder)
    layout: Layout | None = None
    with contextlib.closing(spool):
        for part in parts:
            if layout is None:
                layout = _layout(part)
                _count_spaces(part.categories.names.tolist(), losses)
            names = part.images.names.tolist()
            filenames = taken.names(_safe(names))
            if filenames != names:
                losses["image names"] += sum(map(str.__ne__, names, filenames))
            _count_spaces(names, losses)
            _count_spaces(part.images.splits.tolist(), losses)
            spool.add(part, filenames, layout, losses)
            yield [f"images/{filename}" for filename in filenames]
        spool.finish(folder / "annotations.csv", layout or Layout.XYXY_PX)


@dataclass
class _Spool:
    """Rows that wait for their header.

    Attributes:
        folder: where the Arrow files go.
        files: the files so far, one for each set of extras in a row.
        extras: all extras `csv.*`, in the order in which they came.
        splits: whether any image has a split.
        ignore: whether any annotation is ignored.
        scores: whether any has a score.
        largest: the largest coordinate by size; -1 where there is none.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    extras: dict[str, None] = field(default_factory=dict)
    splits: bool = False
    ignore: bool = False
    scores: bool = False
    largest: float = -1.0
    _open: pa.RecordBatchStreamWriter | None = None
    _columns: tuple[str, ...] | None = None

    def add(self, data: Dataset, filenames: Sequence[str], layout: Layout, losses: Losses) -> None:
        """Take the rows of a part: those of an image in the order of the table, or one without a class."""
        table = data.annotations
        extras = {key: values for key, values in table.extra.items() if key.startswith(_PREFIX)}
        self._into(tuple(extras))
        self.extras.update(dict.fromkeys(extras))
        self.splits = self.splits or bool((data.images.splits != "").any())
        self.ignore = self.ignore or bool(table.ignore.any())
        images = _image_cells(filenames, data.images.sizes)
        splits = cells(pa.array(data.images.splits, pa.string()))
        labels = cells(pa.array(data.categories.names, pa.string()))
        scores = _scores(table.extra.get(_SCORE), len(table), losses)
        self.scores = self.scores or not np.isnan(scores).all()
        rows, at = _order(table.image_rows, len(data))
        for start in range(0, len(rows), _CHUNK):
            row, one = rows[start : start + _CHUNK], at[start : start + _CHUNK]
            said = one >= 0
            where = one[said]
            boxes = convert(table.boxes[where], table.layout, layout)  # of the same units, so that no size is needed
            self.largest = max(self.largest, float(np.fmax.reduce(np.abs(boxes), axis=None, initial=-1.0)))
            numbers_of = np.full((5, len(row)), np.nan)
            numbers_of[:4, said], numbers_of[4, said] = boxes.T, scores[where]
            ignored = np.zeros(len(row), bool)
            ignored[said] = table.ignore[where]
            label = np.zeros(len(row), np.int64)
            label[said] = table.category_rows[where]
            columns = [
                images.take(pa.array(row)),
                labels.take(pa.array(label, mask=~said)),
                *(pa.array(numbers_of[index], from_pandas=True) for index in range(4)),
                splits.take(pa.array(row)),
                pa.array(ignored, mask=~said),
                pa.array(numbers_of[4], from_pandas=True),
            ]
            for key, values in extras.items():
                text: list[str | None] = [None] * len(row)
                for index, value in zip(np.flatnonzero(said).tolist(), values[where].tolist(), strict=True):
                    text[index] = _text(value)
                    losses[key] += value is None
                columns.append(pa.array(text, pa.string()))
            if self._open is not None:
                self._open.write_batch(pa.RecordBatch.from_arrays(columns, names=[*_FIXED, *extras]))
            advance("writing", len(row))

    def _into(self, extras: tuple[str, ...]) -> None:
        """Have a file open for rows with these extras."""
        if self._open is not None and extras == self._columns:
            return
        self.close()
        self.files.append(self.folder / f".rows-{len(self.files)}.arrow")
        kinds = [pa.string()] * 2 + [pa.float64()] * 4 + [pa.string(), pa.bool_(), pa.float64()]
        schema = pa.schema([*zip(_FIXED, kinds, strict=True), *((key, pa.string()) for key in extras)])
        self._open = pa.ipc.new_stream(self.files[-1], schema)
        self._columns = extras

    def close(self) -> None:
        """Finish the file that is open."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def finish(self, file: Path, layout: Layout) -> None:
        """Write the header and all rows, and remove the Arrow files."""
        self.close()
        score = _SCORE if f"{_PREFIX}{_SCORE}" not in self.extras else "confidence"
        headings = [
            *("filename", "width", "height", "class"),
            *_headings(layout, self.largest),
            *["split"] * self.splits,
            *["ignore"] * self.ignore,
            *[score] * self.scores,
            *(key.removeprefix(_PREFIX) for key in self.extras),
        ]
        with file.open("wb") as out:
            write_lines(out, [cells(pa.array([heading])) for heading in headings])
            for path in self.files:
                with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as batches:
                    for batch in batches:
                        write_lines(out, self._cells(batch))
                path.unlink()

    def _cells(self, batch: pa.RecordBatch) -> list[pa.Array]:
        columns = [batch["image"], batch["label"]]
        columns += [numbers(batch[str(index)].to_numpy(zero_copy_only=False)) for index in range(4)]
        if self.splits:
            columns.append(batch["split"])
        if self.ignore:
            columns.append(batch["ignore"].cast(pa.int8()).cast(pa.string()))
        if self.scores:
            columns.append(numbers(batch[_SCORE].to_numpy(zero_copy_only=False)))
        nothing = pa.nulls(len(batch), pa.string())
        columns += [cells(batch[key]) if key in batch.schema.names else nothing for key in self.extras]
        return columns


def _order(image_rows: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row of the file its image, and its annotation or -1 for an image without one."""
    empty = np.flatnonzero(np.bincount(image_rows, minlength=count) == 0)
    rows = np.concatenate([image_rows, empty])
    at = np.concatenate([np.arange(len(image_rows)), np.full(len(empty), -1)])
    order = np.argsort(rows, kind="stable")
    return rows[order], at[order]


def _image_cells(filenames: Sequence[str], sizes: NDArray[np.int64]) -> pa.Array:
    """`name,width,height` of each image."""
    known = [pa.array(sizes[:, side], mask=sizes[:, side] <= 0).cast(pa.string()) for side in range(2)]
    return join([cells(pa.array(filenames, pa.string())), *known])


def _scores(values: NDArray[np.object_] | None, count: int, losses: Losses) -> NDArray[np.float64]:
    """The scores as numbers; NaN where there is none, or where it is no number, which is counted."""
    if values is None:
        return np.full(count, np.nan)
    scores = np.array([float(value) if isinstance(value, int | float) else np.nan for value in values.tolist()], float)
    scores[~np.isfinite(scores)] = np.nan
    losses[_SCORE] += sum(values[row] is not ABSENT for row in np.flatnonzero(np.isnan(scores)).tolist())
    return scores


def _text(value: Any) -> str | None:
    return None if value is ABSENT or value is UNREAD or value is None else str(value)


def _safe(names: list[str]) -> list[str]:
    """The names as paths inside a folder."""
    if not pc.any(pc.match_substring_regex(pa.array(names, pa.string()), _NOT_PLAIN), min_count=0).as_py():
        return names
    paths = []
    for name in names:
        path = inside(name)
        if path is None:
            raise DataError(f"image {name!r} would be written outside the output. Rename it.")
        paths.append(path)
    return paths


def _count_spaces(texts: Sequence[str], losses: Losses) -> None:
    """Count the texts with spaces around them, which do not come back."""
    if not _SPACE("".join(texts)):
        return
    losses["spaces around text"] += sum(text != text.strip() for text in texts)


def _layout(data: Dataset) -> Layout:
    """As it was read from CSV; else corners, in the units that the dataset has."""
    own = data.annotations.layout
    if data.extra.get("csv.layout") == own.value:
        return own
    return Layout.XYXY_UNIT if own.unit else Layout.XYXY_PX


def _headings(layout: Layout, largest: float) -> tuple[str, ...]:
    """The names of the box columns; they say the units where the values alone would leave it open."""
    plain = _HEADINGS[layout.corners]
    if layout.unit:
        return tuple(f"{name}_norm" for name in plain)
    return tuple(f"{name}_px" for name in plain) if 0 <= largest <= LARGEST_FRACTION else plain
