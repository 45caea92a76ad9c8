"""Tables and image files to tar shards."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Dataset
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.packing import encode, said_of
from augsuite.dataset.parts import ByImage
from augsuite.dataset.resuming import Finished, read_finished, write_all
from augsuite.dataset.tables import Extra
from augsuite.dataset.unique import Unique
from augsuite.errors import ConfigError, DataError
from augsuite.protocols import Losses
from augsuite_webdataset.sample import HEAD, NOTHING, Category, Head, Object, Sample
from augsuite_webdataset.shard import END, Shard, room, write_shard

_MB = 500  # of a shard, in 10^6 bytes
_SAMPLES = 10_000  # of a shard
_UNSPLIT = "unsplit"
_OWN = frozenset({"segmentation", "score"})


def write_parts(
    parts: Iterable[Dataset],
    folder: Path,
    losses: Losses,  # noqa: ARG001 - nothing is lost but what the core counts
    shard_samples: str = str(_SAMPLES),
    shard_mb: str = str(_MB),
) -> Iterator[Sequence[str]]:
    """Write `<split>-000000.tar`, ... with `<key>.jpg` and `<key>.json` for each sample, and at last `dataset.json`.

    Keys count the samples of a split. Images go into the shards here, so none is left to be placed; one without a file is a JSON file
    alone. Shards that an earlier writer finished are kept where they are to hold the same and have the bytes that were written.

    Args:
        parts: see `augsuite.protocols.WriteParts`.
        folder: as `parts`.
        losses: as `parts`.
        shard_samples: how many samples a shard has at most.
        shard_mb: how large it becomes at most, in 10^6 bytes, but for a sample that is larger.

    Raises:
        DataError: if an image file is broken.
        ConfigError: if a shard cannot be written.
    """
    plan = _Plan(folder, _number("shard_samples", shard_samples), _number("shard_mb", shard_mb) * 10**6)
    plan.known = read_finished(folder)
    entries = yield from write_all(folder, write_shard, plan.shards(parts), plan.taken)
    if plan.head is not None:
        plan.head.shards = sorted(entries, key=lambda entry: entry.name)
        (folder / HEAD).write_bytes(msgspec.json.format(encode(plan.head).encode()))


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ConfigError(f"--option {name}={text}: expected a whole number from 1 on.")
    return int(text)


@dataclass
class _Open:
    """The shard of a split that still takes samples."""

    stem: str
    shard: Shard
    bytes: int = len(END)

    def next(self) -> _Open:
        """The one after it."""
        number = int(self.shard.name[-10:-4]) + 1
        first = self.shard.first + len(self.shard.said)
        return _Open(self.stem, Shard(self.shard.folder, _name(self.stem, number), first))


def _name(stem: str, number: int) -> str:
    return f"{stem}-{number:06d}.tar"


class _Plan:
    """Cuts parts of a dataset into shards.

    Attributes:
        known: what an earlier writer finished.
        taken: the lengths of the parts that were taken since somebody looked.
        head: what is said of the whole; None before the first part.
    """

    def __init__(self, folder: Path, samples: int, size: int) -> None:
        self._folder, self._samples, self._size = folder, samples, size
        self.known: Mapping[str, Finished] = {}
        self.taken: deque[int] = deque()
        self.head: Head | None = None

    def shards(self, parts: Iterable[Dataset]) -> Iterator[Shard]:
        """The shards, each as soon as it is full, at last those that are not."""
        stems = Unique()
        opened: dict[str, _Open] = {}

        def begin(split: str) -> _Open:
            stem = stems.names([re.sub(r"[^\w-]", "_", split) or _UNSPLIT])[0]
            return _Open(stem, Shard(self._folder, _name(stem, 0), 0))

        for part in parts:
            self.head = self.head or _head(part)
            for row, sample in enumerate(_samples(part)):
                split = part.images.splits[row]
                at = opened.get(split) or begin(split)
                said, image = encode(sample).encode(), _image(part, row)
                size = room(len(said)) + (room(image[1]) if image else 0)
                full = len(at.shard.said) >= self._samples or at.bytes + size > self._size
                if full and at.shard.said:
                    at.shard.known = self.known.get(at.shard.name)
                    yield at.shard
                    at = at.next()
                at.shard.said.append(said)
                at.shard.images.append(image)
                at.shard.suffixes.append(_suffix(part.images.files[row]))
                at.bytes += size
                opened[split] = at
            self.taken.append(len(part))
        for at in opened.values() or [begin("")]:
            at.shard.known = self.known.get(at.shard.name)
            yield at.shard


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


def _image(data: Dataset, row: int) -> tuple[Path, int, int] | None:
    """An image's file, its size in bytes and its time of change; None where there is no file."""
    if not data.images.files[row]:
        return None
    path = data.path(row)
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Put the image there.") from error
    return path, found.st_size, found.st_mtime_ns


def _suffix(file: str) -> str:
    """What the name of an image ends with in a shard."""
    suffix = PurePosixPath(file).suffix.lower()
    return suffix if suffix in SUFFIXES else ".jpg"
