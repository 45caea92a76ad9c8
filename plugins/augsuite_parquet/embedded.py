"""Tables and image files to Parquet shards that hold the images, as Hugging Face's `datasets` has them.

The bytes of the images lie in the file as they are, uncompressed and without a dictionary, one behind the other but for the heads of
pages. Where each begins is said in the file's metadata: so one image can be had without reading those around it.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from augsuite.dataset import Dataset
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.members import PLACES
from augsuite.dataset.resuming import Finished, image_content, read_finished, write_all, write_once
from augsuite.dataset.unique import Unique
from augsuite.errors import DataError
from augsuite_parquet.schema import Head, schema
from augsuite_parquet.table import Rows

_GROUP = 100  # images in a row group: who reads one by pyarrow reads so many
_BATCH = 8  # images between two looks at whether a page is full, whose size must fit 31 bits
_UNSPLIT = "unsplit"


@dataclass
class Shard:
    """What a shard is to hold; it travels to whoever writes it.

    Attributes:
        folder: of the output.
        name: of its file.
        schema: its columns.
        rows: the columns but for the images.
        images: the file of each image, with its size in bytes, its time of change and its name in the shard; None where there is none.
        known: what an earlier writer left under this name.
    """

    folder: Path
    name: str
    schema: pa.Schema
    rows: list[pa.RecordBatch] = field(default_factory=list)
    images: list[tuple[Path, int, int, str] | None] = field(default_factory=list)
    known: Finished | None = None

    def question(self) -> str:
        """A fingerprint of all that the shard's bytes depend on; of the images their paths, sizes and times."""
        total = hashlib.blake2b(self.schema.serialize().to_pybytes(), digest_size=16)
        for batch in self.rows:
            total.update(batch.serialize().to_pybytes())
        said = [None if image is None else (os.fspath(image[0]), *image[1:]) for image in self.images]
        total.update(msgspec.json.encode([pa.__version__, said]))
        return total.hexdigest()

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            DataError: if an image is broken or gone.
            OSError: if it cannot be written.
        """
        table = pa.Table.from_batches(self.rows).combine_chunks()
        places: dict[str, tuple[int, int]] = {}
        # Python's own file: its errors say what is wrong, such as that the disk is full.
        with path.open("w+b") as out:
            writer = parquet.ParquetWriter(
                out, self.schema, compression="none", use_dictionary=False, write_page_checksum=True,
                write_batch_size=_BATCH, store_schema=True,
            )  # fmt: skip
            try:
                for first in range(0, len(table), _GROUP):
                    begins = out.tell()
                    held = [
                        None if image is None else (image_content(image[0]), image[3])
                        for image in self.images[first : first + _GROUP]
                    ]
                    writer.write_table(
                        _with_images(table.slice(first, _GROUP), held, self.schema), row_group_size=_GROUP
                    )
                    out.flush()
                    places |= _places(out.fileno(), begins, held)
                writer.add_key_value_metadata({PLACES: msgspec.json.encode(places).decode()})
            finally:
                writer.close()


def _with_images(rows: pa.Table, held: list[tuple[bytes, str] | None], columns: pa.Schema) -> pa.Table:
    values = [None if one is None else {"bytes": one[0], "path": one[1]} for one in held]
    images = pa.array(values, columns.field("image").type)
    return rows.add_column(columns.get_field_index("image"), columns.field("image"), images).cast(columns)


def _places(file: int, begins: int, held: list[tuple[bytes, str] | None]) -> dict[str, tuple[int, int]]:
    """Where in a file that ends with a row group the bytes of its images lie."""
    found = {}
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as seen:
        at = begins
        for one in held:
            if one is not None:
                content, name = one
                at = seen.find(len(content).to_bytes(4, "little") + content, at)
                if at < 0:
                    raise DataError(
                        f"image {name!r} is not found where Parquet put it. Report it, with the version of pyarrow."
                    )
                found[name] = (at + 4, len(content))
                at += 4 + len(content)
    return found


def _write_shard(shard: Shard) -> Finished:
    (shard.folder / shard.name).parent.mkdir(exist_ok=True)
    return write_once(shard.folder, shard.name, len(shard.images), shard.question(), shard.known, shard.write)


def write_embedded(parts: Iterable[Dataset], folder: Path, samples: int, size: int) -> Iterator[list[str]]:
    """Write `data/<split>-00000-of-00007.parquet`, ... with the images inside; see `augsuite_parquet.writer.write_parts`.

    Args:
        parts: see there.
        folder: see there.
        samples: images of a shard at most.
        size: of a shard at most, in bytes, but for an image that is larger.
    """
    plan = _Plan(folder, samples, size)
    plan.known = read_finished(folder)
    yield from write_all(folder, _write_shard, plan.shards(parts), plan.taken)
    for stem, count in plan.counts.items():
        for number in range(count):
            path = folder / _name(stem, number)
            path.rename(path.with_name(f"{stem}-{number:05d}-of-{count:05d}.parquet"))


def _name(stem: str, number: int) -> str:
    """Its name while nobody knows how many there will be."""
    return f"data/{stem}-{number:05d}.parquet"


@dataclass
class _Open:
    """The shard of a split that still takes images."""

    stem: str
    shard: Shard
    images: int = 0  # of the split
    bytes: int = 0


class _Plan:
    """Cuts parts of a dataset into shards.

    Attributes:
        known: what an earlier writer finished.
        taken: the lengths of the parts that were taken since somebody looked.
        counts: how many shards each split has, by its stem.
    """

    def __init__(self, folder: Path, samples: int, size: int) -> None:
        self._folder, self._samples, self._size = folder, samples, size
        self.known: Mapping[str, Finished] = {}
        self.taken: deque[int] = deque()
        self.counts: dict[str, int] = {}
        self._columns: pa.Schema | None = None

    def shards(self, parts: Iterable[Dataset]) -> Iterator[Shard]:
        """The shards, each as soon as it is full, at last those that are not."""
        stems = Unique()
        opened: dict[str, _Open] = {}

        def begin(split: str) -> _Open:
            stem = stems.names([re.sub(r"\W", "_", split) or _UNSPLIT])[0]
            self.counts[stem] = 0
            return _Open(stem, self._next(stem))

        for part in parts:
            self._columns = self._columns or schema(Head.of(part), embedded=True)
            rows = Rows(part, [""] * len(part))
            splits = part.images.splits
            for split in dict.fromkeys(splits.tolist()):
                at = opened.setdefault(split, opened.get(split) or begin(split))
                waiting: list[int] = []
                for row in np.flatnonzero(splits == split).tolist():
                    image = _image(part, row, at.images)
                    length = image[1] if image else 0
                    full = len(at.shard.images) >= self._samples or at.bytes + length > self._size
                    if full and at.shard.images:
                        _take(at.shard, rows, waiting)
                        waiting = []
                        yield at.shard
                        at.shard, at.bytes = self._next(at.stem), 0
                    at.shard.images.append(image)
                    at.images += 1
                    at.bytes += length
                    waiting.append(row)
                _take(at.shard, rows, waiting)
            self.taken.append(len(part))
        if self._columns is not None and not opened:
            at = begin("")
            at.shard.rows.append(
                pa.RecordBatch.from_pylist([], self._columns.remove(self._columns.get_field_index("image")))
            )
            yield at.shard
        for at in opened.values():
            yield at.shard

    def _next(self, stem: str) -> Shard:
        if self._columns is None:
            raise RuntimeError("no part was seen")
        name = _name(stem, self.counts[stem])
        self.counts[stem] += 1
        return Shard(self._folder, name, self._columns, known=self.known.get(name))


def _take(shard: Shard, rows: Rows, waiting: list[int]) -> None:
    if waiting:
        shard.rows.append(rows.batch(np.array(waiting, np.int64)).drop_columns(["path"]))


def _image(data: Dataset, row: int, number: int) -> tuple[Path, int, int, str] | None:
    """An image's file, its size, its time of change, and its name in the shard; None where there is no file."""
    file = data.images.files[row]
    if not file:
        return None
    path = data.path(row)
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Put the file there.") from error
    suffix = PurePosixPath(file).suffix.lower()
    return path, found.st_size, found.st_mtime_ns, f"{number:09d}{suffix if suffix in SUFFIXES else '.jpg'}"
