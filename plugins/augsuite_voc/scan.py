"""Many VOC files to columns in one pass, where they are laid out as LabelImg, the devkit and most programs write them.

All files of a batch are joined, and one regular expression cuts out every object. It takes nothing but the tags listed here, in
their order, and text without marks that mean something in XML; so whatever it takes is well-formed and has been read whole, and
whatever it leaves is text between two objects, which must be the beginning or the end of a file. A file of which anything else is
left goes to `augsuite_voc.elements`, which reads any XML.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset import UNREAD, Intake
from augsuite.dataset.archives import ArchivePath
from augsuite.dataset.checks import LARGEST
from augsuite.dataset.disk import read_bytes
from augsuite.errors import DataError
from augsuite_voc.elements import add_file
from augsuite_voc.found import Found, whole_number

_TEXT = r"([^\x00-\x1f<>&\ufffe\uffff]*)"
_GAP = "[ \t\r\n]*"


def _element(tag: str, *, optional: bool = False) -> str:
    text = f"<{tag}>{_TEXT}</{tag}>{_GAP}"
    return f"(?:{text})?" if optional else text


def _object(corners: Sequence[str]) -> re.Pattern[str]:
    tags = "".join(_element(tag, optional=True) for tag in _TAGS)
    box = f"<bndbox>{_GAP}{''.join(map(_element, corners))}</bndbox>{_GAP}"
    return re.compile(f"<object>{_GAP}{_element('name')}{tags}{box}</object>{_GAP}")


_TAGS = ("pose", "truncated", "occluded", "difficult", "occluded")
_STEP = 1 + len(_TAGS) + 4 + 1  # name, tags, corners, and the text before the next object
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ORDERS = (_CORNERS, ("xmin", "xmax", "ymin", "ymax"))
_OBJECTS = tuple(map(_object, _ORDERS))
_DECLARATION = r"""<\?xml version=["']1.0["'](?: encoding=["'](?i:utf-8|us-ascii)["'])? ?\?>"""
_HEAD = re.compile(
    rf"(?:{_DECLARATION})?{_GAP}<annotation(?: verified=\"(yes|no)\")?>{_GAP}"
    + _element("folder", optional=True)
    + _element("filename", optional=True)
    + _element("path", optional=True)
    + rf"(?:<source>{_GAP}{_element('database')}</source>{_GAP})?"
    + rf"(?:<size>{_GAP}<width>(?P<width>[^<>&]*)</width>{_GAP}<height>(?P<height>[^<>&]*)</height>{_GAP}{_element('depth', optional=True)}</size>{_GAP})?"
    + _element("segmented", optional=True)
    + rf"(?P<end></annotation>{_GAP})?"
)
_END = re.compile(f"</annotation>{_GAP}")
_EXTENT = re.compile(r"[0-9]{1,9}").fullmatch
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,2})?")
_IMAGE_TAGS = ("folder", "path", "depth", "segmented")
_BETWEEN = "\0"  # it stands in no XML file


@dataclass
class Task:
    """Some files to read.

    Attributes:
        folder: that of all files.
        names: their paths in it.
        intake: takes what is invalid.
    """

    folder: Path
    names: list[str]
    intake: Intake


@dataclass
class Result:
    """What the files of a task say.

    Attributes:
        found: the images of the files that could be read.
        valid: for each file whether it could.
        skipped: what was left out, one line each.
    """

    found: Found
    valid: list[bool]
    skipped: list[str]


def read_files(task: Task) -> Result:
    """Read a batch of files.

    Raises:
        DataError: at the first that is invalid, unless the task's intake leaves those out.
    """
    intake = Intake(task.intake.skip_invalid, wants=task.intake.wants)
    packed = isinstance(task.folder, ArchivePath)
    contents = [_content(task.folder / name if packed else f"{task.folder}/{name}") for name in task.names]
    texts = [_decoded(content) for content in contents]
    if all(texts):
        found, bad = _scan(texts, 0, intake)
        if not bad:
            return Result(found, [True] * len(texts), [])
    orders = _orders_of(texts, intake)
    found, valid = Found(), []
    for order, run in groupby(range(len(texts)), key=orders.__getitem__):
        rows = list(run)
        if order is not None:
            found.extend(_scan([texts[row] for row in rows], order, intake)[0])
            valid += [True] * len(rows)
            continue
        for row in rows:
            one = _one(task.folder / task.names[row], contents[row], intake)
            valid.append(one is not None)
            if one is not None:
                found.extend(one)
    return Result(found, valid, intake.skipped)


def _content(path: str | Path) -> bytes | DataError:
    try:
        return read_bytes(path)
    except DataError as error:
        return error


def _decoded(content: bytes | DataError) -> str:
    """The text of a file; empty for one that is not to be scanned."""
    try:
        text = "" if isinstance(content, DataError) else content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""
    return "" if _BETWEEN in text else text


def _orders_of(texts: Sequence[str], intake: Intake) -> list[int | None]:
    """Which of the orders each file is written in; None for one that is not to be scanned."""
    orders: list[int | None] = [None] * len(texts)
    left = [row for row, text in enumerate(texts) if text]
    for order in range(len(_ORDERS)):
        if not left:
            break
        bad = _scan([texts[row] for row in left], order, intake)[1]
        for place, row in enumerate(left):
            if place not in bad:
                orders[row] = order
        left = [row for place, row in enumerate(left) if place in bad]
    return orders


def _one(file: Path, content: bytes | DataError, intake: Intake) -> Found | None:
    """A file that was left aside; None if it is invalid and that is allowed."""
    found = Found()
    try:
        if isinstance(content, DataError):
            raise content
        add_file(found, file, content, intake)
    except DataError as error:
        if not intake.skip_invalid:
            raise
        intake.skipped.append(str(error))
        return None
    return found


def _scan(texts: Sequence[str], order: int, intake: Intake) -> tuple[Found, set[int]]:
    """Cut out the objects of some files; which files hold anything else."""
    parts = _OBJECTS[order].split(_BETWEEN.join(texts))
    heads, starts, bad = _files(parts[::_STEP], len(texts))
    columns = [parts[place::_STEP] for place in range(1, _STEP)]
    counts = np.diff([*starts, len(columns[0])])
    numbers = [_numbers(columns[len(_TAGS) + 1 + _ORDERS[order].index(corner)]) for corner in _CORNERS]
    corners = np.stack(numbers, axis=1).reshape(-1, 4)
    names, tags = columns[0], columns[1 : len(_TAGS) + 1]
    wrong = ~(np.abs(corners) <= LARGEST).all(axis=1) | (corners[:, 2:] - corners[:, :2] < -1).any(axis=1)
    wrong |= np.array([not name or name.isspace() for name in names], bool)
    if tags[2].count(None) < len(names) and tags[4].count(None) < len(names):
        wrong |= np.array(
            [first is not None and second is not None for first, second in zip(tags[2], tags[4], strict=True)]
        )
    if wrong.any():
        bad.update(np.repeat(np.arange(len(texts)), counts)[wrong].tolist())
    found = Found()
    if not bad:
        _fill(found, heads, counts, names, tags, corners, intake)
    return found, bad


def _files(betweens: Sequence[str], count: int) -> tuple[list[Any], list[int], set[int]]:
    """The head of each file, the number of its first object, and which files hold more than a head, objects and an end."""
    heads: list[Any] = [None] * count
    starts = [0] * count
    closed = [False] * count
    bad: set[int] = set()
    file = 0

    def begin(text: str) -> None:
        head = heads[file] = _HEAD.fullmatch(text)
        if head is None:
            bad.add(file)
            return
        width, height, end = head.group("width", "height", "end")
        if width is not None and not (_EXTENT(width) and _EXTENT(height)):
            bad.add(file)
        elif end:
            closed[file] = True

    for number, between in [(number, text) for number, text in enumerate(betweens) if text or not number]:
        first, *others = between.split(_BETWEEN)
        if number == 0:
            begin(first)
        elif closed[file] or not _END.fullmatch(first):
            bad.add(file)
        else:
            closed[file] = True
        for text in others:
            file += 1
            starts[file] = number
            begin(text)
    bad.update(row for row in range(count) if not closed[row])
    return heads, starts, bad


def _numbers(texts: Sequence[str]) -> NDArray[np.float64]:
    """The numbers; NaN for one that the other way of reading must judge."""
    try:
        numbers = msgspec.json.decode(f"[{','.join(texts)}]", type=list[float])
    except msgspec.DecodeError:
        numbers = []
    if len(numbers) != len(texts):  # an empty text alone, or one with commas
        return np.array([float(text) if _NUMBER.fullmatch(text) else np.nan for text in texts], np.float64)
    return np.array(numbers, np.float64)


def _fill(
    found: Found,
    heads: Sequence[Any],
    counts: NDArray[np.int64],
    names: Sequence[str],
    tags: Sequence[Sequence[str | None]],
    corners: NDArray[np.float64],
    intake: Intake,
) -> None:
    """Put what was cut out into columns."""
    wanted = {tag: intake.wanted(f"voc.{tag}") for tag in (*_TAGS, *_IMAGE_TAGS, "source", "@verified")}
    for row, head in enumerate(heads):
        verified, folder, said, path, database, width, height, depth, segmented, _ = head.groups()
        found.said.append((said or "").strip())
        found.sizes.extend((int(width or 0), int(height or 0)))
        for tag, value in zip(_IMAGE_TAGS, (folder, path, depth, segmented), strict=True):
            if value is not None:
                found.image_extra.add(row, tag, whole_number(value.strip()) if wanted[tag] else UNREAD)
        if database is not None:
            found.image_extra.add(row, "source", {"database": database.strip()} if wanted["source"] else UNREAD)
        if verified is not None:
            found.image_extra.add(row, "@verified", verified)
    found.counts.extend(counts.tolist())
    found.corners.frombytes(corners.tobytes())
    numbers = {name: found.classes.setdefault(name.strip(), len(found.classes)) for name in dict.fromkeys(names)}
    found.labels.extend(map(numbers.__getitem__, names))
    found.ignore.frombytes(bytes(len(names)))
    for tag, values in zip(_TAGS, tags, strict=True):
        _fill_tag(found, tag, values, wanted[tag])


def _fill_tag(found: Found, tag: str, values: Sequence[str | None], wanted: bool) -> None:
    if values.count(None) == len(values):
        return
    meant = {text: UNREAD if text is None else whole_number(text.strip()) for text in set(values)}
    said: Sequence[int] = range(len(values))
    if None in meant:
        said = [row for row, text in enumerate(values) if text is not None]
    if tag == "difficult":  # the column says it
        found.ignore = array("b", [meant[text] == 1 for text in values])
        said = (
            [] if set(meant.values()) <= {0, 1, UNREAD} else [row for row in said if meant[values[row]] not in {0, 1}]
        )
    found.extra.add_all(tag, said, [meant[values[row]] for row in said] if wanted else [UNREAD] * len(said))
