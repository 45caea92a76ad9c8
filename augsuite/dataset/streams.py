"""Files that lie in an archive, as files that are open for reading."""

from __future__ import annotations

import io
import os
import threading
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

    from augsuite.dataset.members import Archive, Member

CHUNK = 1 << 20  # bytes


class Bytes(Protocol):
    """What gives bytes at a place."""

    def bytes_at(self, start: int, length: int) -> bytes:
        """Bytes from `start`, fewer where it ends before."""


class Medium(Bytes, Protocol):
    """What an archive is read from, by any number of threads.

    Attributes:
        size: bytes.
        modified: when, in nanoseconds since 1970.
    """

    size: int
    modified: int

    def file(self) -> BinaryIO:
        """The same as a file that is open for reading."""


class LocalFile:
    """A file of this machine that stays open; also for processes forked from this one.

    Attributes:
        size: bytes.
        modified: when, in nanoseconds since 1970.
    """

    def __init__(self, file: str | int) -> None:
        """Open a file.

        Args:
            file: its path, or the descriptor of one that is open, which the caller still closes.

        Raises:
            OSError: if it cannot be read.
        """
        self._lock = threading.Lock()
        self._descriptor = (
            os.dup(file) if isinstance(file, int) else os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        )
        found = os.fstat(self._descriptor)
        self.size = found.st_size
        self.modified = found.st_mtime_ns

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def file(self) -> BinaryIO:
        """The same as a file that is open for reading; its place is that of all such files."""
        return os.fdopen(os.dup(self._descriptor), "rb")

    def bytes_at(self, start: int, length: int) -> bytes:
        """Bytes of the file, fewer where it ends before."""
        length = max(min(length, self.size - start), 0)
        if hasattr(os, "pread"):
            data = os.pread(self._descriptor, length, start)
            while len(data) < length and (more := os.pread(self._descriptor, length - len(data), start + len(data))):
                data += more  # one call reads 2 GiB at most
            return data
        with self._lock, self.file() as file:
            file.seek(start)
            return file.read(length)


class Slice(io.RawIOBase):
    """A file that lies in an archive, or another place of bytes, as it is."""

    def __init__(self, archive: Bytes, start: int, size: int) -> None:
        self._archive, self._start, self._size, self._position = archive, start, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Read what fits; 0 bytes at the end."""
        view = memoryview(buffer).cast("B")
        data = self._archive.bytes_at(self._start + self._position, min(len(view), max(self._size - self._position, 0)))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


class Inflated(io.RawIOBase):
    """A file that lies deflated in an archive; a step back begins anew."""

    def __init__(self, archive: Archive, start: int, member: Member, name: str) -> None:
        self._archive, self._start, self._member, self._name = archive, start, member, name
        self._rewind()

    def _rewind(self) -> None:
        self._position = self._taken = self._crc = 0
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte."""
        target = max(offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._member.size}[whence], 0)
        if target < self._position:
            self._rewind()
        while self._position < target and self._read(min(target - self._position, CHUNK)):
            pass
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Read what fits; 0 bytes at the end."""
        view = memoryview(buffer).cast("B")
        data = self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def _read(self, length: int) -> bytes:
        length = min(length, self._member.size - self._position)
        data = b""
        while length and not data:
            if not self._waiting:
                self._waiting = self._archive.bytes_at(
                    self._start + self._taken, min(CHUNK, self._member.packed - self._taken)
                )
                self._taken += len(self._waiting)
            try:
                data = self._unpacker.decompress(self._waiting, length)
            except zlib.error as error:
                raise self._archive.damaged(self._name) from error
            if not (data or self._waiting):
                raise self._archive.damaged(self._name)
            self._waiting = self._unpacker.unconsumed_tail
        self._position += len(data)
        self._crc = zlib.crc32(data, self._crc)
        if self._position == self._member.size and self._crc != self._member.crc:
            raise self._archive.damaged(self._name)
        return data
