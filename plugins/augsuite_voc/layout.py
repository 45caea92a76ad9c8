"""Where VOC files lie, and which split each image belongs to."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from pathlib import Path

from augsuite.dataset import Intake
from augsuite.dataset.files import entries, is_image, natural, read_head, read_text, walk

IMAGE_FOLDERS = ("JPEGImages", "images", "")
_ANNOTATION_FOLDERS = ("Annotations", "annotations", "")
_HEAD = 1 << 16
_ROOT = re.compile(rb"<annotation[\s>]")  # not CVAT's <annotations>
_CLASS_LINE = re.compile(r"^\S.*\s(-1|0|1)$")


def detect(path: Path) -> float:
    """How sure a file or folder is VOC, by the root element of its first XML files."""
    files = find_files(path)[1][:3] if path.is_dir() else [path]
    return max((_score(file) for file in files), default=0.0)


def _score(file: Path) -> float:
    if file.suffix.lower() != ".xml":
        return 0.0
    try:
        head = read_head(file, _HEAD)
    except OSError:
        return 0.0
    marks = (b"<filename", b"<object", b"<bndbox", b"<size")
    return 0.9 if _ROOT.search(head) and any(mark in head for mark in marks) else 0.0


def find_files(path: Path) -> tuple[Path, list[Path]]:
    """The dataset's root and its XML files, those of subfolders too, in natural order."""
    if path.is_file():
        folder = path.parent
        return (folder.parent if folder.name.lower() == "annotations" else folder), [path]
    if path.name.lower() == "annotations" and any(_is_xml(entry.name) for entry in entries(path)):
        return path.parent, _walk(path)
    for name in _ANNOTATION_FOLDERS:
        files = _walk(path / name) if name else [entry for entry in entries(path) if _is_xml(entry.name)]
        if files:
            return path, files
    return path, []


def annotation_folder(root: Path, file: Path) -> Path:
    """The folder that image sets are relative to."""
    for name in _ANNOTATION_FOLDERS:
        if file.is_relative_to(root / name):
            return root / name
    return file.parent


def _is_xml(name: str) -> bool:
    return name.lower().endswith(".xml") and not name.startswith(".")


def _walk(folder: Path) -> list[Path]:
    found = [
        f"{parent}/{name}" if parent else name for parent, names in walk(folder) for name in names if _is_xml(name)
    ]
    return [folder / name for name in sorted(found, key=natural)]


def read_splits(root: Path, stems: Collection[str], intake: Intake) -> dict[str, str]:
    """Image name without suffix -> split, from `ImageSets/Main/*.txt`.

    An image in `train` or `val` and in `trainval` belongs to the former. The lists of one class each (`cat_train.txt`, whose lines
    end in -1, 0 or 1) are left aside; such a mark in another list, and the suffix of an image, are no part of the name.

    Args:
        root: the dataset's folder.
        stems: the names that have an XML file.
        intake: takes what is surprising.

    Raises:
        DataError: if a list cannot be read.
    """
    files = [path for path in entries(root / "ImageSets" / "Main") if path.suffix == ".txt"]
    files.sort(key=lambda path: path.stem == "trainval")
    splits: dict[str, str] = {}
    for file in files:
        lines = [line.strip() for line in read_text(file).splitlines()]
        names = [line for line in lines if line]
        marked = bool(names) and all(_CLASS_LINE.match(name) and name not in stems for name in names)
        if marked and "_" in file.stem:
            continue
        for line in names:
            name = line.rsplit(maxsplit=1)[0] if marked else line
            plain = posixpath.splitext(name)[0]
            name = plain if name not in stems and plain in stems and is_image(Path(name)) else name
            known = splits.setdefault(name, file.stem)
            if file.stem not in {known, "trainval"}:
                intake.note(f"{file}: images that are in {known} too stay there")
    return splits
