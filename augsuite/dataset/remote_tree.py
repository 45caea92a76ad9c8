"""What lies at a remote place: a tree of names by one listing, and the content of each file on request."""

from __future__ import annotations

import io
import os
import secrets
import threading
import time
from pathlib import Path
from typing import BinaryIO, TypeAlias

import msgspec

from augsuite.dataset.remote_cache import RemoteCache
from augsuite.dataset.remote_errors import PlaceError
from augsuite.dataset.remote_files import Blocks, pool, read_whole
from augsuite.dataset.stores import Entry, Store
from augsuite.dataset.urls import Url

MARK = ".augsuite-unfinished"
"""The name of a file that lies in a dataset as long as it is not whole."""

_PAGE = 1000  # files: what S3 lists at once
_FRESH_S = 10.0  # what was asked about places that were not listed is asked again after that
_SMALL = 1 << 20  # bytes; larger files are not fetched ahead
_AHEAD = 48  # files
_NEAR = 4  # files: who skips no more than these still reads in order

Folder: TypeAlias = "dict[str, Folder | Entry]"


class Tree:
    """A bucket or server, as far as it was looked at.

    What a dataset's readers see is what `look` listed once, with each file's version: content is never that of an older version, and a
    file that is no longer as it was listed is an error where the server can tell.
    """

    def __init__(self, store: Store) -> None:
        """Take a store; nothing is asked yet."""
        self.store = store
        self.modified = 0  # folders have no time
        self.cache = RemoteCache()
        self._top: Folder = {}
        self._listed: dict[str, Path | None] = {}  # folders that are known whole, and where their listings are kept
        self._waiting: dict[str, Path] = {}  # listings of another process, not read yet
        self._glances: dict[str, tuple[float, Folder | Entry | None]] = {}
        self._orders: dict[str, dict[str, int]] = {}
        self._names: dict[str, list[str]] = {}
        self._last: dict[str, int] = {}
        self._coming: dict[str, object] = {}
        self._lock = threading.RLock()

    # Looking

    def look(self, path: str) -> None:
        """List what lies at a path and below it anew, and from now on believe this listing.

        Raises:
            ConfigError: see `Store`; also if a dataset there is not whole.
        """
        self._drop(path)
        found: Folder = {}
        first, count = len(path) + bool(path), 0
        if self.store.writable or not isinstance(self._glance(path), Entry):
            for name, entry in self.store.below(path):
                if name.rpartition("/")[2] == MARK:
                    raise self.unfinished(name.rpartition("/")[0])
                _add(found, name[first:].split("/"), entry)
                count += 1
        # A listing of several pages takes its time: a writer may have begun meanwhile.
        self.check_whole(path if count >= _PAGE else path.rpartition("/")[0])
        node = found or self._glance(path)
        with self._lock:
            if found or self._is_listed(path):
                self._put(path, node)
            if found:
                self._listed[path] = None

    def check_whole(self, path: str) -> None:
        """Stop at a folder of a dataset that is being written, or was left unfinished.

        Raises:
            ConfigError: says so.
        """
        if not self.store.writable:
            return
        for _ in range(3):  # a file of annotations lies two folders deep
            if self._has_mark(path):
                raise self.unfinished(path)
            if "/" not in path:
                break
            path = path.rpartition("/")[0]

    def unfinished(self, path: str) -> PlaceError:
        """The error for a dataset that is not whole."""
        return PlaceError(
            f"{self.store.url(path)}: is being written, or was left unfinished. Wait for its writer, or write it again."
        )

    def _has_mark(self, path: str) -> bool:
        return self.store.holds(f"{path}/{MARK}" if path else MARK)

    def forget(self, path: str) -> None:
        """Believe nothing any more about a path, what lies below it, and the folders that hold it."""
        with self._lock:
            self._drop(path)
            for known in (self._listed, self._waiting):
                for top in [top for top in known if not top or path.startswith(f"{top}/")]:
                    del known[top]

    def _drop(self, path: str) -> None:
        """Believe nothing any more about a path and what lies below it."""
        with self._lock:
            for known in (self._listed, self._waiting, self._glances, self._orders, self._names, self._last):
                for name in [name for name in known if name == path or name.startswith(f"{path}/") or not path]:
                    del known[name]
            parent = path.rpartition("/")[0]
            self._names.pop(parent, None)
            while True:  # a glance at a folder above has seen the folder as it was
                self._glances.pop(parent, None)
                if not parent:
                    break
                parent = parent.rpartition("/")[0]
            if not self._is_listed(path):
                self._put(path, None)

    def _put(self, path: str, found: Folder | Entry | None) -> None:
        if not path:
            self._top = found if isinstance(found, dict) else {}
            return
        *above, last = path.split("/")
        node = self._top
        for part in above:
            below = node.setdefault(part, {})
            if not isinstance(below, dict):
                below = node[part] = {}
            node = below
        if found:
            node[last] = found
        else:
            node.pop(last, None)

    def find(self, path: str) -> Folder | Entry | None:
        """The file or folder of a path; None where there is none.

        Raises:
            ConfigError: see `Store`.
        """
        if self._waiting:
            self._take_in(path)
        if not self._is_listed(path):
            return self._glance(path)
        node: Folder | Entry | None = self._top
        for part in path.split("/") if path else ():
            if not isinstance(node, dict):
                return None
            node = node.get(part)
        return node

    def _is_listed(self, path: str) -> bool:
        return any(not top or path == top or path.startswith(f"{top}/") for top in self._listed)

    def _glance(self, path: str) -> Folder | Entry | None:
        """Look at a path alone."""
        now = time.monotonic()
        parent, _, name = path.rpartition("/")
        for known in (path, parent):
            seen = self._glances.get(known)
            if seen is None or now - seen[0] > _FRESH_S:
                continue
            if known == path:
                return seen[1]
            if isinstance(seen[1], dict) and (name not in seen[1] or isinstance(seen[1][name], Entry)):
                return seen[1].get(name)
        node: Folder | Entry | None = None
        try:
            node = self.store.info(path) if path else None
            if node is None and not (self.store.writable and self._has_mark(path)):
                found: Folder = {}
                for below, entry in self.store.beside(path):
                    _add(found, [below.rpartition("/")[2]], entry)
                node = found
        except (FileNotFoundError, NotADirectoryError):
            node = None
        with self._lock:
            if len(self._glances) > 100_000:
                self._glances.clear()
            self._glances[path] = now, node
        return node

    # Reading

    def read(self, path: str, entry: Entry) -> bytes:
        """The content of a file; where files of a folder are read in order, the next ones are fetched meanwhile.

        Raises:
            FileNotFoundError: if it is gone.
            ConfigError: see `Store`; also if it has changed.
        """
        with self._lock:
            coming = self._coming.pop(path, None)
        if coming is not None:
            data, at_hand = coming.result()  # type: ignore[attr-defined]
        else:
            data, at_hand = read_whole(self.store, self.cache, path, entry)
        self._fetch_ahead(path, at_hand=at_hand)
        return data  # type: ignore[no-any-return]

    def open(self, path: str, entry: Entry) -> BinaryIO:
        """As `read`, but as a file, of which only what is read is fetched.

        Raises:
            FileNotFoundError: as `read`.
            ConfigError: as `read`.
        """
        if entry.size is not None and entry.size <= 256 << 10:
            return io.BytesIO(self.read(path, entry))
        return Blocks(self.store, self.cache, path, entry).file()

    def _fetch_ahead(self, path: str, *, at_hand: bool) -> None:
        folder, _, name = path.rpartition("/")
        if not self._is_listed(folder):
            return
        with self._lock:
            if folder not in self._names:
                node = self.find(folder)
                files = (
                    [key for key, below in node.items() if isinstance(below, Entry)] if isinstance(node, dict) else []
                )
                from augsuite.dataset.disk import natural  # it imports this module's users

                self._names[folder] = sorted(files, key=natural)
                self._orders[folder] = {key: place for place, key in enumerate(self._names[folder])}
            names = self._names[folder]
            place = self._orders[folder].get(name, -1)
            last = self._last.get(folder, -1)
            self._last[folder] = place
            if at_hand or not 0 < place - last <= _NEAR or place < 1:
                return
            self._coming = {
                key: value for key, value in self._coming.items() if key.startswith(f"{folder}/") or not folder
            }
            node = self.find(folder)
            for other in names[place + 1 : place + 1 + _AHEAD]:
                below = f"{folder}/{other}" if folder else other
                entry = node.get(other) if isinstance(node, dict) else None
                if below not in self._coming and isinstance(entry, Entry) and (entry.size or 0) <= _SMALL:
                    self._coming[below] = pool().submit(read_whole, self.store, self.cache, below, entry)

    # Between processes

    def kept_listing(self, path: str) -> tuple[str, str] | None:
        """The folder by whose listing a path is known, and a file with that listing, for another process to `adopt`."""
        for top, kept in self._listed.items():
            if top and path != top and not path.startswith(f"{top}/"):
                continue
            file = kept or self._keep(top)
            return None if file is None else (top, os.fspath(file))
        return None

    def _keep(self, top: str) -> Path | None:
        """Write a listing to the cache; None where that is not possible."""
        file = self.cache.folder / "listings" / secrets.token_hex(8)
        node = self.find(top)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self.cache.write(file, msgspec.msgpack.encode(_flat(node, "") if isinstance(node, dict) else []))
        except OSError:
            return None
        self._listed[top] = file
        return file

    def adopt(self, top: str, file: str) -> None:
        """Believe the listing of another process, if this one has none."""
        if top not in self._listed:
            self._waiting[top] = Path(file)

    def _take_in(self, path: str) -> None:
        with self._lock:
            for top in [top for top in self._waiting if not top or path == top or path.startswith(f"{top}/")]:
                file = self._waiting.pop(top)
                try:
                    rows = msgspec.msgpack.decode(file.read_bytes(), type=list[tuple[str, Entry]])
                except (OSError, msgspec.DecodeError):
                    continue  # on another machine, or no longer kept: files are asked about one by one
                found: Folder = {}
                for name, entry in rows:
                    _add(found, name.split("/"), Entry(*entry))
                self._put(top, found)
                self._listed[top] = file


def _add(folder: Folder, parts: list[str], entry: Entry | None) -> None:
    """Put a file or folder into a tree; of a file and a folder of one name the folder stays."""
    for part in parts[:-1]:
        below = folder.get(part)
        if not isinstance(below, dict):
            below = folder[part] = {}
        folder = below
    if entry is None:
        if not isinstance(folder.get(parts[-1]), dict):
            folder[parts[-1]] = {}
    elif not isinstance(folder.get(parts[-1]), dict):
        folder[parts[-1]] = entry


def _flat(folder: Folder, prefix: str) -> list[tuple[str, Entry]]:
    rows: list[tuple[str, Entry]] = []
    for name, below in folder.items():
        if isinstance(below, dict):
            rows += _flat(below, f"{prefix}{name}/")
        else:
            rows.append((prefix + name, below))
    return rows


_trees: dict[tuple[int, Url], Tree] = {}
_trees_lock = threading.Lock()


def tree_of(url: Url) -> tuple[Tree, str]:
    """The bucket or server of a URL, and the path there.

    Raises:
        MissingExtraError: see `Store`.
        ConfigError: see `Store`.
    """
    host, _, path = url.rest.partition("/")
    place = Url(url.scheme, host)
    key = os.getpid(), place
    found = _trees.get(key)
    if found is None:
        with _trees_lock:
            found = _trees.get(key)
            if found is None:
                found = _trees[key] = Tree(Store(place))
                _inherit(found, place)
    return found, path


def _inherit(tree: Tree, place: Url) -> None:
    """Take over what the process knew from which this one was forked."""
    for (process, other), before in list(_trees.items()):
        if other == place and process != os.getpid():
            tree._top, tree._listed, tree._waiting = before._top, dict(before._listed), dict(before._waiting)  # noqa: SLF001 - of its own class
            del _trees[process, other]


def forget_all() -> None:
    """Know nothing any more, and connect anew."""
    with _trees_lock:
        _trees.clear()
