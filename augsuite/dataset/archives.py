"""Zip and tar files as folders: a path into one is read like any other, and nothing is extracted."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import posixpath
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from augsuite.dataset.members import Archive, Folder, Member
from augsuite.dataset.urls import url_of

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_PREFIX = re.compile(r"\.(?:(?:zip|tar(?:\.(?:gz|bz2|xz))?|tgz|tbz2|txz)(?=[/\\]|$)|parquet(?=[/\\]))", re.IGNORECASE)
"""The end of an archive's name. A Parquet file is one for a path that leads into it alone: by itself it is a file to its readers."""
_OPEN = 256  # archives
_LISTED = 2_000_000  # files in them, of which each takes half a kilobyte
_SMALL = 1 << 20  # bytes
_PARTS = frozenset(
    {"annotations", "images", "imagesets", "jpegimages", "labels", "data"}
    | {"train", "val", "valid", "validation", "test"}
)
"""Names of folders that are a part of a dataset, not the dataset."""

_lock = threading.Lock()
_opened: OrderedDict[str, tuple[tuple[int, ...], Archive]] = OrderedDict()


class ArchivePath(type(Path())):  # type: ignore[misc]  # PosixPath or WindowsPath
    """A path that leads into an archive, such as `data.zip/images/a.jpg`; where none is on its way, a path like others.

    It is read-only. It pickles as a path, so each process opens the archive for itself; one that has changed is opened anew.
    """

    __slots__ = ()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Mode, size and time; the time is the archive's."""
        split = self.split()
        if split is None:
            found: os.stat_result = super().stat(follow_symlinks=follow_symlinks)
            return found
        archive, name = split
        node = _node(self, archive, name)
        mode = stat.S_IFDIR | 0o555 if isinstance(node, dict) else stat.S_IFREG | 0o444
        size = 0 if isinstance(node, dict) else node.size
        return file_state(mode, size, archive.modified, os.fspath(self))

    def lstat(self) -> os.stat_result:
        """As `stat`: links in an archive stand for what they lead to."""
        return self.stat(follow_symlinks=False)

    def exists(self, **_: Any) -> bool:
        """Whether there is such a file or folder."""
        return self._is(bool)

    def is_file(self, **_: Any) -> bool:
        """Whether it is a file."""
        return self._is(stat.S_ISREG)

    def is_dir(self, **_: Any) -> bool:
        """Whether it is a folder; an archive is one."""
        return self._is(stat.S_ISDIR)

    def is_symlink(self) -> bool:
        """Whether it is a link; nothing in an archive is."""
        return self.split() is None and super().is_symlink()

    def split(self) -> tuple[Any, str] | None:
        """What holds it, and the name there; None where it leads into no archive."""
        return _split(self)

    def is_packed(self) -> bool:
        """Whether it leads into an archive."""
        return self.split() is not None

    def look(self) -> bool:
        """List anew what is there, where that was remembered; whether it is a remote place."""
        return False

    def is_inside(self) -> bool:
        """Whether it leads into an archive."""
        return self.split() is not None

    def _is(self, kind: Any) -> bool:
        try:
            return bool(kind(self.stat().st_mode))
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP}:
                return False
            raise
        except ValueError:
            return False

    def iterdir(self) -> Iterator[ArchivePath]:
        """What a folder holds."""
        split = self.split()
        listed = os.listdir(self) if split is None else list(_folder(self, *split))  # noqa: PTH208 - this is `iterdir`
        for name in listed:
            yield self / name

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open a file for reading."""
        split = self.split()
        if split is None:
            opened: IO[Any] = super().open(mode, buffering, encoding, errors, newline)
            return opened
        if set(mode) - set("rbt"):
            raise OSError(errno.EROFS, "An archive is read-only", str(self))
        archive, name = split
        member = _file(self, archive, name)
        small = member.size <= _SMALL
        file = io.BytesIO(archive.read(member, str(self))) if small else archive.open(member, str(self))
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8", errors, newline)

    def read_bytes(self) -> bytes:
        """The content of a file."""
        split = self.split()
        if split is None:
            return super().read_bytes()  # type: ignore[no-any-return]
        archive, name = split
        content: bytes = archive.read(_file(self, archive, name), str(self))
        return content

    def resolve(self, strict: bool = False) -> ArchivePath:
        """Absolute, links on the way to the archive followed, without `..`."""
        plain = posixpath.normpath(self.as_posix())
        end = _archive_of(plain)
        if not end:
            return type(self)(os.path.realpath(self, strict=strict))
        resolved = type(self)(os.path.realpath(plain[:end]) + plain[end:])
        if strict:
            resolved.stat()
        return resolved

    def glob(self, pattern: str, **_: Any) -> Iterator[ArchivePath]:
        """The files and folders below whose path from here fits a pattern of `*`, `?` and `**`."""
        fits = re.compile(_regex(pattern)).fullmatch
        for path in _below(self):
            if fits(path):
                yield self / path

    def rglob(self, pattern: str, **_: Any) -> Iterator[ArchivePath]:
        """As `glob`, at any depth."""
        return self.glob(f"**/{pattern}")


def _regex(pattern: str) -> str:
    parts = [part for part in pattern.split("/") if part not in {"", "."}]
    return "".join(
        "(?:[^/]+/)*" if part == "**" else re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]") + "/"
        for part in parts
    ).removesuffix("/")


def at(path: Path) -> Path:
    """A path as `ArchivePath` where it leads to an archive or into one, or as `RemotePath` where it is a URL; otherwise the path itself."""
    text = os.fspath(path)
    if ":/" in text and not isinstance(path, ArchivePath) and (url := url_of(text)) is not None and "\0" not in text:
        from augsuite.dataset.remote import RemotePath  # made of paths into archives

        if url.scheme not in {"file", "local"}:
            return RemotePath(path)
        path = Path(url.rest if re.match("[A-Za-z]:", url.rest) else f"/{url.rest}")
        text = os.fspath(path)
    if isinstance(path, ArchivePath) and type(path) is not ArchivePath:
        return path
    return ArchivePath(path) if _PREFIX.search(text) and "\0" not in text and _archive_of(text) else path


def descended(path: Path) -> Path:
    """An archive's only folder, where it holds nothing else and the folder's name is not that of a part of a dataset."""
    while (
        isinstance(path, ArchivePath)
        and path.is_packed()
        and (listed := names(path))
        and len(listed[0]) == 1
        and not listed[1]
    ):
        if listed[0][0].lower() in _PARTS:
            break
        path /= listed[0][0]
    return path


def file_state(mode: int, size: int, modified: int, identity: str) -> os.stat_result:
    """What `stat` says of something that is no file of this machine by itself.

    Args:
        mode: its kind and permissions.
        size: bytes.
        modified: nanoseconds since 1970.
        identity: tells it from all others; the number of its inode is made from this, the same in every process.
    """
    inode = int.from_bytes(hashlib.blake2b(identity.encode(errors="surrogateescape"), digest_size=7).digest())
    seconds = modified / 1e9
    times = {f"st_{kind}time_ns": modified for kind in "amc"}
    return os.stat_result((mode, inode, 0, 1, 0, 0, size, seconds, seconds, seconds), times)


def names(folder: ArchivePath) -> tuple[list[str], list[str]]:
    """The names of a folder's folders and of its files, hidden ones left out.

    Raises:
        OSError: if it is no folder.
    """
    split = folder.split()
    node: Folder = {} if split is None else _folder(folder, *split)
    shown = [(name, isinstance(below, dict)) for name, below in node.items() if not name.startswith(".")]
    return [name for name, is_folder in shown if is_folder], [name for name, is_folder in shown if not is_folder]


def _below(folder: ArchivePath) -> Iterator[str]:
    """Everything below a folder, as paths from there."""
    split = folder.split()
    waiting: list[tuple[str, Folder]] = [] if split is None else [("", _folder(folder, *split))]
    while waiting:
        prefix, node = waiting.pop()
        for name, below in node.items():
            yield prefix + name
            if isinstance(below, dict):
                waiting.append((f"{prefix}{name}/", below))


def _archive_of(text: str) -> int:
    """How much of a path leads to an archive, in characters; 0 for a path that leads to none."""
    for found in _PREFIX.finditer(text):
        if os.path.isfile(text[: found.end()]):  # noqa: PTH113 - asked for every image, where a Path is slow
            return found.end()
    return 0


def _split(path: Path) -> tuple[Archive, str] | None:
    """The archive that a path leads into, and the name there; None where there is none."""
    text = os.fspath(path)
    for found in _PREFIX.finditer(text):
        prefix = text[: found.end()]
        try:
            state = os.stat(prefix)  # noqa: PTH116 - as above
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(state.st_mode):
            continue
        name = text[found.end() + 1 :].replace(os.sep, "/")
        return _open(prefix, (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)), name
    return None


def _open(prefix: str, identity: tuple[int, ...]) -> Archive:
    return open_archive(prefix, identity, lambda: Archive(prefix))


def open_archive(place: str, identity: tuple[int, ...], opener: Callable[[], Archive]) -> Archive:
    """An archive out of the few that this process keeps open.

    Args:
        place: where it is.
        identity: changes when the archive does.
        opener: opens it anew.
    """
    known = _opened.get(place)
    if known is not None and known[0] == identity:
        return known[1]
    with _lock:
        known = _opened.get(place)
        if known is None or known[0] != identity:
            known = (identity, opener())
            _opened[place] = known
        _opened.move_to_end(place)
        while len(_opened) > 1 and (len(_opened) > _OPEN or sum(each.count for _, each in _opened.values()) > _LISTED):
            _opened.popitem(last=False)
        return known[1]


def _node(path: Path, archive: Archive, name: str) -> Folder | Member:
    if "/.." in f"/{name}":
        name = posixpath.normpath(name)
    node = archive.find(name)
    if node is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return node


def _folder(path: Path, archive: Archive, name: str) -> Folder:
    node = _node(path, archive, name)
    if not isinstance(node, dict):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return node


def _file(path: Path, archive: Archive, name: str) -> Member:
    node = _node(path, archive, name)
    if isinstance(node, dict):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return node
