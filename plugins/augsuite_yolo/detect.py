"""Whether a path holds YOLO."""

from __future__ import annotations

import codecs
from pathlib import Path

from augsuite.dataset.files import is_image, read_head, scan
from augsuite_yolo.config import NAMES_FILES, find_file, is_sheet

_LOOK = 8  # text files
_ENTRIES = 400  # of a folder, in the hope of a label file among them
_DEPTH = 3


def detect(path: Path) -> float:
    """How sure a file or folder is YOLO: by its configuration, else by the first label files."""
    if path.is_file():
        return _score(path)
    file = find_file(path) if path.is_dir() else None
    if file is not None and file.suffix in {".yaml", ".yml"}:
        return 0.95 if is_sheet(file) else 0.3
    labels, images = _labels(path)
    if file is not None and (labels or file.suffix == ".data"):
        return 0.85
    return (0.6 if images else 0.4) if labels else 0.0


def _score(file: Path) -> float:
    if file.suffix in {".yaml", ".yml"}:
        return 0.95 if is_sheet(file) else 0.0
    if file.suffix == ".data":
        return 0.5
    return 0.5 if file.name in NAMES_FILES or file.suffix == ".names" else 0.0


def _labels(root: Path) -> tuple[bool, bool]:
    """Whether the first text files are labels, and whether there are images."""
    found, images, looked = False, False, 0
    waiting = [(root, 0)]
    while waiting and not (looked >= _LOOK and images):
        folder, depth = waiting.pop()
        listed = scan(folder)
        texts = [name for name in listed.files if name.endswith(".txt") and name not in NAMES_FILES]
        for name in sorted(texts[:_ENTRIES])[: _LOOK - looked]:
            said = _is_label(folder / name)
            looked += said is not None
            found = found or bool(said)
        images = images or any(is_image(name) for name in listed.files[:_ENTRIES])
        if depth < _DEPTH:
            waiting.extend((folder / name, depth + 1) for name in sorted(listed.folders)[:8])
    return found, images


def _is_label(file: Path) -> bool | None:
    """Whether the first line is that of an object; None for an empty file."""
    try:
        head = read_head(file, 1 << 12)
    except OSError:
        return False
    line, _, _ = head.removeprefix(codecs.BOM_UTF8).strip().partition(b"\n")
    words = line.split()
    if not words:
        return None
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        return False
    return words[0].isdigit() and len(values) >= 4 and all(-2 < value < 3 for value in values[:4])
