"""VOC files to tables."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake
from augsuite.dataset.disk import scan
from augsuite.dataset.files import Finder, inside, is_image, natural
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.parallel import mapped
from augsuite.dataset.progress import track
from augsuite.dataset.split_folders import read_splits, split_folders
from augsuite.errors import DataError
from augsuite_voc.coordinates import to_continuous
from augsuite_voc.found import Found
from augsuite_voc.layout import IMAGE_FOLDERS, Files, detect, find_files, read_lists
from augsuite_voc.scan import Task, read_files

_BATCH = 1024  # files


def read(path: Path, intake: Intake, origin: str = "1") -> Dataset:
    """Read a folder of VOC annotations, or one file.

    Objects marked `difficult` are ignored in training and evaluation. What the tables have no column for becomes an extra
    `voc.<tag>`: text, or a dictionary where an element holds others, a list where a tag is repeated.

    Args:
        path: the dataset's folder, its folder of XML files, or one of them.
        intake: takes what is invalid or surprising.
        origin: "1" for VOC's own corners; see `augsuite_voc.coordinates.to_continuous`.

    Raises:
        DataError: in one line: file, place, what was expected, what was found.
    """
    files = find_files(path)
    if not files.names:
        homes = [home for home in split_folders(path) if detect(home)]
        if homes:
            return _sorted(read_splits(homes, lambda home: read(home, intake, origin), intake))
        raise DataError(
            f"{path}: no XML file in Annotations/, annotations/ or the folder itself. Name the folder that has them."
        )
    root = files.root
    stems = [name[: -len(".xml")] for name in files.names]
    read_stems = frozenset(stems)
    splits = read_lists(root, read_stems, intake)
    finder = Finder(root, tuple(dict.fromkeys((*IMAGE_FOLDERS, files.beside))), allow_outside=intake.allow_outside)
    tasks = [Task(files.folder, files.names[first : first + _BATCH], intake) for first in range(0, len(stems), _BATCH)]
    found, valid = Found(), []
    for result in track(mapped(read_files, tasks), "reading", len(tasks)):
        found.extend(result.found)
        valid += result.valid
        intake.skipped += result.skipped
    stems = [stem for stem, is_valid in zip(stems, valid, strict=True) if is_valid]
    images = _Images()
    kept = _add_images(images, files, stems, found.said, splits, finder, intake)
    for stem in sorted(splits.keys() - read_stems, key=natural) if path.is_dir() else ():
        place = finder.look(stem, stem=True)
        if place is None:
            intake.reject(
                f"{root / 'ImageSets/Main'}: {stem!r}",
                "the name leads outside the dataset's folder. Rename it, or pass --allow-outside if you trust the file",
            )
            continue
        intake.note(f"{root}: images of ImageSets/Main have no XML file; they have no boxes")
        images.add(_shortened(place) if inside(place) else stem, place, splits[stem])
    if finder.missing:
        intake.note(f"{root}: {finder.missing:,} of {len(images.names):,} images have no file")
    return _dataset(images, found, kept, root, int(origin), intake)


def _sorted(data: Dataset) -> Dataset:
    """The dataset with its classes in the order that all of them together have in one folder."""
    names = data.categories.names.tolist()
    order = sorted(range(len(names)), key=lambda row: natural(names[row]))
    return replace(
        data,
        categories=Categories.of(names[row] for row in order),
        annotations=replace(data.annotations, category_rows=np.argsort(order)[data.annotations.category_rows]),
    )


class _Images:
    """Columns of the images."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.files: list[str] = []
        self.splits: list[str] = []

    def add(self, name: str, file: str, split: str) -> None:
        self.names.append(name)
        self.files.append(file)
        self.splits.append(split)


def _add_images(
    images: _Images,
    files: Files,
    stems: list[str],
    said: list[str],
    splits: dict[str, str],
    finder: Finder,
    intake: Intake,
) -> NDArray[np.bool_]:
    """Find the image of each XML file; which could be."""
    kept = np.ones(len(stems), bool)
    nothing = _holds_no_images(finder)
    for row, (stem, name) in enumerate(zip(stems, said, strict=True)):
        split = splits.get(stem, "")
        if nothing and name.startswith(stem) and name[len(stem) :].lower() in SUFFIXES and "/" not in stem:
            finder.missing += 1
            images.add(name, "", split)
            continue
        try:
            images.add(*_find_image(f"{files.folder}/{stem}.xml", name, stem, finder, intake), split)
        except DataError as error:
            if not intake.skip_invalid:
                raise
            intake.skipped.append(str(error))
            kept[row] = False
    return kept


def _holds_no_images(finder: Finder) -> bool:
    """Whether no folder that is looked into holds an image, so that nobody need look for each."""
    return not any(is_image(name) for folder in finder.folders for name in scan(finder.root / folder).files)


def _plain(name: str) -> str:
    """A file's name without the suffix of an image."""
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in SUFFIXES else name


def _dataset(
    images: _Images, found: Found, kept: NDArray[np.bool_], root: Path, origin: int, intake: Intake
) -> Dataset:
    counts = np.asarray(found.counts)
    boxes = np.asarray(found.corners).reshape(-1, 4)  # the memory of what was found: no copy
    outside = int((boxes[:, :2] < 1).any(axis=1).sum())
    to_continuous(boxes, origin)
    labels = np.asarray(found.labels)
    ignore = np.asarray(found.ignore).astype(bool)
    image_rows = np.repeat(np.arange(len(counts)), counts)
    extra = {f"voc.{key}": values for key, values in found.extra.columns(len(labels)).items()}
    image_extra = {f"voc.{key}": values for key, values in found.image_extra.columns(len(counts)).items()}
    if not kept.all():
        rows = np.flatnonzero(kept[image_rows])
        image_rows = (np.cumsum(kept) - 1)[image_rows[rows]]
        boxes, labels, ignore = boxes[rows], labels[rows], ignore[rows]
        extra = {key: values[rows] for key, values in extra.items()}
        image_extra = {key: values[kept] for key, values in image_extra.items()}
    without_file = len(images.names) - int(kept.sum())
    if without_file:
        nothing = np.full(without_file, ABSENT, object)
        image_extra = {key: np.concatenate([values, nothing]) for key, values in image_extra.items()}
    sizes = np.zeros((len(images.names), 2), np.int64)
    sizes[: int(kept.sum())] = np.asarray(found.sizes).reshape(-1, 2)[kept]
    if origin and outside:
        intake.note(
            f"{root}: {outside:,} boxes begin before pixel 1, VOC's first; if they count from 0, pass --option origin=0"
        )
    if flat := int((boxes[:, 2:] <= boxes[:, :2]).any(axis=1).sum()):
        intake.note(f"{root}: {flat:,} boxes have no area")
    numbers = list(found.classes)
    used = np.unique(labels).tolist()
    classes = sorted((numbers[number] for number in used), key=natural)
    place = {name: row for row, name in enumerate(classes)}
    category_rows = np.array([place.get(name, -1) for name in numbers], np.int64)
    return Dataset(
        Images.of(images.names, sizes, splits=images.splits, files=images.files, extra=image_extra),
        Categories.of(classes),
        Annotations.of(image_rows, category_rows[labels], boxes, Layout.XYXY_PX, ignore=ignore, extra=extra),
        root=root,
    )


def _find_image(file: str, said: str, stem: str, finder: Finder, intake: Intake) -> tuple[str, str]:
    """The image's name, and its file or "".

    VOC's own tools go by the XML file's name, and so do we where an image of that name exists; `filename` counts otherwise.
    """
    plain = _plain(said)
    if said and plain in {stem, posixpath.basename(stem)}:
        found = finder.look(posixpath.join(posixpath.dirname(stem), said) if plain != stem else said)
        if found:
            return _shortened(found), found
    found = finder.look(stem, stem=True)
    if found:
        if said:
            intake.note(
                f"{posixpath.dirname(file)}: `filename` differs from the image of the XML file's own name, which was taken"
            )
        return _shortened(found), found
    if not said:
        finder.missing += 1
        return f"{stem}.jpg", ""
    nested = posixpath.join(posixpath.dirname(stem), said) if plain == posixpath.basename(stem) else said
    try:
        found = finder.find(nested)
    except DataError as error:
        raise DataError(f"{file}: filename: {error}.") from error
    found = found or finder.look(said, stem=True) or ""
    if plain != posixpath.basename(stem):
        intake.note(f"{posixpath.dirname(file)}: `filename` differs from the XML file's own name")
    return (_shortened(found) if inside(found) else nested), found


def _shortened(found: str) -> str:
    """The path within its folder of images."""
    for folder in IMAGE_FOLDERS:
        if folder and found.startswith(f"{folder}/"):
            return found.removeprefix(f"{folder}/")
    return found
