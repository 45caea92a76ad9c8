"""Where CVAT files lie, what split each is, and where their images are."""

from __future__ import annotations

import re
from pathlib import Path

from augsuite.dataset.files import entries, read_head

_HEAD = 1 << 16
_MANY = 1000  # a dataset in CVAT has a few files; so many are of another format
_ROOT = re.compile(rb"<annotations[\s>]")
_MARKS = re.compile(rb"<(image|track|meta|version)[\s>/]")
_SPLIT = re.compile(r"(train|val|valid|validation|test|trainval|dev)[0-9]*", re.IGNORECASE)


def detect(path: Path) -> float:
    """How sure a file or folder is CVAT, by the root element of its XML files; those of videos too, which the reader refuses."""
    files = find_files(path) if path.is_dir() else [path]
    return max((_score(file) for file in files[:4]), default=0.0)


def _score(file: Path) -> float:
    if file.suffix.lower() != ".xml":
        return 0.0
    try:
        head = read_head(file, _HEAD)
    except OSError:
        return 0.0
    return 0.9 if _ROOT.search(head) and _MARKS.search(head) else 0.0


def find_files(folder: Path) -> list[Path]:
    """The XML files of a dataset's folder: `annotations.xml`, or one for each split."""
    files = entries(folder, (".xml",))
    main = [path for path in files if path.name == "annotations.xml"]
    return main or [path for path in files[:_MANY] if len(files) == 1 or _score(path) > 0]


def split_of(file: Path, alone: bool) -> str:
    """The split of images that do not say theirs, from the file's name: as Datumaro writes it."""
    stem = file.stem
    return stem if _SPLIT.fullmatch(stem) or not (alone or stem == "annotations") else ""


def image_folders(split: str) -> tuple[str, ...]:
    """Where the images of a split may be, relative to the file, the likeliest first."""
    named = (f"images/{split}", split) if split else ()
    return (*named, "images", "")
