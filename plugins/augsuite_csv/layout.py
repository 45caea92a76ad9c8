"""Where CSV files lie, and where their images are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from augsuite.dataset.fence import is_inside
from augsuite.dataset.files import entries, read_text
from augsuite.dataset.finder import Finder
from augsuite.dataset.split_folders import split_folders
from augsuite.errors import DataError
from augsuite_csv.header import Header, box_names, understand

SUFFIXES = (".csv", ".tsv")
_HEAD = 1 << 14


def detect(path: Path) -> float:
    """How sure a file or folder is CSV that we understand, by the header."""
    files = find_files(path)
    if not files:
        return max(map(detect, split_folders(path)), default=0.0)
    return max((_score(file, alone=path.is_file()) for file in files[:8]), default=0.0)


def _score(file: Path, *, alone: bool) -> float:
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD).decode("utf-8-sig", errors="replace")
        head = next(io.StringIO(head, newline=""), "")
        names = next(csv.reader([head], delimiter=delimiter_of(head)), [])
        alone = alone or len(box_names(names)) > 1
        understand(file, names)
    except (OSError, csv.Error, DataError):
        return (
            0.2 if alone else 0.0
        )  # the user named this very file, or it is of boxes: let the reader say what is wrong
    return 0.7


def find_files(path: Path) -> list[Path]:
    """The file itself, or the CSV files of a folder, or of its `annotations` folder."""
    if not path.is_dir():
        return [path] if path.suffix.lower() in SUFFIXES else []
    for folder in (path, path / "annotations"):
        files = entries(folder, SUFFIXES)
        if files:
            return files
    return []


def delimiter_of(line: str) -> str:
    """The mark that stands most often in the header: comma, semicolon or tab."""
    return max(",;\t", key=line.count)


def read_rows(file: Path) -> tuple[Header, Iterator[tuple[int, list[str]]]]:
    """The header, and the rows with the number of the line on which each ends.

    Raises:
        DataError: if the file is no text, has no header that we understand, or a quote that does not end.
    """
    text = read_text(file)
    lines = io.StringIO(text, newline="")  # unlike str.splitlines, no line ends at U+2028 and its like
    delimiter = delimiter_of(lines.readline())
    lines.seek(0)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
    except csv.Error as error:
        raise DataError(f"{file}: line 1: not CSV ({error}). Fix the header.") from error
    return understand(file, names), _numbered(file, reader)


def _numbered(file: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            line = getattr(reader, "line_num", 0)
            raise DataError(f"{file}: line {line}: not CSV ({error}). Fix the line.") from error
        if any(map(str.strip, row)):  # a spreadsheet leaves rows of empty cells
            yield getattr(reader, "line_num", 0), row


def find_images(file: Path, names: Sequence[str], *, allow_outside: bool = False) -> Finder:
    """A finder at the root where most of a file's first images are: the file's folder, else the one above, if the dataset holds it."""
    own = file.resolve().parent
    here = Finder(own, ("", "images", "JPEGImages", file.stem, f"images/{file.stem}"), allow_outside=allow_outside)
    above = Finder(
        own.parent,
        ("images", "JPEGImages", "", own.name, file.stem, f"images/{file.stem}"),
        allow_outside=allow_outside,
    )
    few = list(names[:50])
    found = [sum(bool(finder.look(name) or finder.look(name, stem=True)) for name in few) for finder in (here, above)]
    return above if found[1] > found[0] and is_inside(own.parent) else here
