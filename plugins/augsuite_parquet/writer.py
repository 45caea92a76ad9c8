"""Tables to Parquet files, one per split, in parts."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from augsuite.dataset import Dataset
from augsuite.dataset.files import inside
from augsuite.dataset.progress import advance
from augsuite.dataset.unique import Unique
from augsuite.errors import ConfigError, DataError
from augsuite.protocols import Losses
from augsuite_parquet.embedded import write_embedded
from augsuite_parquet.schema import Head, schema
from augsuite_parquet.table import Rows

_GROUP = 2048  # images in a row group
_UNSPLIT = "unsplit"


def write_parts(
    parts: Iterable[Dataset],
    folder: Path,
    losses: Losses,  # noqa: ARG001 - nothing is lost but what the core counts
    embed: str = "",
    shard_samples: str = "10000",
    shard_mb: str = "500",
) -> Iterator[Sequence[str]]:
    """Write `data/<split>-00000-of-00001.parquet`, with the images in `images/<split>/`.

    A row is an image: `image_id, file_name, path, width, height, split, objects, extra`. `file_name` is the name that the dataset uses,
    `path` leads to the file. `objects` is a struct of lists: `id`, `bbox` (x, y, width, height in pixels; null for a label of the whole
    image), `category` (its row, a `ClassLabel` for `datasets`), `area`, `ignore`, `score`, and as JSON text `segmentation` and `extra`.

    With `embed`, a column `image` takes the place of `path`, and each split is cut into shards.

    Args:
        parts: see `augsuite.protocols.WriteParts`.
        folder: as `parts`.
        losses: as `parts`.
        embed: "yes" to put the image files inside.
        shard_samples: with `embed`, how many images a shard has at most.
        shard_mb: with `embed`, how large it becomes at most, in 10^6 bytes, but for an image that is larger.

    Raises:
        DataError: if an image is to be embedded, and is broken.
        ConfigError: if a limit is no number, or a shard cannot be written.
    """
    limits = _number("shard_samples", shard_samples), _number("shard_mb", shard_mb) * 10**6
    if embed:
        yield from write_embedded(parts, folder, *limits)
        return
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
            rows = Rows(part, paths)
            for split, home in homes.items():
                home.add(rows, np.flatnonzero(splits == split))
            yield paths
        if columns is not None and not files:
            file_of("")
        for home in files.values():
            home.flush()


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ConfigError(f"--option {name}={text}: expected a whole number from 1 on.")
    return int(text)


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

    def add(self, rows: Rows, images: NDArray[np.int64]) -> None:
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
