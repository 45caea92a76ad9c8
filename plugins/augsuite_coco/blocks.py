"""A COCO file cut into blocks of whole rows, so that a file of any size is decoded in little memory.

Where a list may be cut is guessed (between `}` and `{`, a comma between them) and proved by decoding: a block begins where a row
begins, a JSON value has one end only, and so a block that decodes as whole rows ends where a row ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
from msgspec import Raw

Rows = TypeVar("Rows")

BLOCK = 1 << 20
"""Bytes; about 2,000 annotations with masks. Small enough for the caches of a processor, large enough to cost nothing."""

_KEY = re.compile(rb'\s*"((?:[^"\\]|\\.)*)"\s*:\s*(?=\S)', re.DOTALL)
_MARK = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,{}\[\]\"]+(?=[\s,}])")
_SPACE = re.compile(rb"\s*")
_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_CUTS = 4  # how many places are tried before a block grows


class NotInBlocksError(Exception):
    """The file is not laid out as this module expects, or is no JSON; reading it whole tells which."""


def blocks(
    file: Path, lists: dict[str, Callable[[bytes], Rows]], progress: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[str, Rows | Raw]]:
    """Decode the rows of some lists of a JSON object block by block, in the order of the file.

    Args:
        file: a JSON object.
        lists: key -> decoder of a JSON array of some of its rows; must raise `msgspec.DecodeError` for malformed JSON.
        progress: called with how many more bytes were read.

    Yields:
        Key and decoded rows, several times for each key of `lists` (at least once, for an empty list too); key and undecoded value
        for each other key.

    Raises:
        NotInBlocksError: if it cannot be read in this way.
    """
    with file.open("rb") as opened:
        window = _Window(opened, progress)
        window.skip(b"\xef\xbb\xbf")
        window.expect(b"{")
        if not window.skip(b"}"):
            while True:
                key = window.key()
                if key in lists:
                    for rows in _rows(window, lists[key]):
                        yield key, rows
                else:
                    yield key, Raw(window.value())
                if window.skip(b"}"):
                    break
                window.expect(b",")
        if not window.at_end():
            raise NotInBlocksError


class _Window:
    """The part of the file that is in memory, and a position in it."""

    def __init__(self, opened: BinaryIO, progress: Callable[[int], None]) -> None:
        self._opened = opened
        self._progress = progress
        self.data = bytearray()
        self.at = 0

    def grow(self, size: int = BLOCK) -> bool:
        """Read on, and forget what lies behind; False at the end of the file."""
        more = self._opened.read(size)
        if more:
            del self.data[: self.at]
            self.data += more
            self.at = 0
            self._progress(len(more))
        return bool(more)

    def _space(self) -> None:
        while True:
            self.at = _SPACE.match(self.data, self.at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if self.at < len(self.data) or not self.grow():
                return

    def peek(self) -> bytes:
        """The next byte that is no space; empty at the end."""
        self._space()
        return bytes(self.data[self.at : self.at + 1])

    def skip(self, mark: bytes) -> bool:
        """Step over a mark, if it is next."""
        self._space()
        found = self.data.startswith(mark, self.at)
        self.at += len(mark) * found
        return found

    def expect(self, mark: bytes) -> None:
        if not self.skip(mark):
            raise NotInBlocksError

    def at_end(self) -> bool:
        return not self.peek()

    def array(self, end: int) -> bytes:
        """What lies before `end`, between brackets; one copy."""
        with memoryview(self.data) as view:
            return b"".join((b"[", view[self.at : end], b"]"))

    def key(self) -> str:
        """Step over a key and its colon."""
        while (found := _KEY.match(self.data, self.at)) is None:
            if len(self.data) - self.at > BLOCK or not self.grow():
                raise NotInBlocksError
        self.at = found.end()
        if b"\\" in found.group(1):
            raise NotInBlocksError  # a key that is written with escapes may be one of ours
        return found.group(1).decode()

    def value(self) -> bytes:
        """Step over any value, and return its text."""
        scalar = self.peek() not in {b"{", b"[", b'"'}
        while True:
            if scalar:
                found = _SCALAR.match(self.data, self.at)
                end = found.end() if found else None
            else:
                end = _end_of(self.data, self.at)
            if end is not None:
                text = bytes(self.data[self.at : end])
                self.at = end
                return text
            if not self.grow(max(BLOCK, len(self.data))):
                raise NotInBlocksError


def _end_of(data: bytearray, at: int) -> int | None:
    """Where the object, array or string that begins at `at` ends; None if that is not in `data`."""
    depth = 0
    for mark in _MARK.finditer(data, at):
        text = bytes(mark.group())
        depth += (text in (b"{", b"[")) - (text in (b"}", b"]"))
        if depth == 0:
            return mark.end()
    return None


def _rows(window: _Window, decode: Callable[[bytes], Rows]) -> Iterator[Rows]:
    """Decode the array at the window's position, and step over it."""
    window.expect(b"[")
    first = True
    while True:
        rows, window.at, ended = _block(window, decode, first)
        yield rows
        first = False
        if ended:
            return


def _block(window: _Window, decode: Callable[[bytes], Rows], first: bool) -> tuple[Rows, int, bool]:
    """Rows of the next block, the position after it, and whether the array ended there."""
    size = BLOCK
    while True:
        whole = len(window.data) - window.at < size and not window.grow(size)
        if not whole and len(window.data) - window.at < size:
            continue
        cut = min(window.at + size, len(window.data))
        for _ in range(_CUTS):
            cut = len(window.data) if whole else _cut_before(window.data, window.at, cut)
            if cut < 0:
                break
            try:
                rows = decode(window.array(cut))
                if whole:  # nothing follows: the file ends inside the array
                    raise NotInBlocksError
                return rows, cut + 1, False
            except msgspec.DecodeError as error:
                end = _array_end(window.data, window.at, cut, error)
                if end is not None:
                    return _last(window, decode, end, first)
            if whole:
                raise NotInBlocksError
        size *= 4


def _last(window: _Window, decode: Callable[[bytes], Rows], end: int, first: bool) -> tuple[Rows, int, bool]:
    if not first and not window.data[window.at : end].strip():
        raise NotInBlocksError  # a comma and then nothing
    try:
        return decode(window.array(end)), end + 1, True
    except msgspec.DecodeError as error:
        raise NotInBlocksError from error


def _cut_before(data: bytearray, at: int, before: int) -> int:
    """The position of the last comma between `}` and `{` that lies before a position; -1 if there is none."""
    while True:
        before = data.rfind(b"{", at, before)
        if before < 0:
            return -1
        comma = _before_space(data, at, before)
        if comma <= at:  # the row is longer than the block
            return -1
        if data[comma : comma + 1] == b"," and data[(brace := _before_space(data, at, comma)) : brace + 1] == b"}":
            return comma


def _before_space(data: bytearray, at: int, place: int) -> int:
    """The position of the last byte before `place` that is no space."""
    place -= 1
    while place > at and data[place] in b" \t\r\n":
        place -= 1
    return place


def _array_end(data: bytearray, at: int, cut: int, error: Exception) -> int | None:
    """Where the array's own bracket stands, if decoding found that the array ends before the cut."""
    found = _TRAILING.search(str(error))
    if not found:
        return None
    end = data.rfind(
        b"]", at, min(at + int(found.group(1)) - 2, cut)
    )  # it counts from 1, and from the bracket put before
    return None if end < 0 else end


def load_whole(data: Any, lists: dict[str, Callable[[bytes], Rows]]) -> Iterator[tuple[str, Rows | Raw]]:
    """As `blocks`, for the bytes of a whole file; raises what msgspec raises."""
    for key, value in msgspec.json.decode(data, type=dict[str, Raw]).items():
        yield key, lists[key](bytes(value)) if key in lists else value
