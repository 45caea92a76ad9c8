"""Where VOC files lie, and which split each image belongs to."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from augsuite.dataset import Intake
from augsuite.dataset.disk import scan
from augsuite.dataset.files import entries, is_image, natural, read_head, read_text, walk
from augsuite.dataset.split_folders import split_folders

IMAGE_FOLDERS = ("JPEGImages", "images", "")
_ANNOTATION_FOLDERS = ("Annotations", "annotations", "")
_HEAD = 1 << 16
_ROOT = re.compile(rb"<annotation[\s>]")  # not CVAT's <annotations>
_CLASS_LINE = re.compile(r"^\S.*\s(-1|0|1)$")


def detect(path: Path) -> float:
    """How sure a file or folder is VOC, by the root element of its first XML files."""
    if not path.is_dir():
        return _score(path)
    for folder in (path, *(path / name for name in _ANNOTATION_FOLDERS if name)):
        found = nsmallest(3, (name for name in scan(folder).files if _is_xml(name)))
        if found:
            return max(_score(folder / name) for name in found)
    files = find_files(path)
    if not files.names:
        return max(map(detect, split_folders(path)), default=0.0)
    return max((_score(files.folder / name) for name in files.names[:3]), default=0.0)


def _score(file: Path) -> float:
    if file.suffix.lower() != ".xml":
        return 0.0
    try:
        head = read_head(file, _HEAD)
    except OSError:
        return 0.0
    marks = (b"<filename", b"<object", b"<bndbox", b"<size")
    return 0.9 if _ROOT.search(head) and any(mark in head for mark in marks) else 0.0


@dataclass(frozen=True)
class Files:
    """The XML files of a dataset.

    Attributes:
        root: the dataset's folder.
        folder: that of the XML files.
        names: their paths in it, in natural order.
    """

    root: Path
    folder: Path
    names: list[str]

    @property
    def beside(self) -> str:
        """The folder of the XML files, relative to the root; "" for the root itself."""
        return "" if self.folder == self.root else self.folder.relative_to(self.root).as_posix()


def find_files(path: Path, depth: int | None = None) -> Files:
    """Find a dataset's XML files, those of subfolders too.

    Args:
        path: the dataset's folder, its folder of XML files, or one of them.
        depth: how many folders deep to look; None for all.
    """
    if path.is_file():
        folder = path.parent
        root = folder.parent if folder.name.lower() == "annotations" else folder
        return Files(root, folder, [path.name])
    if path.name.lower() == "annotations" and any(_is_xml(name) for name in scan(path).files):
        return Files(path.parent, path, _walk(path, depth))
    for name in _ANNOTATION_FOLDERS:
        names = _walk(path / name, depth) if name else [entry.name for entry in entries(path, (".xml",))]
        if names:
            return Files(path, path / name if name else path, names)
    return Files(path, path, [])


def _is_xml(name: str) -> bool:
    return name.lower().endswith(".xml") and not name.startswith(".")


def _walk(folder: Path, depth: int | None) -> list[str]:
    found = [
        f"{parent}/{name}" if parent else name
        for parent, names in walk(folder, depth)
        for name in names
        if _is_xml(name)
    ]
    return found if all("/" not in name for name in found) else sorted(found, key=natural)


def read_lists(root: Path, stems: Collection[str], intake: Intake) -> dict[str, str]:
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
    files = entries(root / "ImageSets" / "Main", (".txt",))
    files.sort(key=lambda path: path.stem == "trainval")
    splits: dict[str, str] = {}
    for file in files:
        lines = [line.strip() for line in read_text(file).splitlines()]
        names = [line for line in lines if line]
        marked = bool(names) and all(_CLASS_LINE.match(name) and name not in stems for name in names)
        if marked and "_" in file.stem:
            continue
        split = file.stem
        for line in names:
            name = line.rsplit(maxsplit=1)[0] if marked else line
            if name not in stems:
                plain = posixpath.splitext(name)[0]
                name = plain if plain in stems and is_image(name) else name
            known = splits.setdefault(name, split)
            if split not in (known, "trainval"):
                intake.note(f"{file}: images that are in {known} too stay there")
    return splits
