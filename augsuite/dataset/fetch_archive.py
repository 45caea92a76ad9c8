"""Unpack a zip or tar that a stranger made: plain files only, inside the folder only, and no more than is reasonable."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import lzma
import os
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO

from augsuite.dataset.files import inside
from augsuite.dataset.progress import track
from augsuite.errors import DataError

_CHUNK = 1 << 20
_RATIO = 20  # images do not shrink; annotations in JSON to a tenth
_SPARE = 100_000_000  # bytes: small archives may shrink by any ratio


@dataclass(frozen=True)
class _Member:
    """One entry of an archive; `open` is None for what is no plain file: a folder, a link, a device."""

    name: str
    is_folder: bool
    open: Callable[[], IO[bytes] | None] | None


def unpack(archive: Path, folder: Path, take: Mapping[str, str]) -> dict[str, str]:
    """Unpack what is wanted of an archive.

    Hidden files (`.DS_Store`, `._image.jpg`) are left out. Modes, owners and times are not kept.

    Args:
        archive: a zip, or a tar with any compression.
        folder: where to; a file that is there is replaced.
        take: see `augsuite.dataset.cards.Archive`.

    Returns:
        The path of each file, relative to the folder -> its SHA-256.

    Raises:
        DataError: if it is no archive or broken, holds nothing that is wanted, a member leads outside the folder or is a link, or the
            content is out of proportion to the archive.
        OSError: if it cannot be written.
    """
    limit = archive.stat().st_size * _RATIO + _SPARE
    found: dict[str, str] = {}
    made: set[str] = set()
    try:
        with _opened(archive) as (members, count):
            for member in track(members, f"unpacking {archive.name}", count):
                path = _destination(archive, member, take)
                if path is None:
                    continue
                source = member.open() if member.open else None
                if source is None:
                    raise DataError(
                        f"{archive.name}: {member.name!r} is a link or a device, not a file. Nothing was unpacked."
                    )
                target = os.path.join(folder, path)  # noqa: PTH118 - once for each of 100,000 files
                parent = os.path.dirname(target)  # noqa: PTH120
                if parent not in made:
                    os.makedirs(parent, exist_ok=True)  # noqa: PTH103
                    made.add(parent)
                with source:
                    found[path], limit = _copy(archive, source, target, limit)
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise  # of the disk; gzip and bz2 raise bare ones, zipfile may seek before the beginning
        raise DataError(f"{archive.name}: the archive is broken ({error}). Fetch it again.") from error
    if not found:
        raise DataError(f"{archive.name}: holds nothing of {', '.join(take) or 'any use'}. Correct 'take' on the card.")
    return found


_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,  # names in no encoding, sizes below zero
    OverflowError,
    OSError,
    RuntimeError,  # zipfile: an encrypted member, or an unknown compression
)


def _copy(archive: Path, source: IO[bytes], target: str, left: int) -> tuple[str, int]:
    """Write one file; its digest, and how many bytes may still come."""
    digest = hashlib.sha256()
    with open(target, "wb") as file:  # noqa: PTH123
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise DataError(
                    f"{archive.name}: unpacks to more than {_RATIO} times its size, as no images do. Nothing was unpacked."
                )
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest(), left


def _destination(archive: Path, member: _Member, take: Mapping[str, str]) -> str | None:
    """Where a member goes, relative to the folder; None if it is not wanted."""
    name = member.name.removesuffix("/") if member.is_folder else member.name
    path = None if "\\" in name else inside(name)
    if path is None and name not in {"", ".", "./"}:
        raise DataError(f"{archive.name}: {member.name!r} would be written outside the folder. Nothing was unpacked.")
    if path is None or member.is_folder:
        return None
    parts = path.split("/")
    if any(part.startswith(".") for part in parts):
        return None
    for pattern, place in take.items():
        wanted = pattern.strip("/").split("/")
        if len(wanted) <= len(parts) and all(map(fnmatchcase, parts, wanted)):
            rest = parts[len(wanted) :] or ([parts[-1]] if place.endswith("/") or not place else [])
            return _kept(archive, posixpath.join(place, *rest))
    return None if take else path


def _kept(archive: Path, path: str) -> str:
    """A path that a card names, which is not to be trusted either."""
    found = inside(path)
    if found is None:
        raise DataError(
            f"{archive.name}: the card puts a member outside the folder, at {path!r}. Correct 'take' on it."
        )
    return found


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterator[_Member], int | None]]:
    """The members of an archive, and how many there are where that is known."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            infos = opened.infolist()
            yield (_of_zip(opened, info) for info in infos), len(infos)
        return
    try:
        opened_tar = tarfile.open(archive)  # noqa: SIM115 - closed below; only a failure to open says that it is no tar
    except tarfile.ReadError:
        raise DataError(f"{archive.name}: is neither a zip nor a tar. Correct its address on the card.") from None
    with opened_tar as tar:
        yield (_of_tar(tar, info) for info in tar), None


def _of_zip(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16 if info.create_system == 3 else 0  # of Unix
    plain = stat.S_IFMT(mode) in {0, stat.S_IFREG}
    return _Member(info.filename, info.is_dir(), partial(opened.open, info) if plain else None)


def _of_tar(opened: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    return _Member(info.name, info.isdir(), partial(opened.extractfile, info) if info.isreg() else None)
