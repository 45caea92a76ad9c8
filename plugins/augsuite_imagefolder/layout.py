"""Where metadata files lie, and which split each belongs to.

Source: huggingface.co/docs/datasets/image_dataset#imagefolder.
"""

from __future__ import annotations

from pathlib import Path

from augsuite.dataset.files import folders, read_head

NAMES = ("metadata.jsonl", "metadata.csv")
SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "valid", "val": "val", "dev": "dev", "test": "test", "testing": "test"}  # fmt: skip
_HEAD = 1 << 12


def find_files(path: Path) -> list[tuple[Path, str]]:
    """Metadata files and their splits: of the folder itself, of the folders in it, and of `data/<split>/`."""
    if not path.is_dir():
        return [(path, SPLITS.get(path.parent.name, ""))] if path.name in NAMES and path.is_file() else []
    own = _own(path)
    if own:
        return [(own, SPLITS.get(path.name, ""))]
    for folder in (path, path / "data"):
        found = [(file, below.name) for below in folders(folder) if (file := _own(below))]
        if found:
            return found
    return []


def _own(folder: Path) -> Path | None:
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def detect(path: Path) -> float:
    """How sure a path holds metadata of images, by its head."""
    files = find_files(path)
    try:
        return 0.9 if files and b"file_name" in read_head(files[0][0], _HEAD) else 0.0
    except OSError:
        return 0.0
