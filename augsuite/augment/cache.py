"""Decoded images, kept: in memory for one process, or in a folder for all processes, runs and arms that read the same files.

A cache changes no pixel of any sample: for each image it keeps each scale that a plan asked for, exactly as it was decoded.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import numpy as np
import PIL

from augsuite.dataset import FileSource
from augsuite.dataset.cache_folder import entries
from augsuite.dataset.images import Image, decoder
from augsuite.dataset.remote import RemotePath
from augsuite.dataset.sample import Source
from augsuite.errors import DataError

_HEADER = struct.Struct("<4sIII")  # magic, format, height, width
_MAGIC = b"augp"
_FORMAT = 2
_SUFFIX = ".pixels"
_FRESH_S = 3600.0  # what was used within the last hour is not given up for something new
_TOUCH_S = 600.0

_Stamp = tuple[str, int, int, int, int]
"""Path, inode, size, time of modification, time of change."""


@dataclass(frozen=True)
class KeptSource:
    """A source that decodes each scale once and keeps it in memory.

    Attributes:
        source: what decodes.
        kept: scale -> pixels.
    """

    source: Source
    kept: dict[int, Image] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Pixels."""
        return self.source.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.source.height

    def decode(self, reduce: int = 1) -> Image:
        """The pixels; not to be written to."""
        if reduce not in self.kept:
            self.kept[reduce] = self.source.decode(reduce)
        return self.kept[reduce]


@dataclass(frozen=True)
class CachedSource:
    """A file whose pixels a folder keeps.

    Attributes:
        source: the file.
        cache: the folder.
    """

    source: FileSource
    cache: DiskCache

    @property
    def width(self) -> int:
        """Pixels."""
        return self.source.width

    @property
    def height(self) -> int:
        """Pixels."""
        return self.source.height

    def decode(self, reduce: int = 1) -> Image:
        """The pixels, mapped from the cache where they are; read-only."""
        return self.cache.decode(self.source, reduce)


@dataclass
class DiskCache:
    """Decoded images in a folder, bounded in size.

    An entry belongs to the bytes of a file, a scale, and the versions of what decodes: copies of a file share it, wherever they lie, and
    a file that is written anew gets a new one. Each process reads a file once to know its bytes, and again where its size or times
    have changed. Entries are written under another name and renamed, so a process may be killed at any time and any number may share
    the folder. Readers map an entry into memory: pixels that several workers use exist once.

    When the folder is full, entries that nobody used for an hour make room, the oldest first. Those in use stay, and what finds no
    room is decoded each time: a training that goes through more images than fit would otherwise replace each before its next use.

    Attributes:
        folder: made where it does not exist; holds nothing else.
        max_bytes: what the entries may take together; several processes that fill the last of it at once may each exceed it by a
            sixteenth.
    """

    folder: Path
    max_bytes: int = 20 * 2**30
    _left: int | None = field(default=None, repr=False)  # bytes that this process may write before it looks again
    _rule: bytes = field(default=b"", repr=False)
    _contents: dict[_Stamp, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Make the folder.

        Raises:
            DataError: if that is not possible.
        """
        self.folder = Path(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{self.folder}: the cache cannot be made ({error.strerror}). Name another folder."
            ) from error
        self._rule = f"{_FORMAT} {decoder()} pillow {PIL.__version__}".encode()

    def wrap(self, source: Source) -> Source:
        """The source with its pixels out of this cache.

        Itself where it is no file of its own (a member of an archive, an array), or one of a server that does not say when it changes.
        """
        if isinstance(source, FileSource):
            path = source.path
            if type(path) is type(self.folder) or (isinstance(path, RemotePath) and path.version):
                return CachedSource(source, self)
        return source

    def decode(self, source: FileSource, reduce: int) -> Image:
        """The pixels of a file at 1 / `reduce` of its size; see `augsuite.dataset.images.decode`.

        Raises:
            DataError: if the file cannot be read.
        """
        try:
            stamp = _stamp(source.path)
            entry = self._entry(source.path, stamp, reduce)
        except OSError:
            return source.decode(reduce)  # which says what is wrong
        pixels = _read(entry)
        if pixels is None:
            pixels = source.decode(reduce)
            if (
                _stamp(source.path) == stamp
            ):  # else it was written anew meanwhile, and these may be the pixels of either
                self._write(entry, pixels)
        return pixels

    def _entry(self, path: Path, stamp: _Stamp, reduce: int) -> Path:
        content = self._contents.get(stamp)
        if content is None:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            self._contents[stamp] = content
        name = hashlib.blake2b(b"%b %d %b" % (content, reduce, self._rule), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}{_SUFFIX}"

    def _write(self, entry: Path, pixels: Image) -> None:
        """Keep pixels; where there is no room, or the disk has none, do not."""
        size = pixels.nbytes + _HEADER.size + len(_MAGIC)
        if not self._has_room(size):
            return
        height, width = pixels.shape[:2]
        part = entry.with_name(f".{entry.name}.{os.getpid()}.{time.monotonic_ns()}")
        try:
            entry.parent.mkdir(exist_ok=True)
            with part.open("wb") as file:
                file.write(_HEADER.pack(_MAGIC, _FORMAT, height, width))
                file.write(np.ascontiguousarray(pixels).data)
                file.write(_MAGIC)
            part.replace(entry)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            self._left = 0
            return
        if self._left is not None:
            self._left -= size

    def _has_room(self, size: int) -> bool:
        if self._left is not None and self._left < 0:
            return False  # looked before, and found none
        if self._left is None or self._left < size:
            # One process at a time looks and makes room; a sixteenth is left to each until it looks again.
            try:
                with filelock.FileLock(self.folder / ".lock", timeout=30):
                    free = self._make_room(max(size, self.max_bytes // 16))
            except (OSError, filelock.Timeout):
                free = 0
            self._left = min(free, max(size, self.max_bytes // 16)) if free >= size else -1
        return self._left >= size

    def _make_room(self, wanted: int) -> int:
        """Delete what is old until `wanted` bytes are free, and say how many are."""
        now = time.time()
        found = sorted(entries(self.folder))
        free = self.max_bytes - sum(size for _, size, _ in found)
        for used, size, path in found:
            if free >= wanted or now - used < _FRESH_S:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                free += size
        return free


def _stamp(path: Path) -> _Stamp:
    """What changes when a file does: who writes it anew may put back the time of its bytes, but not that of its inode."""
    found = path.stat()
    return os.fspath(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(entry: Path) -> Image | None:
    """The pixels of an entry, mapped; None where there is none, or one that a power failure cut."""
    try:
        with entry.open("rb") as file:
            found = os.fstat(file.fileno())
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    if len(mapped) < _HEADER.size:
        return None
    magic, version, height, width = _HEADER.unpack_from(mapped)
    whole = len(mapped) == _HEADER.size + height * width * 3 + len(_MAGIC) and mapped[-len(_MAGIC) :] == _MAGIC
    if magic != _MAGIC or version != _FORMAT or not whole:
        return None
    if time.time() - found.st_mtime > _TOUCH_S:
        with contextlib.suppress(OSError):
            os.utime(entry)  # the time of last use, for whoever makes room
    pixels = np.frombuffer(mapped, np.uint8, height * width * 3, _HEADER.size)
    return pixels.reshape(height, width, 3)
