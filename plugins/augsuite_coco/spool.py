"""Rows that wait in a temporary file, sorted into buckets, because there may be more of them than fit into memory."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from augsuite.dataset import objects
from augsuite.errors import ConfigError

Own = Mapping[str, NDArray[Any]]
Extra = Mapping[str, NDArray[np.object_]]

_AS_RAW = msgspec.json.Decoder(list[Raw])


class Spool:
    """Blocks of rows in a file that is gone once it is closed, or the process ends.

    What is read back was written by this process; the file has no name that another could open.
    """

    def __init__(self) -> None:
        """Make the file, where `TMPDIR` says.

        Raises:
            ConfigError: if that place cannot be written.
        """
        try:
            self._file = cast("BinaryIO", tempfile.TemporaryFile(prefix="augsuite-"))  # noqa: SIM115 - closed by `__exit__`
        except OSError as error:
            raise _full(error) from error
        self._places: dict[int, array[int]] = {}  # offset and length of each block of a bucket

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def sort_in(self, buckets: NDArray[np.int64], own: Own, extra: Extra) -> None:
        """Take a run of rows.

        Args:
            buckets: of each row.
            own: columns of numbers.
            extra: columns of values.

        Raises:
            ConfigError: if the disk is full.
        """
        order = np.argsort(buckets, kind="stable")
        numbers, starts = np.unique(buckets[order], return_index=True)
        ends = [*starts.tolist(), len(order)][1:]
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
            rows = order[start:end]
            self.put(
                number,
                {key: values[rows] for key, values in own.items()},
                {key: values[rows] for key, values in extra.items()},
            )

    def put(self, bucket: int, own: Own, extra: Extra) -> None:
        """Take a block of rows of one bucket; see `sort_in`."""
        record = pickle.dumps((dict(own), {key: _packed(key, values) for key, values in extra.items()}), 5)
        try:
            offset = self._file.seek(0, 2)
            self._file.write(record)
        except OSError as error:
            raise _full(error) from error
        self._places.setdefault(bucket, array("q")).extend((offset, len(record)))

    def buckets(self) -> list[int]:
        """Those that hold something."""
        return sorted(self._places)

    def take(self, bucket: int) -> Iterator[tuple[Own, Extra]]:
        """The blocks of a bucket, in the order in which they came."""
        places = self._places.get(bucket, array("q"))
        for offset, length in zip(places[::2], places[1::2], strict=True):
            self._file.seek(offset)
            own, extra = pickle.loads(self._file.read(length))
            yield own, {key: _unpacked(values) for key, values in extra.items()}


def _packed(key: str, values: NDArray[np.object_]) -> bytes | list[Any]:
    """Undecoded values, which are most of a file, as one text."""
    listed: list[Any] = values.tolist()
    if not key.startswith("coco._") and all(type(value) is Raw for value in listed):  # a spelling may be empty
        return b"[%b]" % b",".join(listed)
    return listed


def _unpacked(packed: bytes | list[Any]) -> NDArray[np.object_]:
    return objects(_AS_RAW.decode(packed) if isinstance(packed, bytes) else packed)


def _full(error: OSError) -> ConfigError:
    return ConfigError(
        f"{tempfile.gettempdir()}: cannot hold what is read in parts ({error.strerror or error}). Set TMPDIR to a folder with more room."
    )
