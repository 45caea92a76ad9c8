"""Files of a dataset: what plugins need of `disk` and `finder`, and what goes by the names of files alone."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from augsuite.dataset import parallel
from augsuite.dataset.disk import (
    Listing,
    check_links,
    entries,
    folders,
    line_of,
    natural,
    not_utf8,
    read_bytes,
    read_head,
    read_text,
    scan,
    walk,
)
from augsuite.dataset.finder import Finder, inside, tamed
from augsuite.dataset.images import SUFFIXES, read_size
from augsuite.dataset.progress import track
from augsuite.dataset.remote import RemotePath
from augsuite.dataset.remote_files import several
from augsuite.dataset.tables import Dataset
from augsuite.errors import DataError

__all__ = [
    "Finder",
    "Listing",
    "as_file",
    "check_links",
    "entries",
    "folders",
    "inside",
    "is_image",
    "line_of",
    "natural",
    "not_utf8",
    "plain",
    "read_bytes",
    "read_head",
    "read_sizes",
    "read_text",
    "scan",
    "tamed",
    "unique",
    "walk",
    "with_sizes",
    "with_tame_names",
]

_HEADERS = 512  # images whose headers are one piece of work


def plain(name: str, what: str) -> str:
    """A name that will be one part of a path.

    Raises:
        DataError: if it is empty, `.`, `..` or holds a slash.
    """
    if name in {"", ".", ".."} or any(mark in name for mark in "/\\\0"):
        raise DataError(f"{what} {name!r} cannot be the name of a file or folder. Rename it first.")
    return name


def is_image(path: str | Path) -> bool:
    """Whether a file's name ends like that of an image."""
    return os.fspath(path).lower().endswith(SUFFIXES)


def unique(paths: Iterable[str]) -> list[str]:
    """Paths made different where two are the same: the second `a.jpg` becomes `a_2.jpg`."""
    listed = list(paths)
    taken = set(listed)
    if len(taken) == len(listed):
        return listed
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


def as_file(path: Path) -> Path | None:
    """A path to a file by itself: an archive too is one here, which elsewhere is a folder; None for what is no file, or lies in an archive."""
    if isinstance(path, RemotePath):
        return path if path.is_file_itself() else None
    return Path(os.fspath(path)) if os.path.isfile(path) else None  # noqa: PTH113 - Path.is_file says no of an archive


def with_tame_names(data: Dataset) -> Dataset:
    """The dataset with the names of images that lie outside its folder changed where they lead outside, so that it can be written."""
    rows = [
        row
        for row, (name, file) in enumerate(zip(data.images.names.tolist(), data.images.files.tolist(), strict=True))
        if file and inside(file) is None and inside(name) is None
    ]
    if not rows:
        return data
    names = data.images.names.copy()
    for row in rows:
        names[row] = tamed(names[row])
    return replace(data, images=replace(data.images, names=names))


def with_sizes(data: Dataset) -> Dataset:
    """The dataset with the sizes that it does not know read from the headers of its image files, where there are files.

    On several cores where `augsuite.dataset.parallel.using` allows it; the result is the same.

    Raises:
        DataError: if such a file is no image.
    """
    unknown = np.flatnonzero((data.images.sizes <= 0).any(axis=1))
    rows = [row for row in unknown if data.images.files[row]]
    if not rows:
        return data
    sizes = data.images.sizes.copy()
    chunks = ([data.path(int(row)) for row in rows[at : at + _HEADERS]] for at in range(0, len(rows), _HEADERS))
    found = chain.from_iterable(parallel.mapped(_read_sizes, chunks))
    for row, size in zip(track(rows, "reading sizes"), found, strict=True):
        sizes[row] = size
    return replace(data, images=replace(data.images, sizes=sizes))


def read_sizes(paths: list[Path]) -> list[tuple[int, int] | DataError]:
    """Width and height of each upright image, from the files' headers; for one that is no image, the error that says so.

    Those of another machine are asked for many at once.
    """
    if not paths:
        return []
    return list((several if isinstance(paths[0], RemotePath) else map)(_size_or_error, paths))


def _size_or_error(path: Path) -> tuple[int, int] | DataError:
    try:
        return read_size(path)
    except DataError as error:
        return error


def _read_sizes(paths: list[Path]) -> list[tuple[int, int]]:
    return list((several if isinstance(paths[0], RemotePath) else map)(read_size, paths))
