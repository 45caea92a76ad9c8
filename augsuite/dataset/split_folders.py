"""A folder for each split, each a dataset of its own, as Roboflow exports VOC and CSV: `train/`, `valid/`, `test/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from augsuite.dataset.archives import at
from augsuite.dataset.checks import Intake
from augsuite.dataset.disk import folders
from augsuite.dataset.merging import merge
from augsuite.dataset.tables import Dataset

_SPLIT = re.compile(
    r"(train|training|val|valid|validation|test|testing|minitrain|minival|trainval|dev)(-?dev|-?challenge)?[0-9]*",
    re.IGNORECASE,
)


def is_split(name: str) -> bool:
    """Whether a folder is called like a split: `train`, `valid`, `val2017`."""
    return _SPLIT.fullmatch(name) is not None


def split_folders(path: Path) -> list[Path]:
    """The folders in a folder that are called like splits, in natural order."""
    return [folder for folder in folders(path) if is_split(folder.name)]


def read_splits(homes: Sequence[Path], read: Callable[[Path], Dataset], intake: Intake) -> Dataset:
    """One dataset of several folders, each of which is a split, whatever is said of splits in it.

    Args:
        homes: the folders, at least one.
        read: reads one of them.
        intake: takes what changed; see `augsuite.dataset.merging.merge`.
    """
    names = [home.name for home in homes]
    data = merge([read(home) for home in homes], splits=names, labels=names, intake=intake)
    return replace(data, root=at(data.root))
