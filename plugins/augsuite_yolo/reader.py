"""YOLO label files to tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, UNREAD, Annotations, Categories, Dataset, Images, Intake
from augsuite.dataset.archives import ArchivePath
from augsuite.dataset.files import read_bytes, read_sizes
from augsuite.dataset.parallel import mapped
from augsuite.dataset.progress import advance
from augsuite.errors import DataError
from augsuite_yolo import config as configs
from augsuite_yolo.labels import Objects, parse
from augsuite_yolo.listing import list_images
from augsuite_yolo.tree import Listing, Tree

_BATCH = 4096  # files
_LARGEST_FRACTION = 2  # beyond it a number is hardly a fraction of the image


@dataclass(frozen=True)
class _Batch:
    """Some images, for one process."""

    root: Path
    labels: list[str]
    unsized: dict[int, str]
    classes: int | None
    keypoints: int


@dataclass(frozen=True)
class _Read:
    objects: Objects
    unread: dict[int, str]
    sizes: dict[int, tuple[int, int]]
    broken: dict[int, str]


def read(path: Path, intake: Intake) -> Dataset:
    """Read a folder of YOLO labels, or the dataset of a `data.yaml` or `obj.data`.

    Boxes stay as they are in the files: centre, width and height as fractions. A polygon becomes the extra `segmentation` in pixels, and
    the box around it; a confidence the extra `score`. The keypoints of a pose dataset (`kpt_shape`) are kept as `yolo.keypoints`, as
    written; keys of `data.yaml` that say something else as `yolo.yaml`. Sizes come from the headers of the image files.

    Args:
        path: the folder or file.
        intake: takes what is invalid or surprising.

    Raises:
        DataError: in one line: file, line, what was expected, what was found.
    """
    config = configs.find(path, intake)
    listing = list_images(config, intake)
    if config.names is None and path.is_dir():
        config.names = _far_names(listing.tree)
    if not listing.names:
        raise DataError(f"{path}: no images and no label files. Name the folder that holds data.yaml or `labels`.")
    batches = list(_batches(listing, config))
    parts = []
    for batch, part in zip(batches, mapped(_read_batch, batches), strict=True):
        parts.append(part)
        advance("reading", len(batch.labels), len(listing.names))
    return _dataset(config, listing, parts, intake)


def _far_names(tree: Tree) -> list[str] | None:
    """The names from a list that stands with the labels, as LabelImg leaves it."""
    for folder in tree.walk("", depth=2):
        for name in configs.NAMES_FILES:
            if name in tree.files(folder):
                return configs.read_names(tree.root / folder / name)
    return None


def _batches(listing: Listing, config: configs.Config) -> Iterator[_Batch]:
    classes = None if config.names is None else len(config.names)
    for start in range(0, len(listing.names), _BATCH):
        rows = slice(start, start + _BATCH)
        unsized = {
            row: file
            for row, (file, size) in enumerate(zip(listing.files[rows], listing.sizes[rows], strict=True))
            if file and not all(size)
        }
        yield _Batch(listing.tree.root, listing.labels[rows], unsized, classes, config.keypoints)


def _read_batch(batch: _Batch) -> _Read:
    root = batch.root if isinstance(batch.root, ArchivePath) else None
    texts, unread = [], {}
    for row, label in enumerate(batch.labels):
        try:
            # A string costs less than a Path; in an archive, only a Path leads there at once.
            texts.append(read_bytes(root / label if root else f"{batch.root}/{label}") if label else b"")
        except DataError as error:
            texts.append(b"")
            unread[row] = str(error)
    sizes, broken = {}, {}
    found = read_sizes([batch.root / file for file in batch.unsized.values()])
    for row, size in zip(batch.unsized, found, strict=True):
        if isinstance(size, DataError):
            broken[row] = str(size)
        else:
            sizes[row] = size
    return _Read(parse(texts, batch.classes, batch.keypoints), unread, sizes, broken)


def _dataset(config: configs.Config, listing: Listing, parts: list[_Read], intake: Intake) -> Dataset:
    root = config.root
    sizes = np.array(listing.sizes, np.int64).reshape(-1, 2)
    total = sum(len(part.objects.files) + len(part.objects.problems) for part in parts)
    for number, part in enumerate(parts):
        first = number * _BATCH
        for problem in part.unread.values():
            if not intake.skip_invalid:
                raise DataError(f"{problem} Or pass --skip-invalid to read its image without boxes.")
            intake.skipped.append(problem)
        for row, problem in part.broken.items():
            if not intake.skip_invalid:
                raise DataError(f"{problem} Or pass --skip-invalid to read its labels without its size.")
            intake.note(f"{problem} Its size is not known.")
            sizes[first + row] = 0
        for row, size in part.sizes.items():
            sizes[first + row] = size
        for row, line, problem in part.objects.problems:
            intake.reject(f"{root / listing.labels[first + row]}: line {line}", problem, total)
    image_rows = np.concatenate([part.objects.files + number * _BATCH for number, part in enumerate(parts)])
    boxes = np.concatenate([part.objects.boxes for part in parts])
    classes = np.concatenate([part.objects.classes for part in parts])
    names = config.names
    if names is None:
        names = _numbered(classes, root, intake)
    if large := int((boxes > _LARGEST_FRACTION).any(axis=1).sum()):
        intake.note(
            f"{root}: {large:,} boxes have numbers above {_LARGEST_FRACTION}; YOLO's are fractions of the image"
        )
    extra, task = _extra(config, parts, sizes[image_rows], intake)
    if unlabelled := sum(map(bool, listing.files)) - sum(
        bool(file and label) for file, label in zip(listing.files, listing.labels, strict=True)
    ):
        intake.note(f"{root}: {unlabelled:,} images have no label file; they have no boxes")
    if missing := sum(not file for file in listing.files):
        intake.note(f"{root}: {missing:,} of {len(listing.files):,} images have no file")
    return Dataset(
        Images.of(listing.names, sizes, splits=listing.splits, files=listing.files),
        Categories.of(names),
        Annotations.of(image_rows, classes, boxes, Layout.CXCYWH_UNIT, extra=extra),
        root=root,
        extra={**({"yolo.yaml": config.rest} if config.rest else {}), **({"yolo.task": task} if task else {})},
    )


def _numbered(classes: NDArray[np.int64], root: Path, intake: Intake) -> list[str]:
    """Names for classes that nobody named."""
    count = int(classes.max(initial=-1)) + 1
    if count > configs.LARGEST_NUMBER:
        raise DataError(
            f"{root}: class {count - 1} cannot be right. Fix the label file, or list the names in data.yaml."
        )
    intake.note(f"{root}: no file names the classes; they are called by their numbers")
    return [str(number) for number in range(count)]


def _extra(
    config: configs.Config, parts: list[_Read], sizes: NDArray[np.int64], intake: Intake
) -> tuple[dict[str, NDArray[np.object_]], str]:
    """The extras of the objects, and the task that they are for: "" for boxes, `segment`, or `mixed` for both."""
    extra: dict[str, NDArray[np.object_]] = {}
    scores = np.concatenate([part.objects.scores for part in parts])
    if not np.isnan(scores).all():
        extra["score"] = _column(scores, ~np.isnan(scores))
    lengths = np.concatenate([np.diff(part.objects.starts) for part in parts])
    shaped = lengths > 0
    if not shaped.any():
        return extra, ""
    key = "yolo.keypoints" if config.keypoints else "segmentation"
    column = np.empty(len(lengths), object)
    column[:] = ABSENT
    known = np.ones(len(lengths), bool)
    if not intake.wanted(key):
        column[shaped] = UNREAD
    else:
        points = np.concatenate([part.objects.points for part in parts])
        if not config.keypoints:
            known = np.asarray((sizes > 0).all(axis=1))
            if lost := int((shaped & ~known).sum()):
                intake.note(f"{config.root}: {lost:,} polygons of images whose size is not known were read as boxes")
            points *= np.repeat(sizes, lengths // 2, axis=0).reshape(-1)
        listed = points.tolist()
        starts = np.cumsum(lengths) - lengths
        for row in np.flatnonzero(shaped & known).tolist():
            shape: list[Any] = listed[starts[row] : starts[row] + lengths[row]]
            column[row] = shape if config.keypoints else [shape]
    extra[key] = column
    return extra, "" if config.keypoints else "segment" if shaped.all() else "mixed"


def _column(values: NDArray[np.float64], said: NDArray[np.bool_]) -> NDArray[np.object_]:
    column = np.empty(len(values), object)
    column[:] = ABSENT
    column[said] = values[said]
    return column
