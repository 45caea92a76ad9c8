"""Bytes, text and lists of files, on disk or in an archive, with errors of one line."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from contextvars import ContextVar
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from augsuite.dataset.archives import ArchivePath, at, names
from augsuite.dataset.fence import current
from augsuite.errors import DataError


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file, on disk or in an archive.

    Args:
        path: a `Path`, or a string, which is faster for many files.

    Raises:
        DataError: if it cannot be read, or a link leads to it out of the dataset's folder (see `augsuite.dataset.fence`).
    """
    try:
        if isinstance(path, ArchivePath):
            return path.read_bytes()
        return _read(os.fspath(path))
    except OSError as error:
        if not isinstance(path, ArchivePath) and isinstance(found := at(Path(path)), ArchivePath):
            return read_bytes(found)
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from error


def _read(path: str) -> bytes:
    fence = current()
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    if fence is None:
        descriptor = os.open(path, flags)
    else:
        if not fence.holds_folder(os.path.dirname(path)):  # noqa: PTH120 - asked for each of 100,000 files
            fence.check(path)
        try:
            descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))
        except OSError as error:
            if error.errno not in _IS_LINK:
                raise
            fence.check(path)
            descriptor = os.open(path, flags)
    try:
        about = os.fstat(descriptor)
        size = about.st_size + 1
        data = os.read(descriptor, size)
        if len(data) == about.st_size and stat.S_ISREG(about.st_mode):
            return data
        parts = [data]
        while data := os.read(descriptor, size):  # one call reads 2 GiB at most
            parts.append(data)
        return b"".join(parts)
    finally:
        os.close(descriptor)


_IS_LINK = frozenset({errno.ELOOP, errno.EMLINK})  # what systems say of a link that is not to be followed


def read_text(path: str | os.PathLike[str]) -> str:
    """The content of a UTF-8 file, without a byte order mark.

    Raises:
        DataError: if it cannot be read or is not UTF-8; says at which line and byte.
    """
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, data, error) from error


def not_utf8(path: str | os.PathLike[str], data: bytes, error: UnicodeDecodeError) -> DataError:
    """The line that says where a file stops being UTF-8."""
    own = "utf-16" if data.startswith(_UTF16) else "latin1"
    return DataError(
        f"{path}: line {line_of(data, error.start)}, byte {error.start}: expected UTF-8 text, got {error.object[error.start]:#04x}. "
        f"Save the file as UTF-8, such as: iconv -f {own} -t utf-8 {Path(path).name}"
    )


_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_head(path: Path, length: int) -> bytes:
    """The first bytes of a file, for a guess at its format; of UTF-16 those that are ASCII.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as opened:
        head = opened.read(length)
    return head.replace(b"\0", b"") if head.startswith(_UTF16) else head


def line_of(data: bytes, offset: int) -> int:
    """The line, from 1, that holds a byte."""
    return data.count(b"\n", 0, offset) + 1


def natural(name: str) -> list[str | int]:
    """A sort key under which `img2` comes before `img10`."""
    return [int(part) if number else part for number, part in zip(cycle((False, True)), _DIGITS(name), strict=False)]


_DIGITS = re.compile(r"([0-9]{1,300})").split  # text, number, text, number ...; Python reads no number of 5,000 digits


class Listing(NamedTuple):
    """What a folder holds, by name, in no order; hidden entries are left out.

    Attributes:
        folders: the names of folders.
        files: the names of files.
        links: of the names of files, those that are links.
    """

    folders: list[str]
    files: list[str]
    links: frozenset[str] = frozenset()


_memory: ContextVar[dict[str, Listing] | None] = ContextVar("memory", default=None)


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """List each folder once, inside the block: one format after another looks at the same ones."""
    token = _memory.set({})
    try:
        yield
    finally:
        _memory.reset(token)


def scan(folder: str | os.PathLike[str]) -> Listing:
    """List a folder, on disk or in an archive; empty where it cannot be read."""
    memory = _memory.get()
    if memory is None:
        return _scan(folder)
    place = os.fspath(folder)
    if place not in memory:
        memory[place] = _scan(folder)
    return memory[place]


def _scan(folder: str | os.PathLike[str]) -> Listing:
    try:
        if isinstance(folder, ArchivePath):
            return Listing(*names(folder))
        folders, files, links = [], [], []
        with os.scandir(folder) as opened:
            for entry in opened:
                if entry.name.startswith("."):
                    continue
                if entry.is_file():
                    files.append(entry.name)
                    if entry.is_symlink():
                        links.append(entry.name)
                elif entry.is_dir():
                    folders.append(entry.name)
        return Listing(folders, files, frozenset(links))
    except (OSError, ValueError):
        if not isinstance(folder, ArchivePath) and isinstance(found := at(Path(folder)), ArchivePath):
            return _scan(found)
        return Listing([], [])


def check_links(folder: str | os.PathLike[str], names: Collection[str], links: Collection[str]) -> None:
    """Stop at files of a folder to which a link leads out of the dataset's folder, behind a fence.

    Args:
        folder: as it was given to `scan`.
        names: the files of it that will be used.
        links: those of its files that are links.

    Raises:
        DataError: says where the first of them leads.
    """
    fence = current()
    if fence is None or isinstance(folder, ArchivePath) or not names:
        return
    place = os.fspath(folder)
    if not fence.holds_folder(place):
        fence.check(place)
    for name in links:
        if name in names:
            fence.check(f"{place}{os.sep}{name}")


def walk(folder: str | os.PathLike[str], depth: int | None = None) -> Iterator[tuple[str, list[str]]]:
    """List a folder and those below it, on disk or in an archive; links to folders are not followed.

    Args:
        folder: the first.
        depth: how many folders deep to look; None for all.

    Yields:
        The path of a folder, relative to the first, with forward slashes ("" for the first itself), and the names of its files in
        natural order; folders in natural order too, each before those that it holds.

    Raises:
        DataError: at a file to which a link leads out of the dataset's folder, behind a fence.
    """
    top = at(Path(folder))
    waiting = [""]
    while waiting:
        path = waiting.pop()
        here = top / path if isinstance(top, ArchivePath) else os.path.join(top, path)  # noqa: PTH118 - fast
        listed = scan(here)
        check_links(here, listed.files, listed.links)
        yield path, sorted(listed.files, key=natural)
        if depth is not None and path.count("/") + bool(path) >= depth:
            continue
        below = [f"{path}/{name}" if path else name for name in sorted(listed.folders, key=natural, reverse=True)]
        if not isinstance(top, ArchivePath):
            below = [name for name in below if not os.path.islink(os.path.join(top, name))]  # noqa: PTH114, PTH118
        waiting.extend(below)


def entries(folder: Path, endings: tuple[str, ...] | None = None) -> list[Path]:
    """What a folder holds, hidden entries left out, in natural order; empty where it cannot be read.

    Args:
        folder: on disk or in an archive.
        endings: only files whose names, in small letters, end with one of these.

    Raises:
        DataError: at a file to which a link leads out of the dataset's folder, behind a fence.
    """
    listed = scan(folder)
    if endings is None:
        names = listed.folders + listed.files
    else:
        names = [name for name in listed.files if name.lower().endswith(endings)]
    check_links(folder, names, listed.links)
    return [folder / name for name in sorted(names, key=natural)]


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out, in natural order."""
    return [folder / name for name in sorted(scan(folder).folders, key=natural)]


def write_files(folder: str, files: Iterable[tuple[str, bytes]]) -> None:
    """Make new files, as fast as the system makes them.

    Args:
        folder: an existing folder.
        files: path in the folder, and content, of each; folders in between exist.

    Raises:
        OSError: if one exists, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    here = os.open(folder, os.O_RDONLY) if os.open in os.supports_dir_fd else None
    try:
        for name, content in files:
            place = name if here is not None else os.path.join(folder, name)  # noqa: PTH118 - for each of 100,000 files
            descriptor = os.open(place, flags, 0o666, dir_fd=here)
            try:
                if os.write(descriptor, content) != len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            finally:
                os.close(descriptor)
    finally:
        if here is not None:
            os.close(here)
