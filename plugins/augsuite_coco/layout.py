"""Where COCO files lie, what split each is, and where their images are."""

from __future__ import annotations

import re
from pathlib import Path

from augsuite.dataset.files import entries, folders, read_head

_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"file_name"', b'"image_id"', b'"bbox"')
_HEAD = 1 << 16
_KIND = re.compile(r"^(instances|person_keypoints|captions|stuff|panoptic|image_info)(?:_|$)")
_SPLIT = re.compile(
    r"^(train|val|valid|validation|test|minitrain|minival|trainval|dev)(-?dev|-?challenge)?[0-9]*$", re.IGNORECASE
)
_MANY = 1000  # a dataset in COCO has a few; so many are of another format
_GENERIC = "_annotations.coco"


def detect(path: Path) -> float:
    """How sure a file or folder is COCO, by the keys at the head and tail of its JSON files."""
    if path.is_dir():
        files = find_files(path)[:4]
        named = any(file.stem == _GENERIC or file.stem.startswith("instances_") for file in files)
        return max((_score(file) for file in files), default=0.0) or 0.2 * named
    return _score(path) or 0.2 if path.suffix.lower() == ".json" else 0.0  # let the reader say what is wrong with it


def _score(file: Path) -> float:
    try:
        text = read_head(file, _HEAD)
        with file.open("rb") as opened:
            size = file.stat().st_size
            if size > _HEAD:
                opened.seek(max(_HEAD, size - _HEAD))
                text += opened.read(_HEAD)
    except OSError:
        return 0.0
    found = sum(key in text for key in _KEYS)
    return 0.0 if found < 2 else 0.9


def find_files(folder: Path) -> list[Path]:
    """The annotation files of a dataset's folder; where COCO's own families lie side by side, only the boxes'.

    Three layouts are known: `annotations/*.json`, one folder per split with a JSON file beside its images, and JSON files in the
    folder itself.
    """
    files = _json(folder / "annotations")
    if not files:
        files = [file for sub in folders(folder) for file in _beside_images(sub)]
    if not files:
        files = _json(folder)
    if len(files) > _MANY:
        return files
    for kind in ("instances", "person_keypoints"):
        chosen = [file for file in files if _KIND.match(file.stem) and file.stem.startswith(kind)]
        if chosen:
            files = chosen
            break
    if any(not file.stem.startswith("results") for file in files):
        files = [file for file in files if not file.stem.startswith("results")]
    return sorted(files, key=_rank)  # stable: train before val before test, others as they came


def _rank(file: Path) -> int:
    split = split_of(file, alone=False).lower()
    return next((rank for rank, name in enumerate(("train", "val", "test")) if split.startswith(name)), 3)


def _json(folder: Path) -> list[Path]:
    return entries(folder, (".json",))


def _beside_images(folder: Path) -> list[Path]:
    files = _json(folder)
    return [file for file in files if file.stem == _GENERIC] or [file for file in files[:_MANY] if _score(file) > 0]


def split_of(file: Path, alone: bool) -> str:
    """The split that a file holds, from its name or its folder's.

    Args:
        file: the annotation file.
        alone: it is the only one of the dataset, so that it needs no split to be told from others.
    """
    stem = file.stem
    if _KIND.match(stem):
        return _KIND.sub("", stem)
    if _SPLIT.match(stem):
        return stem
    folder = file.resolve().parent.name
    if _SPLIT.match(folder) or (stem == _GENERIC and not alone):
        return folder
    return "" if alone else stem


def root_of(file: Path) -> Path:
    """The dataset's folder, given one annotation file."""
    parent = file.parent
    if parent.name == "" or parent == Path():
        parent = parent.resolve()
    return parent.parent if parent.name == "annotations" else parent


def image_folders(root: Path, file: Path, split: str) -> list[str]:
    """Where the images of a file may be, relative to the root, the likeliest first."""
    beside = file.resolve().parent
    own = beside.relative_to(root.resolve()).as_posix() if beside.is_relative_to(root.resolve()) else ""
    own = "" if own in {".", "annotations"} else own
    named = [f"images/{split}", split, f"train/{split}"] if split else []
    return list(dict.fromkeys([own, *named, "images", "", "data"] if own else [*named, "images", "", "data"]))
