"""The names of OpenImages' files.

Source: storage.googleapis.com/openimages/web/download_v7.html, "Dense annotations over 1.9M images" and "Image IDs".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from augsuite.dataset.files import entries

_NAME = re.compile(
    r"(?:oidv\d+-)?(?P<split>.*?)-?(?:"
    r"(?P<boxes>annotations-bbox)|(?P<labels>annotations-(?:human|machine)-imagelabels(?:-boxable)?)"
    r"|(?P<images>images(?:-with-labels|-boxable)?(?:-with-rotation)|image_ids_and_rotation)"
    r"|(?P<classes>class-descriptions(?:-boxable)?))\.csv"
)


class File(NamedTuple):
    """One file: what it holds (`boxes`, `labels`, `images`, `classes`), and the split that its name says."""

    path: Path
    kind: str
    split: str


def find_files(path: Path) -> list[File]:
    """The files of a folder, or of its `annotations` folder; or the file named, with the descriptions of classes beside it."""
    if not path.is_dir():
        own = _of(path)
        beside = [file for file in _listed(path.parent) if file.kind == "classes"] if own else []
        return [*([own] if own and own.kind != "classes" else []), *beside] if own else []
    return _listed(path) or _listed(path / "annotations")


def _listed(folder: Path) -> list[File]:
    files = [file for entry in entries(folder, (".csv",)) if (file := _of(entry)) is not None]
    return sorted(files, key=lambda file: file.split)  # `oidv6-train-...` where `train-...` stands


def _of(path: Path) -> File | None:
    found = _NAME.fullmatch(path.name)
    if found is None or not path.is_file():
        return None
    kind = next(kind for kind in ("boxes", "labels", "images", "classes") if found[kind])
    return File(path, kind, found["split"].removeprefix("annotations").strip("-"))


def detect(path: Path) -> float:
    """How sure a path is OpenImages, by the names of its files."""
    kinds = {file.kind for file in find_files(path)}
    if "boxes" in kinds or "labels" in kinds:
        return 0.95
    return 0.9 if "images" in kinds else 0.0
