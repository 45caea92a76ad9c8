"""Where LabelMe files lie, and which split each folder is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from augsuite.dataset.disk import read_head, scan

_HEAD = 1 << 16
_LOOK = 4  # files
_FOLDERS = 8
_SPLIT = re.compile(
    r"(train|val|valid|validation|test|minitrain|minival|trainval|dev)(-?dev|-?challenge)?[0-9]*", re.IGNORECASE
)
_OTHERS = re.compile(rb'"(shape_type|imagePath|imageHeight|imageData|points|version)"')
SUFFIX = ".json"
LABELS, FLAGS = "labels.txt", "flags.txt"
SPECIAL = ("__ignore__", "_background_")
"""Lines that LabelMe's converters want at the head of `labels.txt`; no classes."""


def detect(path: Path) -> float:
    """How sure a file or folder is LabelMe, by the keys at the head of its first JSON files."""
    if not path.is_dir():
        return _score(path)
    listed = scan(path)
    first = _first(path, listed.files)
    for folder in sorted(listed.folders)[:_FOLDERS] if not first else ():
        below = scan(path / folder)
        first = first or _first(path / folder, below.files)
        for nested in sorted(below.folders)[:_FOLDERS] if not first else ():
            first = first or _first(path / folder / nested, scan(path / folder / nested).files)
    return max((_score(file) for file in first), default=0.0)


def _first(folder: Path, names: list[str]) -> list[Path]:
    return [folder / name for name in names if name.lower().endswith(SUFFIX)][:_LOOK]


def _score(file: Path) -> float:
    if file.suffix.lower() != SUFFIX:
        return 0.0
    try:
        head = read_head(file, _HEAD)
    except (OSError, ValueError):
        return 0.0
    return 0.9 if b'"shapes"' in head and _OTHERS.search(head) else 0.0


def split_of(folder: str) -> tuple[str, str]:
    """The split that a folder is or lies in, and the path below it."""
    first, _, rest = folder.partition("/")
    return (first, rest) if is_split(first) else ("", folder)


def is_split(name: str) -> bool:
    """Whether a folder of that name is read as a split."""
    return _SPLIT.fullmatch(name) is not None


def root_of(file: Path) -> Path:
    """The dataset's folder, given one of its files."""
    parent = file.parent if file.parent.name else Path(os.path.abspath(file)).parent  # noqa: PTH100 - links must stay
    return parent.parent if is_split(parent.name) else parent
