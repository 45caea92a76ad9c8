"""Tables to VOC files: `Annotations/`, `JPEGImages/` and `ImageSets/Main/`."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import ne
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset import Dataset
from augsuite.dataset.files import inside, plain, unique
from augsuite.dataset.parallel import mapped
from augsuite.dataset.progress import advance
from augsuite.dataset.tables import Extra
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_voc.coordinates import from_continuous
from augsuite_voc.markup import PREFIX, Batch, write_batch

_BATCH = 2048  # images


def write(data: Dataset, folder: Path, losses: Losses) -> Sequence[str]:
    """Write one XML file per image, the lists of splits, and say where the images belong.

    Corners are 1-based and inclusive, whole numbers written without a point. An ignored annotation is `difficult`. Where both
    `train` and `val` exist, `trainval` is written too, as the devkit has it.
    """
    given = data.images.names.tolist()
    names = [_safe(name) for name in given]
    own = [_stem(name) for name in names]
    stems = unique(own)
    placed = (
        names if stems == own else [stem + name[len(_stem(name)) :] for stem, name in zip(stems, names, strict=True)]
    )
    losses["image names"] += sum(map(ne, placed, given))
    home = folder / "Annotations"
    for parent in {posixpath.dirname(stem) for stem in stems}:
        (home / parent).mkdir(parents=True, exist_ok=True)
    _write_splits(folder, stems, data.images.splits.tolist())
    batches = _batches(data, str(home), stems, placed)
    for lost in mapped(write_batch, batches):
        losses.update(lost)
    return [f"JPEGImages/{name}" for name in placed]


def _batches(data: Dataset, home: str, stems: list[str], placed: list[str]) -> Iterator[Batch]:
    """The images in batches, each with all that is needed to write them in another process."""
    images, table = data.images, data.annotations
    corners = from_continuous(data.boxes())
    order = np.argsort(table.image_rows, kind="stable")
    counts = np.bincount(table.image_rows, minlength=len(images))
    starts = np.concatenate([[0], np.cumsum(counts)])
    for first in range(0, len(images), _BATCH):
        last = min(first + _BATCH, len(images))
        rows = order[starts[first] : starts[last]]
        yield Batch(
            home,
            stems[first:last],
            [posixpath.basename(name) for name in placed[first:last]],
            images.sizes[first:last],
            counts[first:last],
            corners[rows],
            data.categories.names,
            table.category_rows[rows],
            table.ignore[rows],
            _own(images.extra, slice(first, last)),
            _own(table.extra, rows),
        )
        advance("writing", last - first, len(images))


def _own(extra: Extra, rows: Any) -> dict[str, NDArray[np.object_]]:
    return {key.removeprefix(PREFIX): values[rows] for key, values in extra.items() if key.startswith(PREFIX)}


def _safe(name: str) -> str:
    path = inside(name)
    if path is None:
        raise DataError(f"image {name!r} would be written outside the output. Rename it.")
    return path


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]


def _write_splits(folder: Path, stems: list[str], splits: list[str]) -> None:
    members: dict[str, list[str]] = defaultdict(list)
    for stem, split in zip(stems, splits, strict=True):
        if split:
            members[plain(split, "split")].append(stem)
    if {"train", "val"} <= members.keys() and "trainval" not in members:
        members["trainval"] = [stem for stem, split in zip(stems, splits, strict=True) if split in {"train", "val"}]
    if members:
        (folder / "ImageSets" / "Main").mkdir(parents=True)
    for split, listed in members.items():
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(
            "".join(f"{stem}\n" for stem in listed), encoding="utf-8"
        )
