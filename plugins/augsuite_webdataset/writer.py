"""Tables and image files to tar shards."""

from __future__ import annotations

import contextlib
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec
import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Dataset
from augsuite.dataset.images import SUFFIXES, check_readable
from augsuite.dataset.packing import encode, said_of
from augsuite.dataset.parts import ByImage
from augsuite.dataset.progress import track
from augsuite.dataset.tables import Extra
from augsuite.dataset.unique import Unique
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_webdataset.sample import HEAD, NOTHING, Category, Head, Object, Sample
from augsuite_webdataset.tar import BLOCK

_BYTES = 1 << 29  # of a shard, about
_SAMPLES = 10_000  # of a shard
_UNSPLIT = "unsplit"
_OWN = frozenset({"segmentation", "score"})


def write_parts(
    parts: Iterable[Dataset],
    folder: Path,
    losses: Losses,  # noqa: ARG001 - nothing is lost but what the core counts
) -> Iterator[Sequence[str]]:
    """Write `<split>-000000.tar`, ... with `<key>.jpg` and `<key>.json` for each sample, and `dataset.json`.

    Keys count the samples of a split. A shard ends at 10,000 samples or half a gigabyte. Images go into the shards here, so none is
    left to be placed; one without a file is a JSON file alone.

    Raises:
        DataError: if an image file is broken.
    """
    stems = Unique()
    with contextlib.ExitStack() as opened:
        shards: dict[str, _Shards] = {}

        def shards_of(split: str) -> _Shards:
            if split not in shards:
                stem = stems.names([re.sub(r"[^\w-]", "_", split) or _UNSPLIT])[0]
                shards[split] = _Shards(folder, stem)
                opened.callback(shards[split].close)
            return shards[split]

        head: Head | None = None
        for part in parts:
            if head is None:
                head = _head(part)
                (folder / HEAD).write_bytes(msgspec.json.format(encode(head).encode()))
            for row, sample in enumerate(track(_samples(part), "writing", len(part))):
                shards_of(part.images.splits[row]).add(encode(sample).encode(), *_image(part, row))
            yield [""] * len(part)
        if not shards:
            shards_of("").start()


def _head(data: Dataset) -> Head:
    table = data.categories
    rows = range(len(table))
    return Head(
        [Category(int(table.ids[row]), table.names[row], _said(table.extra, row)) for row in rows],
        _packed(data.extra.items()),
    )


def _said(extra: Extra, row: int, without: frozenset[str] = frozenset()) -> msgspec.Raw:
    return _packed((key, values[row]) for key, values in extra.items() if key not in without)


def _packed(values: Iterable[tuple[str, Any]]) -> msgspec.Raw:
    said = said_of(values)
    return msgspec.Raw(encode(said).encode()) if said else NOTHING


def _samples(data: Dataset) -> Iterator[Sample]:
    """What is said of each image, in order."""
    images, table = data.images, data.annotations
    at, starts = ByImage(data).of(np.arange(len(data)))
    boxes = data.boxes(Layout.XYWH_PX)
    names = data.categories.names.tolist()
    own: Mapping[str, Any] = {key: table.extra[key] for key in _OWN & table.extra.keys()}
    for row in range(len(data)):
        objects = []
        for one in at[starts[row] : starts[row + 1]].tolist():
            said = said_of((key, values[one]) for key, values in own.items())
            objects.append(
                Object(
                    names[table.category_rows[one]],
                    tuple(boxes[one].tolist()) if table.is_box[one] else None,
                    int(table.ids[one]),
                    bool(table.ignore[one]),
                    said.get("score", ABSENT),
                    _raw(said["segmentation"]) if "segmentation" in said else ABSENT,
                    _said(table.extra, one, _OWN),
                )
            )
        width, height = images.sizes[row].tolist()
        yield Sample(
            int(images.ids[row]),
            images.names[row],
            width,
            height,
            images.splits[row],
            objects,
            _said(images.extra, row),
        )


def _raw(value: Any) -> msgspec.Raw:
    return value if isinstance(value, msgspec.Raw) else msgspec.Raw(encode(value).encode())


def _image(data: Dataset, row: int) -> tuple[str, bytes | None]:
    """The suffix and the bytes of an image; None where there is no file."""
    if not data.images.files[row]:
        return "", None
    path = data.path(row)
    suffix = PurePosixPath(data.images.files[row]).suffix.lower()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Put the image there.") from error
    check_readable(path)
    return suffix if suffix in SUFFIXES else ".jpg", content


class _Shards:
    """The shards of one split."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder, self._stem = folder, stem
        self._shard = self._sample = 0
        self._samples = self._bytes = 0
        self._out: IO[bytes] | None = None

    def start(self) -> IO[bytes]:
        """Begin a shard."""
        self.close()
        self._out = (self._folder / f"{self._stem}-{self._shard:06d}.tar").open("wb")
        self._shard += 1
        self._samples = self._bytes = 0
        return self._out

    def add(self, sample: bytes, suffix: str, image: bytes | None) -> None:
        """Write one sample."""
        size = len(sample) + len(image or b"")
        out = self._out
        if out is None or self._samples >= _SAMPLES or (self._samples and self._bytes + size > _BYTES):
            out = self.start()
        key = f"{self._sample:09d}"
        if image is not None:
            _write(out, key + suffix, image)
        _write(out, f"{key}.json", sample)
        self._sample += 1
        self._samples += 1
        self._bytes += size

    def close(self) -> None:
        """End a shard."""
        if self._out is not None:
            self._out.write(bytes(2 * BLOCK))
            self._out.close()
            self._out = None


def _write(out: IO[bytes], name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    out.write(info.tobuf(tarfile.USTAR_FORMAT))
    out.write(content)
    out.write(bytes(-len(content) % BLOCK))
