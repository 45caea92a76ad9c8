"""Label files to numbers: many at once, and line by line where something is unusual.

A line is an object: `class cx cy w h`, all but the class fractions of the image, or `class x1 y1 x2 y2 x3 y3 ...` for a polygon; each
may end with a confidence. In a pose dataset the box is followed by its keypoints. Source: docs.ultralytics.com/datasets.
"""

from __future__ import annotations

import codecs
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.checks import LARGEST, number

_NEWLINE, _SPACE = 10, 32


class Problem(NamedTuple):
    """What is wrong with a line of a file."""

    file: int
    line: int
    text: str


@dataclass
class Objects:
    """What label files say, one row per object.

    Attributes:
        files: `(N,)` int64 which file.
        classes: `(N,)` int64.
        boxes: `(N, 4)` float64 centre, width and height as fractions; around the polygon where there is one.
        scores: `(N,)` float64, NaN where none is said.
        points: `(P,)` float64: x, y, x, y, ... of all polygons, or all keypoints, one after the other.
        starts: `(N + 1,)` int64 where each row's begin in `points`; equal where a row has none.
        problems: lines that are left out.
    """

    files: NDArray[np.int64]
    classes: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    points: NDArray[np.float64]
    starts: NDArray[np.int64]
    problems: list[Problem]


def parse(texts: Sequence[bytes], classes: int | None, keypoints: int = 0) -> Objects:
    """Read the objects of label files.

    Args:
        texts: the files' contents.
        classes: how many there are; None where nobody says.
        keypoints: how many numbers follow each box; 0 where the lines may be polygons.
    """
    if any(b"\r" in text for text in texts):
        texts = [text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for text in texts]
    joined = b"\n".join(texts) + b"\n" if texts else b""
    raw = np.frombuffer(joined, np.uint8)
    blank = raw <= _SPACE
    words = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))
    ends = np.flatnonzero(raw == _NEWLINE)
    counts = np.diff(np.searchsorted(words, ends), prepend=0)  # words of each line
    lines_of = np.array([text.count(b"\n") + 1 for text in texts], np.int64)
    files = np.repeat(np.arange(len(texts)), lines_of)
    lines = np.arange(1, len(files) + 1) - np.repeat(np.cumsum(lines_of) - lines_of, lines_of)
    regular = set(np.unique(counts).tolist()) <= {0, 5} and np.count_nonzero(blank) - len(ends) == 4 * (len(words) // 5)
    values = _table(joined) if regular and len(words) else None
    if values is None:
        values = _numbers(joined)
    problems: list[Problem] = []
    if values is None or len(values) != counts.sum():
        values = _one_by_one(joined, counts, files, lines, problems)
    used = counts > 0
    return _objects(values, counts[used], files[used], lines[used], classes, keypoints, problems)


def _table(text: bytes) -> NDArray[np.float64] | None:
    """As `_numbers`, in a sixth of the time, for lines of five words with one space between them."""
    import pyarrow as pa
    from pyarrow import csv

    names = ["class", "x", "y", "width", "height"]
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            csv.ReadOptions(use_threads=False, column_names=names),
            csv.ParseOptions(delimiter=" ", quote_char=False),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()), null_values=[]),
        )
    except pa.ArrowInvalid:
        return None
    return np.stack([column.to_numpy() for column in table.columns], axis=1).reshape(-1)


def _numbers(text: bytes) -> NDArray[np.float64] | None:
    """All numbers of a text; None where anything in it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's older way to say what a ValueError says now
        try:
            return np.fromstring(text, np.float64, sep=" ")
        except (ValueError, DeprecationWarning):
            return None


def _one_by_one(
    text: bytes,
    counts: NDArray[np.int64],
    files: NDArray[np.int64],
    lines: NDArray[np.int64],
    problems: list[Problem],
) -> NDArray[np.float64]:
    """As `_numbers`, but a line that holds anything else is a problem and gets the count 0."""
    values: list[float] = []
    for row, line in enumerate(text.split(b"\n")[: len(counts)]):
        if not counts[row]:
            continue
        if lines[row] == 1:
            line = line.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901 - the same line, without what is no part of it
        said = line.decode("utf-8", "replace").split()
        found = [number(word) for word in said]
        counts[row] = len(said)
        if any(map(math.isnan, found)):
            wrong = next(word for word, value in zip(said, found, strict=True) if math.isnan(value))
            problems.append(Problem(int(files[row]), int(lines[row]), f"expected numbers, got {wrong[:40]!r}"))
            counts[row] = 0
            continue
        values.extend(found)
    return np.array(values, np.float64)


def _objects(
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    files: NDArray[np.int64],
    lines: NDArray[np.int64],
    classes: int | None,
    keypoints: int,
    problems: list[Problem],
) -> Objects:
    first = np.cumsum(counts) - counts
    scored, points = _columns(counts, keypoints)
    bad: dict[int, str] = {}
    for row in np.flatnonzero(scored < 0).tolist():
        bad[row] = _expected(int(counts[row]), keypoints)
    if not (np.abs(values) <= LARGEST).all():
        wrong = np.repeat(np.arange(len(counts)), counts)[~(np.abs(values) <= LARGEST)]
        bad.update(dict.fromkeys(wrong.tolist(), "expected finite numbers"))
    keep = np.ones(len(counts), bool)
    keep[list(bad)] = False
    labels = values[first]
    for row in np.flatnonzero(keep & ((labels < 0) | (labels != np.floor(labels)) | (labels >= 2**53))).tolist():
        bad[row] = f"expected the number of a class, got {labels[row]:g}"
    if classes is not None:
        for row in np.flatnonzero(keep & (labels >= classes)).tolist():
            bad.setdefault(row, f"class {labels[row]:g} is not one of the {classes} that are named")
    scores = np.full(len(counts), np.nan)
    with_score = np.flatnonzero(keep & (scored == 1))
    scores[with_score] = values[first[with_score] + counts[with_score] - 1]
    for row in with_score[~((scores[with_score] >= 0) & (scores[with_score] <= 1))].tolist():
        bad.setdefault(row, f"expected a confidence from 0 to 1 at the end, got {scores[row]:g}")
    keep[list(bad)] = False
    if keypoints:
        boxed, shaped, skip = keep, keep & (points > 0), 5
    else:
        boxed, shaped, skip = keep & (points == 0), keep & (points > 0), 1
    boxes = np.zeros((len(counts), 4))
    boxes[boxed] = values[first[boxed][:, None] + np.arange(1, 5)]
    for row in np.flatnonzero(boxed & (boxes[:, 2:] < 0).any(axis=1)).tolist():
        bad[row] = f"expected a width and height of 0 or more, got {boxes[row, 2]:g} and {boxes[row, 3]:g}"
    keep[list(bad)] = False
    shaped &= keep
    numbers = np.where(shaped, points, 0)
    starts = np.concatenate([[0], np.cumsum(numbers[keep])]).astype(np.int64)
    index = np.repeat(first[shaped] + skip, numbers[shaped])
    length = numbers[shaped]
    index += np.arange(len(index)) - np.repeat(np.cumsum(length) - length, length)
    flat = values[index]
    if not keypoints and len(length):
        boxes[shaped] = _around(flat, length)
    problems.extend(Problem(int(files[row]), int(lines[row]), text) for row, text in bad.items())
    return Objects(
        files[keep], labels[keep].astype(np.int64), boxes[keep], scores[keep], flat, starts, sorted(problems)
    )


def _columns(counts: NDArray[np.int64], keypoints: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """From the number of columns: whether there is a score (-1: neither way makes sense), and how many numbers of points."""
    if keypoints:
        known = ((5, 0, 0), (6, 1, 0), (5 + keypoints, 0, keypoints), (6 + keypoints, 1, keypoints))
        scored, points = np.full(len(counts), -1), np.zeros(len(counts), np.int64)
        for columns, score, number_of in known:
            scored[counts == columns], points[counts == columns] = score, number_of
        return scored, points
    scored = np.where(counts < 5, -1, (counts % 2 == 0).astype(np.int64))
    return scored, np.where(counts < 7, 0, counts - 1 - scored)


def _expected(columns: int, keypoints: int) -> str:
    if keypoints:
        return f"expected a class, a box and {keypoints} numbers of keypoints, got {columns} columns"
    return f"expected a class and a box (5 columns) or a polygon (7 or more), got {columns} columns"


def _around(points: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """`(K, 4)` centre, width and height around K polygons whose numbers stand one after the other."""
    at = (np.cumsum(lengths) - lengths) // 2
    pairs = points.reshape(-1, 2)
    low, high = np.minimum.reduceat(pairs, at), np.maximum.reduceat(pairs, at)
    return np.concatenate([(low + high) / 2, high - low], axis=1)
