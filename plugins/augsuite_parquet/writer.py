"""Tables to Parquet files, one per split, in parts."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, UNREAD, Dataset, objects
from augsuite.dataset.files import inside
from augsuite.dataset.packing import encode, packed
from augsuite.dataset.parts import ByImage
from augsuite.dataset.progress import advance
from augsuite.dataset.unique import Unique
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_parquet.schema import OBJECTS, Head, schema

_GROUP = 2048  # images in a row group
_UNSPLIT = "unsplit"
_OWN = frozenset({"segmentation", "score"})  # extras with a column of their own


def write_parts(
    parts: Iterable[Dataset],
    folder: Path,
    losses: Losses,  # noqa: ARG001 - nothing is lost but what the core counts
) -> Iterator[Sequence[str]]:
    """Write `data/<split>-00000-of-00001.parquet`, with the images in `images/<split>/`.

    A row is an image: `image_id, file_name, path, width, height, split, objects, extra`. `file_name` is the name that the dataset uses,
    `path` leads to the file. `objects` is a struct of lists: `id`, `bbox` (x, y, width, height in pixels; null for a label of the whole
    image), `category` (its row, a `ClassLabel` for `datasets`), `area`, `ignore`, `score`, and as JSON text `segmentation` and `extra`.
    """
    taken, stems = Unique(), Unique()
    files: dict[str, _File] = {}
    (folder / "data").mkdir()
    with contextlib.ExitStack() as opened:
        columns: pa.Schema | None = None

        def file_of(split: str) -> _File:
            if split not in files:
                stem = stems.names([re.sub(r"\W", "_", split) or _UNSPLIT])[0]
                path = folder / "data" / f"{stem}-00000-of-00001.parquet"
                files[split] = _File(opened.enter_context(parquet.ParquetWriter(path, columns)), stem)
            return files[split]

        for part in parts:
            columns = columns or schema(Head.of(part))
            splits = part.images.splits
            homes = {split: file_of(split) for split in dict.fromkeys(splits.tolist())}
            wanted = [
                _path(homes[split].stem, name) for split, name in zip(splits, part.images.names.tolist(), strict=True)
            ]
            paths = taken.names(wanted)
            rows = _Rows(part, paths)
            for split, home in homes.items():
                home.add(rows, np.flatnonzero(splits == split))
            yield paths
        if columns is not None and not files:
            file_of("")
        for home in files.values():
            home.flush()


def _path(home: str, name: str) -> str:
    kept = inside(name)
    if kept is None:
        raise DataError(f"image {name!r} would be written outside the output. Rename it.")
    return posixpath.join("images", home, kept)


class _File:
    """The file of one split; rows wait until a row group is full."""

    def __init__(self, writer: parquet.ParquetWriter, stem: str) -> None:
        self.stem = stem
        self._writer = writer
        self._waiting: list[pa.RecordBatch] = []
        self._count = 0

    def add(self, rows: _Rows, images: NDArray[np.int64]) -> None:
        """Take some images of a part."""
        at = 0
        while at < len(images):
            some = images[at : at + _GROUP - self._count]
            self._waiting.append(rows.batch(some))
            self._count += len(some)
            at += len(some)
            if self._count == _GROUP:
                self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            table = pa.Table.from_batches(self._waiting).combine_chunks()
            self._writer.write_table(table, row_group_size=_GROUP)
            advance("writing", self._count)
        self._waiting, self._count = [], 0


class _Rows:
    """The rows of a part."""

    def __init__(self, data: Dataset, paths: Sequence[str]) -> None:
        self._data = data
        self._by_image = ByImage(data)
        self._boxes = data.boxes(Layout.XYWH_PX)
        self._paths = np.array([*paths, ""], dtype=object)[:-1]
        scores = data.annotations.extra.get("score")
        self._extra = {key: values for key, values in data.annotations.extra.items() if key not in _OWN}
        if scores is not None:  # one that is no float64 travels as JSON
            self._extra["score"] = objects([ABSENT if type(score) is float else score for score in scores.tolist()])

    def batch(self, rows: NDArray[np.int64]) -> pa.RecordBatch:
        """Some images."""
        images, table = self._data.images, self._data.annotations
        at, offsets = self._by_image.of(rows)
        boxes = self._boxes[at]
        boxed = table.is_box[at]
        numbers = pa.array(boxes.reshape(-1), mask=np.repeat(~boxed, 4))
        columns = {
            "id": pa.array(table.ids[at]),
            "bbox": pa.FixedSizeListArray.from_arrays(numbers, 4, mask=pa.array(~boxed)),
            "category": pa.array(table.category_rows[at]),
            "area": pa.array(boxes[:, 2] * boxes[:, 3], mask=~boxed),
            "ignore": pa.array(table.ignore[at]),
            "score": self._scores(at),
            "segmentation": pa.array(_json(table.extra.get("segmentation"), at), pa.string()),
            "extra": pa.array(packed(self._extra, at), pa.string()),
        }
        starts = pa.array(offsets, pa.int32())
        lists = [pa.ListArray.from_arrays(starts, columns[field.name]) for field in OBJECTS]
        unknown = images.sizes[rows] <= 0
        files = images.files[rows] != ""
        return pa.RecordBatch.from_arrays(
            [
                pa.array(images.ids[rows]),
                pa.array(images.names[rows], pa.string()),
                pa.array(self._paths[rows], pa.string(), mask=~files),
                pa.array(images.sizes[rows, 0], mask=unknown[:, 0]),
                pa.array(images.sizes[rows, 1], mask=unknown[:, 1]),
                pa.array(images.splits[rows], pa.string()),
                pa.StructArray.from_arrays(lists, fields=list(OBJECTS)),
                pa.array(packed(images.extra, rows), pa.string()),
            ],
            names=["image_id", "file_name", "path", "width", "height", "split", "objects", "extra"],
        )

    def _scores(self, at: NDArray[np.int64]) -> pa.Array:
        """The scores that are numbers."""
        values = self._data.annotations.extra.get("score")
        if values is None:
            return pa.nulls(len(at), pa.float64())
        return pa.array([value if type(value) is float else None for value in values[at].tolist()], pa.float64())


def _json(values: NDArray[np.object_] | None, at: NDArray[np.int64]) -> list[str | None]:
    if values is None:
        return [None] * len(at)
    return [
        None
        if value is ABSENT or value is UNREAD
        else bytes(value).decode()
        if isinstance(value, msgspec.Raw)
        else encode(value)
        for value in values[at].tolist()
    ]
