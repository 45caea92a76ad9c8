"""The members of a tar file in the order in which they lie there, without an index of them all.

Source: POSIX.1-2001, pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format".
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from augsuite.dataset.fence import current
from augsuite.errors import DataError

BLOCK = 512
_LARGEST_NAME = 1 << 16


class Member(NamedTuple):
    """One file.

    Attributes:
        name: its name.
        size: in bytes.
        content: the tar file, which stands at its first byte.
        whole: whether the tar file is known to hold all of it.
    """

    name: str
    size: int
    content: IO[bytes]
    whole: bool


def members(file: Path) -> Iterator[Member]:
    """The files in a tar file, compressed by gzip or not.

    Raises:
        DataError: if it is no tar file or ends too early.
    """
    fence = current()
    if fence is not None:
        fence.check(str(file))
    try:
        with file.open("rb") as raw:
            if raw.read(2) == b"\x1f\x8b":
                raw.seek(0)
                with gzip.open(raw) as content:
                    yield from _members(file, cast("IO[bytes]", content), None)
            else:
                length = raw.seek(0, os.SEEK_END)
                raw.seek(0)
                yield from _members(file, raw, length)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read as a tar file ({error}). Copy or download it again.") from error


def _members(file: Path, content: IO[bytes], length: int | None) -> Iterator[Member]:
    """The files; `length` is that of the tar file, None where only its end tells."""
    at = 0
    long_name = ""
    while header := content.read(BLOCK):
        if header.count(0) == BLOCK:
            return
        size, kind = _numbers(file, header, at)
        at += BLOCK
        if kind in {b"x", b"L"}:
            if size > _LARGEST_NAME:
                raise _damaged(file, at)
            text = content.read(size)
            found = text.rstrip(b"\0") if kind == b"L" else _pax_path(text)
            long_name = found.decode("utf-8", "replace") if found else long_name
        elif kind in {b"0", b"\0"}:
            name = long_name or _name(header)
            long_name = ""
            if length is not None and at + size > length:
                raise DataError(f"{file}: ends in the middle of {name}. Copy or download it again.")
            yield Member(name, size, content, length is not None)
        at += -(-size // BLOCK) * BLOCK
        content.seek(at)
    if at == 0:
        raise DataError(f"{file}: is empty. Copy or download it again.")
    raise DataError(f"{file}: ends without the mark of its end. Copy or download it again.")


def _numbers(file: Path, header: bytes, at: int) -> tuple[int, bytes]:
    """The size and the kind of a member."""
    try:
        said = int(header[148:156].strip(b" \0") or b"-1", 8)
        field = header[124:136]
        size = int.from_bytes(field[1:], "big") if field[:1] == b"\x80" else int(field.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise _damaged(file, at) from error
    if len(header) != BLOCK or said != sum(header[:148]) + 8 * 32 + sum(header[156:]) or size < 0:
        raise _damaged(file, at)
    return size, header[156:157]


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _pax_path(text: bytes) -> bytes:
    r"""The path among the records `<length> <key>=<value>\\n` of an extended header."""
    while text:
        length = text.partition(b" ")[0]
        if not length.isdigit() or not int(length):
            break
        record, text = text[: int(length)], text[int(length) :]
        key, _, value = record[len(length) + 1 : -1].partition(b"=")
        if key == b"path":
            return value
    return b""


def _damaged(file: Path, at: int) -> DataError:
    return DataError(f"{file}: byte {at}: expected the head of a tar member. Copy or download the file again.")
