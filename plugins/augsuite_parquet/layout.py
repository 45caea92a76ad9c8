"""Where Parquet files lie, which split each holds, and how sure we are that they are a dataset of images."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from augsuite.dataset.fence import current
from augsuite.dataset.files import entries, folders
from augsuite.dataset.members import PLACES
from augsuite.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

SUFFIX = ".parquet"
IMAGE = ("file_name", "filename", "image_path", "path", "image", "img")
OBJECTS = ("objects", "annotations")
LABEL = ("label", "labels")
_SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}")
_SPLITS = ("train", "validation", "valid", "val", "test")


def detect(path: Path) -> float:
    """How sure a path holds Parquet files of images: 0.9 with columns that say so."""
    files = find_files(path)
    if not files:
        return 0.0
    try:
        names = read_schema(files[0]).names
    except (DataError, OSError):
        return 0.2
    return 0.9 if any(name in names for name in IMAGE) and any(name in names for name in (*OBJECTS, *LABEL)) else 0.1


def find_files(path: Path) -> list[Path]:
    """The file itself; or the files of a folder, of its `data` folder, or of the folders in it (one per split)."""
    if not path.is_dir():
        return [path] if path.suffix.lower() == SUFFIX and path.is_file() else []
    for folder in (path, path / "data"):
        found = _own(folder)
        if found:
            return found
    return [file for folder in folders(path) for file in _own(folder)]


def _own(folder: Path) -> list[Path]:
    return entries(folder, (SUFFIX,))


@contextlib.contextmanager
def opened(file: Path) -> Iterator[parquet.ParquetFile]:
    """Open a Parquet file, on disk or in an archive.

    Raises:
        DataError: if it is none, or ends too early.
    """
    import pyarrow as pa  # not above: every detection of a format comes by here
    from pyarrow import parquet

    fence = current()
    if fence is not None:
        fence.check(str(file))
    try:
        with file.open("rb") as raw, parquet.ParquetFile(raw, page_checksum_verification=True) as content:
            yield content
    except (pa.ArrowException, OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{file}: cannot be read as Parquet ({said}). Copy or download it again.") from error


def read_schema(file: Path) -> pa.Schema:
    """The columns of a file; that it says where the images inside lie is among its metadata, without where.

    Raises:
        DataError: if it is no Parquet file.
    """
    with opened(file) as content:
        schema = content.schema_arrow
        if PLACES.encode() not in (content.metadata.metadata or {}):
            return schema
        return schema.with_metadata({**(schema.metadata or {}), PLACES.encode(): b""})


def split_of(file: Path, files: Sequence[Path]) -> str:
    """The split that a file's name says, else its folder's, where there are several; "" where neither does."""
    shard = _SHARD.fullmatch(file.stem)
    if shard:
        return shard.group(1)
    name = re.split(r"[-_.]", file.stem)[0]
    if name in _SPLITS:
        return name
    homes = {other.parent for other in files}
    return file.parent.name if len(homes) > 1 or file.parent.name in _SPLITS else ""


def root_of(path: Path) -> Path:
    """The folder that paths in the files are relative to."""
    folder = path if path.is_dir() else path.parent
    return folder.parent if folder.name == "data" else folder
