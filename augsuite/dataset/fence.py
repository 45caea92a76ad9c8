"""Links in a dataset's folder that lead out of it: seen where a file is opened, refused unless allowed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from augsuite.dataset.archives import ArchivePath
from augsuite.errors import DataError

_fence: ContextVar[Fence | None] = ContextVar("fence", default=None)


class Fence:
    """A folder that links must not lead out of."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Take a folder; links on the way to it are the user's own."""
        self.folder = os.path.realpath(folder)
        self._prefix = self.folder if self.folder.endswith(os.sep) else self.folder + os.sep
        self._folders: dict[str, bool] = {}

    def holds(self, path: str | os.PathLike[str]) -> bool:
        """Whether a path, all links followed, ends in the folder."""
        real = os.path.realpath(path)
        return real == self.folder or real.startswith(self._prefix)

    def holds_folder(self, path: str) -> bool:
        """As `holds`, remembered: the links of a folder are followed once for all its files."""
        known = self._folders.get(path)
        if known is None:
            known = self._folders[path] = self.holds(path)
        return known

    def check(self, path: str) -> None:
        """Stop at a file to which a link outside leads.

        Raises:
            DataError: says where it leads.
        """
        if not self.holds(path):
            raise DataError(
                f"{path}: leads by a link out of the dataset's folder, to {os.path.realpath(path)}. Put the file itself there, or pass "
                "--allow-outside if you trust it."
            )


@contextlib.contextmanager
def fenced(dataset: Path, *, allow_outside: bool) -> Iterator[None]:
    """Have the functions of `augsuite.dataset.files` refuse, inside the block, what links out of a dataset's folder lead to.

    Args:
        dataset: the folder, or one of `annotations` or `labels` in it; or an annotation file, whose folder and the one above count as
            the dataset's. Nothing in an archive is a link, so an archive needs no fence.
        allow_outside: refuse nothing.
    """
    fence = None
    if not (allow_outside or isinstance(dataset, ArchivePath)):
        fence = Fence(_root(dataset.resolve()))
    with using(fence):
        yield


def _root(dataset: Path) -> Path:
    """The folder of a dataset, given what the user named."""
    if dataset.is_dir() and dataset.name.lower() not in {"annotations", "labels"}:
        return dataset
    return dataset.parent if dataset.is_dir() else dataset.parent.parent


def is_inside(folder: Path) -> bool:
    """Whether a folder belongs to the dataset that is being read: inside its archive, or its fence."""
    if isinstance(folder, ArchivePath):
        return folder.is_inside()
    fence = current()
    return fence is None or fence.holds(folder)


def current() -> Fence | None:
    """The fence at work, to be handed to another process."""
    return _fence.get()


@contextlib.contextmanager
def using(fence: Fence | None) -> Iterator[None]:
    """Put up a fence, or take it down, inside the block."""
    token = _fence.set(fence)
    try:
        yield
    finally:
        _fence.reset(token)
