"""Paths to remote places: `s3://bucket/folder` is read like any folder, and nothing is downloaded that is not needed."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import re
import stat
from pathlib import Path
from typing import IO, Any

from augsuite.dataset.archives import ArchivePath, file_state, open_archive
from augsuite.dataset.members import Archive
from augsuite.dataset.remote_errors import redacted
from augsuite.dataset.remote_files import Blocks
from augsuite.dataset.remote_tree import Tree, tree_of
from augsuite.dataset.stores import Entry
from augsuite.dataset.urls import Url, url_of

_PREFIX = re.compile(r"\.(?:zip|tar(?:\.(?:gz|bz2|xz))?|tgz|tbz2|txz)(?:\?[^/]*)?(?=/|$)", re.IGNORECASE)


class RemotePath(ArchivePath):
    """A path on another machine, or into an archive there; it is read-only, and answers like the folders and files of this one.

    As text for people it is the URL without what is secret in it; `os.fspath` gives the whole. It pickles as the URL, together with
    where the listing is kept by which this process knows the place.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return redacted(os.fspath(self))

    def __fspath__(self) -> str:
        url = self.url
        return super().__str__() if url is None else str(url)

    def __reduce__(self) -> tuple[Any, ...]:
        url = self.url
        if url is None:
            return type(self), (super().__str__(),)
        tree, path = tree_of(url)
        return _restored, (str(url), tree.kept_listing(path))

    @property
    def url(self) -> Url | None:
        """The URL; None where a name that leads to this machine was appended."""
        return url_of(super().__str__())

    def is_inside(self) -> bool:
        """Yes: what a remote place holds is a part of it."""
        return self.url is not None

    def split(self) -> tuple[Tree | Archive, str] | None:
        """What holds it, and the name there."""
        url = self.url
        if url is None:
            return super().split()
        tree, path, end = self._place(url)
        node = tree.find(path[:end]) if end else None
        if not isinstance(node, Entry):
            return tree, path
        prefix, entry = path[:end], node
        place = f"{tree.store.place}/{prefix}"

        def opened() -> Archive:
            blocks = Blocks(tree.store, tree.cache, prefix, entry)
            return Archive(redacted(place), blocks, kind=prefix.partition("?")[0])

        return open_archive(place, (entry.size or 0, hash(entry.version)), opened), path[end + 1 :]

    def is_packed(self) -> bool:
        """Whether it leads into an archive."""
        url = self.url
        return super().is_packed() if url is None else bool(self._place(url)[2])

    def _place(self, url: Url) -> tuple[Tree, str, int]:
        """The tree, the path there, and how much of it leads to an archive, in characters."""
        tree, path = tree_of(url)
        if "/.." in f"/{path}":
            path = posixpath.normpath(path)
        for found in _PREFIX.finditer(path):
            if isinstance(tree.find(path[: found.end()]), Entry):
                return tree, path, found.end()
        return tree, path, 0

    def _entry(self) -> tuple[Tree, str, Entry] | None:
        """The file that it is by itself, an archive included; None for a folder or what an archive holds."""
        url = self.url
        if url is None:
            return None
        tree, path, end = self._place(url)
        node = None if 0 < end < len(path) else tree.find(path)
        return (tree, path, node) if isinstance(node, Entry) else None

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Mode, size and time."""
        found = self._entry()
        if found is None or _PREFIX.search(found[1]):
            result: os.stat_result = super().stat(follow_symlinks=follow_symlinks)
            return result
        entry = found[2]
        return file_state(
            stat.S_IFREG | 0o444, entry.size or 0, int(entry.modified * 1e9), f"{os.fspath(self)} {entry.version}"
        )

    @property
    def version(self) -> str:
        """What changes with the content of a file that lies in no archive; "" where the server says nothing that does."""
        found = self._entry()
        return "" if found is None else found[2].version

    def is_file_itself(self) -> bool:
        """Whether it is a file that lies in no archive."""
        return self._entry() is not None

    def is_file(self, **_: Any) -> bool:
        """Whether it is a file; an archive is one, and a folder as well."""
        return self._entry() is not None or super().is_file()

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open a file for reading; only what is read of it is fetched."""
        found = self._entry()
        if found is None:
            return super().open(mode, buffering, encoding, errors, newline)
        if set(mode) - set("rbt"):
            raise OSError(errno.EROFS, "A remote file is read-only", str(self))
        file = found[0].open(*found[1:])
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8", errors, newline)

    def read_bytes(self) -> bytes:
        """The content of a file."""
        found = self._entry()
        return super().read_bytes() if found is None else found[0].read(*found[1:])

    def resolve(self, strict: bool = False) -> RemotePath:
        """The same, without `..`."""
        url = self.url
        if url is None:
            return super().resolve(strict)
        host, _, path = url.rest.partition("/")
        path = posixpath.normpath("/" + path).lstrip("/")
        resolved = type(self)(f"{url.scheme}://{host}/{path}")
        if strict:
            resolved.stat()
        return resolved

    def absolute(self) -> RemotePath:
        """Itself: a URL is never relative."""
        return self if self.url is not None else super().absolute()

    def look(self) -> bool:
        """List what lies here anew; see `Tree.look`.

        Raises:
            ConfigError: if the place cannot be reached, or holds a dataset that is not whole.
        """
        url = self.url
        if url is None:
            return False
        tree, path = tree_of(url)
        for found in _PREFIX.finditer(path):
            tree.look(path[: found.end()])
            if isinstance(tree.find(path[: found.end()]), Entry):
                return True
        tree.look(path)
        return True


def _restored(url: str, listing: tuple[str, str] | None) -> Path:
    path = RemotePath(url)
    if listing is not None and path.url is not None:
        tree_of(path.url)[0].adopt(*listing)
    return path
