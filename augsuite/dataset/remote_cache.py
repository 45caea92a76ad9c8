"""Bytes of remote files, kept in a folder of this user: bounded, shared by all processes, never those of another version of a file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import struct
import time
import zlib
from pathlib import Path

import filelock

from augsuite.dataset.cache_folder import entries, user_cache
from augsuite.errors import ConfigError

LIMIT = "AUGSUITE_REMOTE_CACHE"
_DEFAULT_LIMIT = 10 * 2**30  # bytes
_HEADER = struct.Struct("<4sIQ")  # magic, CRC-32 of the content, its length
_MAGIC = b"augr"
_TOUCH_S = 60.0
_SHARE = 16  # a process looks at the folder again each time it has written the limit divided by this


class RemoteCache:
    """A folder of contents, each by the name of its file, the file's version, and which part of it this is.

    What was used least recently makes room. An entry is written under another name and renamed, and carries a checksum, so that
    processes may be killed, and power fail, at any time. Where the disk is full or read-only, nothing is kept, and nothing fails.

    Attributes:
        folder: made when the first entry is written.
        limit: bytes that the entries may take together; 0 keeps nothing. Each process that writes at this moment may exceed it by
            a sixteenth.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        """Take a folder and a limit; by default the user's, and what the variable `AUGSUITE_REMOTE_CACHE` says.

        Raises:
            ConfigError: if the variable is no number of bytes.
        """
        self.folder = user_cache() / "remote" if folder is None else folder
        self.limit = _limit() if limit is None else limit
        self._left: int | None = None  # bytes that this process may write before it looks again

    def get(self, url: str, version: str, part: int) -> bytes | None:
        """A part of a file; None where it is not kept."""
        if not (version and self.limit):
            return None
        entry = self._entry(url, version, part)
        try:
            with entry.open("rb") as file:
                used = os.fstat(file.fileno()).st_mtime
                content = file.read()
        except OSError:
            return None
        if len(content) < _HEADER.size:
            return None
        magic, checksum, length = _HEADER.unpack_from(content)
        content = content[_HEADER.size :]
        if magic != _MAGIC or len(content) != length or zlib.crc32(content) != checksum:
            return None
        if abs(time.time() - used) > _TOUCH_S:
            with contextlib.suppress(OSError):
                os.utime(entry)  # the time of last use, for whoever makes room
        return content

    def put(self, url: str, version: str, part: int, content: bytes) -> None:
        """Keep a part of a file, where there is room for it."""
        size = len(content) + _HEADER.size
        if not version or size > self.limit // 2:
            return
        entry = self._entry(url, version, part)
        with contextlib.suppress(OSError):
            entry.parent.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            self.write(entry, _HEADER.pack(_MAGIC, zlib.crc32(content), len(content)) + content)

    def write(self, entry: Path, content: bytes) -> None:
        """Write a file of the cache whole or not at all.

        Raises:
            OSError: if that is not possible.
        """
        part = entry.with_name(f".{entry.name}.{secrets.token_hex(4)}")
        try:
            part.write_bytes(content)
            part.replace(entry)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise

    def _entry(self, url: str, version: str, part: int) -> Path:
        name = hashlib.blake2b(f"{url}\0{version}\0{part}".encode(), digest_size=16).hexdigest()
        return self.folder / name[:2] / name

    def _make_room(self, size: int) -> None:
        if self._left is not None and self._left >= size:
            self._left -= size
            return
        share = max(self.limit // _SHARE, size)
        # One process at a time looks and deletes; where another one does, this one writes on and looks next time.
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(self.folder / ".lock", timeout=30):
            found = sorted(entries(self.folder))
            taken = sum(length for _, length, _ in found)
            for _, length, path in found:
                if taken <= self.limit - share:
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                    taken -= length
            self._left = share - size


def _limit() -> int:
    said = os.environ.get(LIMIT, "")
    if not said:
        return _DEFAULT_LIMIT
    if not said.isdecimal():
        raise ConfigError(f"{LIMIT}: expected a number of bytes, got {said!r}. Set it to such as {_DEFAULT_LIMIT}.")
    return int(said)
