"""Tables to LabelMe files: one beside each image, in a folder per split; `labels.txt` and `flags.txt` name the classes."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from augsuite.dataset import Dataset
from augsuite.dataset.files import inside, unique
from augsuite.dataset.parallel import mapped
from augsuite.dataset.progress import advance
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_labelme.layout import FLAGS, LABELS, SPECIAL, SUFFIX, is_split
from augsuite_labelme.shapes import Shapes

_BATCH = 2000  # images
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class _Job(msgspec.Struct):
    """Images to write: all rows of `data`, to the files named."""

    data: Dataset
    folder: str
    stems: list[str]
    images: list[str]


def write(data: Dataset, folder: Path, losses: Losses) -> Sequence[str]:
    """Write one JSON file per image, and say that the image belongs beside it.

    `imageData` is null. Labels of whole images are flags of the file that are set. The parts of an object are polygons of one group; an
    object whose box is not the extent of its polygon or mask has the key `box_xyxy`, which LabelMe carries along.
    """
    splits = data.images.splits.tolist()
    names = [_safe(name) for name in data.images.names.tolist()]
    homes = [f"{split}/" if is_split(split) else "" for split in splits]
    stems = unique(home + posixpath.splitext(name)[0] for home, name in zip(homes, names, strict=True))
    placed = [stem + posixpath.splitext(name)[1] for stem, name in zip(stems, names, strict=True)]
    for path, home, split, old in zip(placed, homes, splits, data.images.names.tolist(), strict=True):
        first, below, rest = path.partition("/")
        moved = not home and below and is_split(first)  # the folder of an image without a split will be read as one
        losses["splits"] += bool(moved or (split and not home))
        losses["image names"] += (rest if moved else path[len(home) :]) != old
    for parent in sorted({posixpath.dirname(stem) for stem in stems}):
        (folder / parent).mkdir(parents=True, exist_ok=True)
    jobs = (
        _Job(
            data.take(np.arange(first, min(first + _BATCH, len(data)))),
            str(folder),
            stems[first : first + _BATCH],
            [posixpath.basename(path) for path in placed[first : first + _BATCH]],
        )
        for first in range(0, len(data), _BATCH)
    )
    for count, lost in mapped(_write, jobs):
        losses.update(lost)
        advance("writing", count, len(data))
    _write_lists(data, folder, losses)
    return placed


def _safe(name: str) -> str:
    path = inside(name)
    if path is None:
        raise DataError(f"image {name!r} would be written outside the output. Rename it.")
    return "/".join(f"_{part[1:]}" if part.startswith(".") else part for part in path.split("/"))  # hidden: not read


def _write(job: _Job) -> tuple[int, Losses]:
    losses = Losses()
    shapes = Shapes(job.data, losses)
    encode = msgspec.json.Encoder().encode
    for row, stem in enumerate(job.stems):
        text = encode(shapes.file(row, job.images[row]))
        descriptor = os.open(f"{job.folder}/{stem}{SUFFIX}", _FLAGS, 0o666)
        try:
            left = memoryview(text)
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)
    return len(job.stems), losses


def _write_lists(data: Dataset, folder: Path, losses: Losses) -> None:
    """The classes, for `labelme --labels labels.txt --flags flags.txt`."""
    special = data.extra.get("labelme.special_labels", [])
    names = data.categories.names.tolist()
    table = data.annotations
    used = np.bincount(table.category_rows, minlength=len(names)) > 0
    fits = [name == name.strip() and name.splitlines() == [name] and name not in SPECIAL for name in names]
    losses["unused categories"] += sum(not (fit or use) for fit, use in zip(fits, used, strict=True))
    lines = [
        *(special if isinstance(special, list) else ()),
        *(name for name, fit in zip(names, fits, strict=True) if fit),
    ]
    if lines:
        (folder / LABELS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    flags = [names[row] for row in np.unique(table.category_rows[~table.is_box]) if fits[row]]
    if flags:
        (folder / FLAGS).write_text("".join(f"{line}\n" for line in flags), encoding="utf-8", newline="\n")
