"""A dataset's fingerprint: equal where a trainer would see the same, wherever the files lie."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import ABSENT, Dataset
from augsuite.errors import DataError

SIZE = 16  # bytes; two datasets collide by chance once in 2 ** 64
_CHUNK = 1 << 20


def digest(data: Dataset, *, contents: bool = True) -> str:
    """Fingerprint the tables and the bytes of every image file.

    Part of it are the columns of all three tables with their extras, in their order, and the content of the files. Not part of it
    is where they lie: `root` and `images.files`. Moving or copying a dataset keeps its digest; a changed box, class, order or
    pixel changes it.

    Args:
        data: the dataset; every image file must exist.
        contents: False takes the size of each file for its content, which is quicker and misses what leaves the size alone.

    Returns:
        32 hexadecimal digits.

    Raises:
        DataError: if an image file is missing or cannot be read.
    """
    images, categories, table = data.images, data.categories, data.annotations
    total = hashlib.blake2b(digest_size=SIZE)
    for column in (images.names, images.splits, categories.names):
        _add(total, msgspec.json.encode(column.tolist()))
    for numbers in (
        images.sizes,
        images.ids,
        categories.ids,
        table.image_rows,
        table.category_rows,
        table.boxes,
        table.ids,
        table.ignore,
    ):
        _add(total, np.ascontiguousarray(numbers).tobytes())
    _add(total, table.layout.value.encode())
    for extra in (images.extra, categories.extra, table.extra):
        _add_extras(total, extra)
    if not contents:
        for row in range(len(images)):
            _add(total, str(_size_of(data.path(row))).encode())
        return total.hexdigest()
    # Hashing and reading release the interpreter, so threads help even on large sets.
    with ThreadPoolExecutor(max_workers=4) as pool:
        for content in pool.map(file_digest, [data.path(row) for row in range(len(images))]):
            _add(total, content)
    return total.hexdigest()


def file_digest(path: Path) -> bytes:
    """16 bytes for the content of one file.

    Raises:
        DataError: if it cannot be read.
    """
    content = hashlib.blake2b(digest_size=SIZE)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                content.update(chunk)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}. Put the file there, or leave the image out."
        ) from error
    return content.digest()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}. Put the file there, or leave the image out."
        ) from error


def _add(total: hashlib.blake2b, part: bytes) -> None:
    """Add one part with its length, so that no two lists of parts run together to the same bytes."""
    total.update(len(part).to_bytes(8, "little"))
    total.update(part)


def _add_extras(total: hashlib.blake2b, extra: Mapping[str, NDArray[np.object_]]) -> None:
    for key in sorted(extra):
        _add(total, key.encode())
        for value in extra[key]:
            # Sorted keys: the order in which a file wrote an object's fields is no content. `str` is for a stranger's type.
            said = b"" if value is ABSENT else msgspec.json.encode(value, enc_hook=str, order="sorted")
            _add(total, said)
