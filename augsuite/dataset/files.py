"""Files of a dataset on disk: read them with a clear error, find images by the names that annotations use, stay inside."""

from __future__ import annotations

import codecs
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

import numpy as np

from augsuite.dataset.images import SUFFIXES, read_size
from augsuite.dataset.tables import Dataset
from augsuite.errors import DataError


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path and its permissions.") from error


def read_text(path: Path) -> str:
    """The content of a UTF-8 file, without a byte order mark.

    Raises:
        DataError: if it cannot be read or is not UTF-8; says at which line and byte.
    """
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, data, error) from error


def not_utf8(path: Path, data: bytes, error: UnicodeDecodeError) -> DataError:
    """The line that says where a file stops being UTF-8."""
    own = "utf-16" if data.startswith(_UTF16) else "latin1"
    return DataError(
        f"{path}: line {line_of(data, error.start)}, byte {error.start}: expected UTF-8 text, got {error.object[error.start]:#04x}. "
        f"Save the file as UTF-8, such as: iconv -f {own} -t utf-8 {path.name}"
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


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key under which `img2` comes before `img10`."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def inside(name: str, folder: str = "") -> str | None:
    """Where a name leads, from a dataset's root.

    Args:
        name: what an annotation file says, with forward slashes.
        folder: the folder that it is relative to, relative to the root.

    Returns:
        The path relative to the root, without `..`; None if it is empty, absolute or leads outside.
    """
    if not name or "\0" in name or posixpath.isabs(name) or PureWindowsPath(name).drive:
        return None
    path = posixpath.normpath(posixpath.join(folder, name))
    return None if path in {".", ".."} or path.startswith("../") else path


def plain(name: str, what: str) -> str:
    """A name that will be one part of a path.

    Raises:
        DataError: if it is empty, `.`, `..` or holds a slash.
    """
    if name in {"", ".", ".."} or any(mark in name for mark in "/\\\0"):
        raise DataError(f"{what} {name!r} cannot be the name of a file or folder. Rename it first.")
    return name


@dataclass
class Finder:
    """Finds image files by name, reading each folder once.

    Attributes:
        root: the dataset's root; nothing outside it is ever named.
        folders: where to look, relative to the root, in this order; "" is the root itself.
        missing: how many names had no file.
    """

    root: Path
    folders: Sequence[str]
    missing: int = 0
    _listed: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    def find(self, name: str, *, stem: bool = False) -> str:
        """Look for one image.

        Args:
            name: what the annotation file calls it.
            stem: `name` has no suffix; try those of images.

        Returns:
            Its path relative to the root, or "" where there is no such file.

        Raises:
            DataError: if the name leads outside the root, unless there is such an image inside it (seen from one of `folders`).
        """
        found = self.look(name, stem=stem)
        if found is None:
            raise DataError(
                f"the name {name!r} leads outside the dataset's folder {self.root}. Name the image by a path inside it"
            )
        self.missing += not found
        return found

    def look(self, name: str, *, stem: bool = False) -> str | None:
        """As `find`, but None where it raises, and counting nothing."""
        suffixes = _CASED_SUFFIXES if stem else ("",)
        if _BARE(name):  # the usual case, and a dataset may ask 100,000 times
            for folder in self.folders:
                listed = self._names(folder)
                for suffix in suffixes:
                    if name + suffix in listed:
                        return f"{folder}/{name}{suffix}" if folder else name + suffix
            return ""
        spellings = tuple(dict.fromkeys((name, name.replace("\\", "/"))))
        for spelling in spellings:
            for folder in self.folders:
                path = inside(spelling, folder)
                if path is None:
                    continue
                parent, base = posixpath.split(path)
                for suffix in suffixes:
                    if base + suffix in self._names(parent):
                        return path + suffix
        return None if any(inside(spelling) is None for spelling in spellings) else ""

    def _names(self, folder: str) -> frozenset[str]:
        if folder not in self._listed:
            self._listed[folder] = frozenset(entry.name for entry in entries(self.root / folder) if entry.is_file())
        return self._listed[folder]


_BARE = re.compile(r"[^/\\\0:.][^/\\\0:]*").fullmatch
"""Whether a name has no folder, drive or leading dot in it, so that it cannot lead anywhere else."""

_CASED_SUFFIXES = (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES))


def entries(folder: Path) -> list[Path]:
    """What a folder holds, hidden entries left out, in natural order; empty where it cannot be read."""
    try:
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except (OSError, ValueError):
        return []
    return sorted(found, key=lambda path: natural(path.name))


def is_image(path: Path) -> bool:
    """Whether a file's name ends like that of an image."""
    return path.suffix.lower() in SUFFIXES


def unique(paths: Iterable[str]) -> list[str]:
    """Paths made different where two are the same: the second `a.jpg` becomes `a_2.jpg`."""
    listed = list(paths)
    taken = set(listed)
    seen: Counter[str] = Counter()
    result = []
    for path in listed:
        seen[path] += 1
        name = path
        number = seen[path]
        if number > 1:
            stem, suffix = posixpath.splitext(path)
            while name in taken:
                name = f"{stem}_{number}{suffix}"
                number += 1
            taken.add(name)
        result.append(name)
    return result


def with_sizes(data: Dataset) -> Dataset:
    """The dataset with the sizes that it does not know read from the headers of its image files, where there are files.

    Raises:
        DataError: if such a file is no image.
    """
    unknown = np.flatnonzero((data.images.sizes <= 0).any(axis=1))
    rows = [row for row in unknown if data.images.files[row]]
    if not rows:
        return data
    sizes = data.images.sizes.copy()
    for row in rows:
        sizes[row] = read_size(data.path(int(row)))
    return replace(data, images=replace(data.images, sizes=sizes))
