"""What a conversion wrote: how many files, bytes and boxes, of which sizes, and a digest of all."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator
from pathlib import Path


def files_of(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Each file below a folder with its path inside, in the order of names."""

    def below(place: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    yield from below(entry.path, f"{prefix}{entry.name}/")
                else:
                    yield prefix + entry.name, entry

    return below(os.fspath(folder), "")


def sizes(folder: Path) -> array[int]:
    """The size of each file in bytes."""
    return array("I", (entry.stat().st_size for _, entry in files_of(folder)))


def digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files."""
    seen = hashlib.sha256()
    for name, entry in files_of(folder):
        content = Path(entry.path).read_bytes()
        seen.update(f"{name}\0{len(content)}\0".encode())
        seen.update(content)
    return seen.hexdigest()


def boxes(folder: Path, kind: str) -> int:
    """How many boxes are in it; `kind` is coco, voc, yolo or csv."""
    return sum(_boxes(name.rpartition("/")[2], Path(entry.path), kind) for name, entry in files_of(folder))


def _boxes(name: str, path: Path, kind: str) -> int:
    if kind == "voc":
        return path.read_bytes().count(b"<object>") if name.endswith(".xml") else 0
    if kind == "yolo":  # the others are lists of images and names of classes
        return len(path.read_bytes().splitlines()) if name.removesuffix(".txt").isdigit() else 0
    if kind == "coco":
        return path.read_bytes().count(b'"bbox"') if name.endswith(".json") else 0
    from pyarrow import csv

    table = csv.read_csv(path)
    column = next(column for column in table.column_names if column.lower() == "xmin")
    return len(table) - table[column].null_count
