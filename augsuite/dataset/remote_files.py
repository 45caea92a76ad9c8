"""Remote files as bytes at a place: fetched in blocks, ahead of who reads in order, and kept in the cache."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import BinaryIO, TypeVar

from augsuite.dataset.remote_cache import RemoteCache
from augsuite.dataset.stores import Entry, NoRangesError, Store
from augsuite.dataset.streams import LocalFile, Slice

Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK = 4 << 20  # bytes: of one request, and of one entry of the cache
HEAD = 64 << 10  # bytes: enough for the size of nearly every image
_WHOLE = 256 << 10  # bytes: what is smaller is fetched whole at once
_KEPT = 32  # blocks in memory, of all files together
_AHEAD = 3  # blocks
REQUESTS = 32  # at once, from one process

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}
_HEAD_PART = -1
_serials = count()
_memory: OrderedDict[tuple[int, int], bytes] = OrderedDict()
_memory_lock = threading.Lock()


def pool() -> ThreadPoolExecutor:
    """Threads that wait for servers; each process has its own."""
    with _lock:
        found = _pools.get(os.getpid())
        if found is None:
            _pools.clear()
            found = _pools[os.getpid()] = ThreadPoolExecutor(REQUESTS, "augsuite-remote")
        return found


def several(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `work(item)` for each item, in order; work that waits for servers runs many times at once, and only a few results wait.

    Raises:
        Exception: whatever `work` raises, for the first item in order.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(REQUESTS, "augsuite-several") as threads:
        try:
            for item in items:
                waiting.append(threads.submit(work, item))
                if len(waiting) > 2 * REQUESTS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Blocks:
    """A remote file that is open for reading, by any number of threads.

    Attributes:
        size: bytes.
        modified: nanoseconds since 1970; 0 where the server does not say.
    """

    def __init__(self, store: Store, cache: RemoteCache, path: str, entry: Entry) -> None:
        """Open a file.

        Raises:
            FileNotFoundError: if it is gone.
            ConfigError: see `Store`.
        """
        if entry.size is None:
            entry = store.info(path) or entry
        self._store, self._cache, self._path, self._entry = store, cache, path, entry
        self._url = store.url(path)
        self._serial = next(_serials)
        self._coming: dict[int, Future[bytes]] = {}
        self._last = -1
        self._head = b""
        self._local: LocalFile | None = None
        self._lock = threading.RLock()
        self.size = entry.size or 0
        self.modified = int(entry.modified * 1e9)
        if entry.size is None:
            self._copy()

    def file(self) -> BinaryIO:
        """The file as one that is open for reading."""
        return io.BufferedReader(Slice(self, 0, self.size), HEAD)

    def bytes_at(self, start: int, length: int) -> bytes:
        """Bytes of the file, fewer where it ends before.

        Raises:
            FileNotFoundError: if it is gone.
            ConfigError: see `Store`; also if it has changed.
        """
        length = max(min(length, self.size - start), 0)
        if not length:
            return b""
        with self._lock:
            if self._local is None and start + length <= HEAD and self.size > _WHOLE and not self._has(0):
                return self._read_head()[start : start + length]
        wanted = range(start // BLOCK, (start + length - 1) // BLOCK + 1)
        try:
            if self._local is None:
                self._start(wanted)
                parts = [self._block(number) for number in wanted]
                first = wanted.start * BLOCK
                return b"".join(parts)[start - first : start - first + length]
        except NoRangesError:
            self._copy()
        local = self._local
        return b"" if local is None else local.bytes_at(start, length)

    def _read_head(self) -> bytes:
        """The beginning alone: whoever wants the size of an image needs no more."""
        if not self._head:
            kept = self._cache.get(self._url, self._entry.version, _HEAD_PART)
            try:
                self._head = kept or self._store.read(self._path, self._entry, 0, min(HEAD, self.size))
            except NoRangesError:
                self._copy()
                self._head = self._local.bytes_at(0, HEAD) if self._local else b""
            if not kept:
                self._cache.put(self._url, self._entry.version, _HEAD_PART, self._head)
        return self._head

    def _start(self, wanted: range) -> None:
        """Have several blocks fetched at once: those that are wanted, and where they are read in order those behind them."""
        with self._lock:
            in_order = wanted.start in {self._last, self._last + 1} and wanted.stop - 1 > self._last
            self._last = wanted.stop - 1
            last = min(wanted.stop + (_AHEAD if in_order and self._last else 0), -(-self.size // BLOCK))
            numbers = range(wanted.start, last)
            if len(numbers) < 2:
                return
            for number in numbers:
                if number not in self._coming and not self._has(number):
                    self._coming[number] = pool().submit(self._fetch, number)

    def _block(self, number: int) -> bytes:
        place = self._serial, number
        with _memory_lock:
            kept = _memory.get(place)
            if kept is not None:
                _memory.move_to_end(place)
                return kept
        with self._lock:
            coming = self._coming.pop(number, None)
        data = self._fetch(number) if coming is None else coming.result()
        with _memory_lock:
            _memory[place] = data
            while len(_memory) > _KEPT:
                _memory.popitem(last=False)
        return data

    def _has(self, number: int) -> bool:
        return (self._serial, number) in _memory

    def _fetch(self, number: int) -> bytes:
        data = self._cache.get(self._url, self._entry.version, number)
        if data is None:
            start = number * BLOCK
            data = self._store.read(self._path, self._entry, start, min(start + BLOCK, self.size))
            self._cache.put(self._url, self._entry.version, number, data)
        return data

    def _copy(self) -> None:
        """Take the whole file into a nameless temporary one."""
        with self._lock:
            if self._local is not None:
                return
            with tempfile.TemporaryDirectory() as folder:
                target = os.path.join(folder, "file")  # noqa: PTH118 - as fsspec wants it
                self._store.fetch(self._path, target)
                self._local = LocalFile(target)
            self.size = self._local.size


def read_whole(store: Store, cache: RemoteCache, path: str, entry: Entry) -> tuple[bytes, bool]:
    """The content of a file, and whether it was at hand.

    Raises:
        FileNotFoundError: if it is gone.
        ConfigError: see `Store`; also if it has changed.
    """
    if entry.size is None or entry.size > BLOCK:
        opened = Blocks(store, cache, path, entry)
        return opened.bytes_at(0, opened.size), False
    if entry.size == 0:
        return b"", True
    url = store.url(path)
    kept = cache.get(url, entry.version, 0)
    if kept is not None:
        return kept, True
    data = store.read(path, entry, 0, entry.size)
    cache.put(url, entry.version, 0, data)
    return data, False
