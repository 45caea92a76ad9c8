"""Putting image files where the annotations that were just written say."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

from augsuite.dataset.archives import ArchivePath
from augsuite.dataset.checks import Intake
from augsuite.dataset.files import inside
from augsuite.dataset.images import check_readable
from augsuite.dataset.progress import track
from augsuite.dataset.publishing import Upload, uploading
from augsuite.dataset.remote import RemotePath
from augsuite.dataset.remote_files import several
from augsuite.dataset.tables import Dataset
from augsuite.errors import ConfigError, DataError, PluginError

Placing = Literal["copy", "hardlink", "symlink", "none"]

_noting = threading.Lock()
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


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
        paths: for each image a path relative to `folder`; "" where the writer has put the image there itself.
        folder: an empty folder, or one with annotation files.
        how: `copy`, `hardlink`, `symlink` or `none`.
        intake: says what happens to an image file that is broken: with `skip_invalid` it is passed on as it is, with a note.
        progress: called with 1 for each image.

    Returns:
        How many images have no file to place.

    Raises:
        PluginError: if the paths do not fit the images.
        DataError: if a path leads outside the folder or onto an annotation file, or an image cannot be read.
        OSError: if the disk is full.
    """
    _check_paths(data, paths, intake)
    files = data.images.files
    missing = sum(not file for file in files.tolist())
    if how == "none" or missing == len(data):
        if progress:
            progress(len(data))
        return missing
    upload = uploading(folder)
    if upload is not None and how != "copy":
        raise ConfigError(f"images cannot be placed by {how} on another machine. Use --images copy.")
    wanted = [(data.path(row), path) for row, path in enumerate(paths) if path and files[row]]
    if progress and len(wanted) < len(paths):
        progress(len(paths) - len(wanted))
    for _ in _placed(track(wanted, "placing images"), folder, how, intake, upload):
        if progress:
            progress(1)
    return missing


def _check_paths(data: Dataset, paths: Sequence[str], intake: Intake) -> None:
    """See to it that each image has a place of its own, inside the folder."""
    if len(paths) != len(data):
        raise PluginError(
            f"the writer named {len(paths)} paths for {len(data)} images. Report it to the plugin's author."
        )
    places: Sequence[str | None] = paths
    if not _is_plain(paths):
        named = data.images.names.tolist()
        places = [inside(path) if path or not name else "" for path, name in zip(paths, named, strict=True)]
    if None in places:
        row = places.index(None)
        raise DataError(
            f"image {data.images.names[row]!r} would be written outside the output, to {paths[row]!r}. Rename it."
        )
    used = list(filter(None, places))
    if len(set(used)) != len(used):
        raise PluginError(
            f"the writer named {len(set(used))} different paths for {len(used)} images. Report it to the plugin's author."
        )
    text = "\0".join(used)
    alike = 0 if text == text.casefold() else len(used) - len({path.casefold() for path in used})
    if alike:
        intake.note(
            f"{alike:,} image names differ from others in capitals alone; on Windows and macOS they cannot lie in one folder"
        )


def _is_plain(paths: Sequence[str]) -> bool:
    """Whether no path needs a closer look, found by searching all of them at once."""
    text = "/" + "\0/".join(paths) + "\0"
    return text.count("\0") == len(paths) and not any(mark in text for mark in ("/.", "//", "/\0", "\\", ":"))


def _placed(
    wanted: Iterable[tuple[Path, str]], folder: Path, how: Placing, intake: Intake, upload: Upload | None
) -> Iterator[None]:
    """Place each image; those that come from another machine or go there several at once."""
    made: set[str] = set()
    taken: set[str] = set()

    def place(source: Path, path: str) -> None:
        _check(source, intake)
        _place(source, os.path.join(folder, path), how)  # noqa: PTH118 - once for each image

    def prepared() -> Iterator[tuple[Path, str]]:
        for source, path in wanted:
            parent = os.path.dirname(os.path.join(folder, path))  # noqa: PTH118, PTH120 - as above
            if parent not in made:
                os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - as above
                made.add(parent)
            yield source, path

    if upload is not None:
        for source, path in wanted:
            if path in taken or os.path.lexists(os.path.join(folder, path)):  # noqa: PTH118 - as above
                raise _would_replace(path)
            taken.add(path)
            upload.put(path, partial(_content, source, intake))
            yield
        return
    first = next(items := prepared(), None)
    if first is None:
        return
    items = chain([first], items)
    if isinstance(first[0], RemotePath):
        yield from several(lambda item: place(*item), items)
    else:
        for source, path in items:
            place(source, path)
            yield


def _check(source: Path, intake: Intake) -> None:
    try:
        check_readable(source)
    except DataError as error:
        if not source.is_file():
            return  # placing it says what is wrong
        if not intake.skip_invalid:
            raise DataError(f"{error} Or pass --skip-invalid to pass the file on as it is.") from error
        with _noting:
            intake.note(f"{error} Passed on as it is.")


def _content(source: Path, intake: Intake) -> bytes | Path:
    """An image on its way to another machine."""
    _check(source, intake)
    if not isinstance(source, ArchivePath):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise _unplaced(source, "copy", error) from error


def _would_replace(path: str) -> DataError:
    return DataError(f"image {os.path.basename(path)!r} would replace another file of the output. Rename it.")  # noqa: PTH119 - a string


def _unplaced(source: Path, how: Placing, error: OSError) -> DataError:
    advice = "Use --images copy." if how != "copy" else "Put the image there, or pass --images none."
    return DataError(f"{source}: cannot be placed by {how} ({error.strerror}). {advice}")


def _place(source: Path, target: str, how: Placing) -> None:
    if os.path.lexists(target):
        raise _would_replace(target)
    packed = isinstance(source, ArchivePath)
    try:
        if packed and how != "copy":
            where = "on another machine" if isinstance(source, RemotePath) else "in an archive"
            raise OSError(errno.EXDEV, f"it lies {where}", os.fspath(source))
        if packed:
            with source.open("rb") as opened, open(target, "wb") as written:  # noqa: PTH123 - a string
                shutil.copyfileobj(opened, written, 1 << 20)
        elif how == "copy":
            shutil.copyfile(source, target)
        elif how == "hardlink":
            os.link(os.path.realpath(source), target)
        else:
            os.symlink(os.path.realpath(source), target)  # noqa: PTH211 - a string
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise _unplaced(source, how, error) from error
