"""Image files by the names that annotations use: each folder is listed once, and nothing outside the dataset is named."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.archives import ArchivePath
from augsuite.dataset.disk import scan
from augsuite.dataset.fence import Fence
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.urls import url_of
from augsuite.errors import DataError


def inside(name: str, folder: str = "") -> str | None:
    """Where a name leads, from a dataset's root.

    Args:
        name: what an annotation file says, with forward slashes.
        folder: the folder that it is relative to, relative to the root.

    Returns:
        The path relative to the root, without `..`; None if it is empty, absolute or leads outside.
    """
    if not folder and _SIMPLE(name):
        return name
    if not name or "\0" in name or posixpath.isabs(name) or PureWindowsPath(name).drive:
        return None
    path = posixpath.normpath(posixpath.join(folder, name))
    return None if path in {".", ".."} or path.startswith("../") else path


_SIMPLE = re.compile(r"(?:[^/\\\0:.][^/\\\0:]*/)*[^/\\\0:.][^/\\\0:]*").fullmatch
"""Whether each part of a path is a name that cannot lead anywhere else."""


def tamed(name: str) -> str:
    """A name that leads outside, as one that does not: `../pics/a.jpg` and `/pics/a.jpg` become `pics/a.jpg`."""
    parts = name.replace("\\", "/")[len(PureWindowsPath(name).drive) :].split("/")
    return "/".join(part for part in parts if part not in {"", ".", ".."})


@dataclass
class Finder:
    """Finds image files by name, reading each folder once.

    Attributes:
        root: the dataset's root.
        folders: where to look, relative to the root, in this order; "" is the root itself.
        missing: how many names had no file.
        allow_outside: also name files outside the root, to which a name or a link leads.
    """

    root: Path
    folders: Sequence[str]
    missing: int = 0
    allow_outside: bool = False
    _folders: dict[str, list[str]] = field(default_factory=dict, repr=False)
    _listed: dict[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict, repr=False)
    _fence: Fence | None = field(default=None, repr=False)

    def find(self, name: str, *, stem: bool = False) -> str:
        """Look for one image.

        Args:
            name: what the annotation file calls it.
            stem: `name` has no suffix; try those of images.

        Returns:
            Its path relative to the root (or absolute, if it lies outside and that is allowed), or "" where there is no such file.

        Raises:
            DataError: if the name leads outside the root, by itself or by a link, unless there is such an image inside it (seen
                from one of `folders`), or `allow_outside` is set.
        """
        found = self.look(name, stem=stem)
        if found is None:
            raise DataError(self._leads_outside(name))
        self.missing += not found
        return found

    def _leads_outside(self, name: str) -> str:
        how = "by a link " if inside(name.replace("\\", "/")) else ""
        return (
            f"the name {name!r} leads {how}outside the dataset's folder {self.root}. Name the image by a path inside it, "
            "or pass --allow-outside if you trust it"
        )

    def find_many(self, names: NDArray[np.object_]) -> tuple[NDArray[np.object_], dict[int, str]]:
        """As `find` for each of many names, and much faster; counts nothing.

        Args:
            names: `(N,)` what the annotation file calls them.

        Returns:
            `(N,)` the paths; and for each row whose name leads outside the root what is wrong with it, its path being "".
        """
        listed = names.tolist()
        text = "\0" + "\0".join(listed) + "\0"
        if text.count("\0") == len(listed) + 1 and not _UNUSUAL(text):
            places = [(folder, *(self._listed.get(folder) or self._list(folder))) for folder in self.folders]
            places = [(folder, files, doubtful) for folder, files, doubtful in places if files]
            if not any(doubtful for _, _, doubtful in places):
                found = np.full(len(listed), "", object)
                for folder, files, _ in reversed(places):
                    there = np.fromiter(map(files.__contains__, listed), bool, len(listed))
                    found[there] = f"{folder}/" + names[there] if folder else names[there]
                return found, {}
        found = np.full(len(listed), "", object)
        outside: dict[int, str] = {}
        for row, name in enumerate(listed):
            path = self.look(name)
            if path is None:
                outside[row] = self._leads_outside(name)
            else:
                found[row] = path
        return found, outside

    def look(self, name: str, *, stem: bool = False) -> str | None:
        """As `find`, but None where it raises, and counting nothing."""
        outside = False
        if _SIMPLE(name):  # the usual case, and a dataset may ask 100,000 times
            head, _, base = name.rpartition("/")
            folders = self._folders.get(head)
            if folders is None:
                folders = self._folders[head] = [posixpath.join(folder, head).rstrip("/") for folder in self.folders]
            places = [(folders, base)]
        else:
            spellings = tuple(dict.fromkeys((name, name.replace("\\", "/"))))
            paths = [inside(spelling, folder) for spelling in spellings for folder in self.folders]
            split = [posixpath.split(path) for path in paths if path is not None]
            places = [([folder], base) for folder, base in split]
            outside = any(inside(spelling) is None for spelling in spellings)
        for folders, base in places:
            names = [base + suffix for suffix in _CASED_SUFFIXES] if stem else (base,)
            for folder in folders:
                listed, doubtful = self._listed.get(folder) or self._list(folder)
                for file in names:
                    if file in listed:
                        path = f"{folder}/{file}" if folder else file
                        if file not in doubtful or self._holds(path):
                            return path
                        outside = True
        if outside and self.allow_outside and url_of(self.root) is None:
            return self._look_outside(name, _CASED_SUFFIXES if stem else ("",))
        return None if outside else ""

    def _look_outside(self, name: str, suffixes: Sequence[str]) -> str:
        root = os.path.abspath(self.root)  # noqa: PTH100 - `..` must go, links must stay
        for spelling in (name, name.replace("\\", "/")):
            for folder in self.folders:
                for suffix in suffixes:
                    path = os.path.normpath(os.path.join(root, folder, spelling + suffix))  # noqa: PTH118 - as above
                    if "\0" not in path and os.path.isfile(path):  # noqa: PTH113 - as above
                        return path.replace(os.sep, "/")
        return ""

    def _list(self, folder: str) -> tuple[frozenset[str], frozenset[str]]:
        """The files of a folder, and those that may lie outside: links, or all if a link leads to the folder."""
        path = self.root / folder
        listed = scan(path)
        files = frozenset(listed.files)
        doubtful = listed.links
        if self.allow_outside or isinstance(path, ArchivePath) or not files:
            doubtful = frozenset()
        else:
            self._fence = self._fence or Fence(self.root)
            if not self._fence.holds(path):
                doubtful = files
        self._listed[folder] = files, doubtful
        return files, doubtful

    def _holds(self, path: str) -> bool:
        return self._fence is not None and self._fence.holds(self.root / path)


_UNUSUAL = re.compile(r"[/\\:]|\0[.\0]").search
"""Whether among names, each between two zeros, one is no plain name of a file."""

_CASED_SUFFIXES = (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES))
