"""Writing a folder so that a kill leaves the old one or the new one, and putting image files into it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from augsuite.dataset.checks import Intake
from augsuite.dataset.files import inside
from augsuite.dataset.images import check_readable
from augsuite.dataset.tables import Dataset
from augsuite.errors import ConfigError, DataError, PluginError

Placing = Literal["copy", "hardlink", "symlink", "none"]


@contextlib.contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place at the end, and vanishes on an error.

    Args:
        target: the folder to make; one that exists is exchanged in one step (where the system can) and then deleted.

    Raises:
        ConfigError: if the place cannot be written.
    """
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise ConfigError(f"{target.parent}: cannot be written ({error.strerror}). Choose another place.") from error
    try:
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)  # mkdtemp makes private folders
        yield temporary
        if target.exists():
            _exchange(temporary, target)
        else:
            temporary.rename(target)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or target}: cannot be written ({error.strerror}). Choose another place."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders: in one step on Linux; elsewhere in two, between which a kill leaves the old one under the name `.old`."""
    if sys.platform == "linux" and _renameat2_exchange(new, old):
        return
    aside = new.with_suffix(".old")
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _renameat2_exchange(first: Path, second: Path) -> bool:
    """Linux's renameat2(2) with RENAME_EXCHANGE; False where the C library or the file system has none."""
    at_cwd, exchange = -100, 2
    try:
        call = ctypes.CDLL(None).renameat2
    except AttributeError:
        return False
    return bool(call(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), exchange) == 0)


def place_images(
    data: Dataset,
    paths: Sequence[str],
    folder: Path,
    how: Placing,
    intake: Intake,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Put the image files of a dataset where its writer wants them.

    Args:
        data: the dataset.
        paths: for each image a path relative to `folder`.
        folder: an empty folder, or one with annotation files.
        how: `copy`, `hardlink`, `symlink` or `none`.
        intake: says what happens to an image file that is broken: with `skip_invalid` it is passed on as it is, with a note.
        progress: called with 1 for each image.

    Returns:
        How many images have no file to place.

    Raises:
        PluginError: if the paths do not fit the images.
        DataError: if a path leads outside the folder or onto an annotation file, or an image cannot be read.
    """
    if len(paths) != len(data) or len(set(paths)) != len(paths):
        raise PluginError(
            f"the writer named {len(set(paths))} different paths for {len(data)} images. Report it to the plugin's author."
        )
    missing = 0
    made: set[Path] = set()
    for row, path in enumerate(paths):
        if inside(path) is None:
            raise DataError(
                f"image {data.images.names[row]!r} would be written outside the output, to {path!r}. Rename it."
            )
        if how != "none" and data.images.files[row]:
            target = folder / path
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            source = data.path(row)
            if source.is_file():
                _check(source, intake)
            _place(source, target, how)
        else:
            missing += not data.images.files[row]
        if progress:
            progress(1)
    return missing


def _check(source: Path, intake: Intake) -> None:
    try:
        check_readable(source)
    except DataError as error:
        if not intake.skip_invalid:
            raise DataError(f"{error} Or pass --skip-invalid to pass the file on as it is.") from error
        intake.note(f"{error} Passed on as it is.")


def _place(source: Path, target: Path, how: Placing) -> None:
    if os.path.lexists(target):
        raise DataError(f"image {target.name!r} would replace another file of the output. Rename it.")
    try:
        if how == "copy":
            shutil.copyfile(source, target)
        elif how == "hardlink":
            os.link(source.resolve(), target)
        else:
            target.symlink_to(source.resolve())
    except OSError as error:
        advice = "Use --images copy." if how != "copy" else "Put the image there, or pass --images none."
        raise DataError(f"{source}: cannot be placed by {how} ({error.strerror}). {advice}") from error
