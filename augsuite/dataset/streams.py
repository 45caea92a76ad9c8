"""Files that lie in an archive, as files that are open for reading."""

from __future__ import annotations

import io
import os
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

    from augsuite.dataset.members import Archive, Member

CHUNK = 1 << 20  # bytes


class Slice(io.RawIOBase):
    """A file that lies in an archive as it is."""

    def __init__(self, archive: Archive, start: int, size: int) -> None:
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
