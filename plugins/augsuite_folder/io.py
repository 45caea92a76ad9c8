"""A folder per class, as `torchvision.datasets.ImageFolder` reads it: the folder's name is the label of the images in it."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from augsuite.dataset import Annotations, Categories, Dataset, Images, Intake
from augsuite.dataset.files import folders, inside, is_image, natural, plain, scan, unique, walk
from augsuite.dataset.split_folders import is_split
from augsuite.errors import DataError
from augsuite.protocols import Losses

_NO_CLASS = frozenset(
    {"images", "jpegimages", "annotations", "labels", "masks", "segmentationclass", "segmentationobject"}
)
_UNSPLIT = "unsplit"


def detect(path: Path) -> float:
    """How sure a folder is one of classes: images lie in two folders or more, none of which is named as another format's, and not all as splits."""
    if not path.is_dir():
        return 0.0
    splits = _splits(path)
    folders = [folder for _, home in splits for folder in _folders(home)]
    names = {folder.name.lower() for folder in folders} | {split.lower() for split, _ in splits}
    filled = {folder.name for folder in folders if _has_images(folder)}
    if not filled or names & _NO_CLASS or all(map(is_split, filled)):
        return 0.0
    if any(scan(folder).files and folder.name not in filled for folder in folders):
        return 0.0  # files that are no images say more than the names of the folders: `imgs` beside `xmls`
    return 0.5 if len(filled) > 1 else 0.3


def read(path: Path, intake: Intake) -> Dataset:
    """Read `<class>/*` or `<split>/<class>/*`.

    Classes are sorted by name, as torchvision sorts them; an empty folder is a class without images. An image's name is its path
    within the split, so it starts with its class. Sizes are not read.

    Raises:
        DataError: if the folder holds no folder with images.
    """
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder with one folder per class, got a file. Name the folder.")
    splits = _splits(path)
    classes = sorted({folder.name for _, home in splits for folder in _folders(home)})
    rows = {name: row for row, name in enumerate(classes)}
    names: list[str] = []
    labels: list[int] = []
    image_splits: list[str] = []
    files: list[str] = []
    for split, home in splits:
        for folder in _folders(home):
            found, others = _walk(folder)
            if others:
                intake.note(f"{folder}: {others:,} files are no images; they were left aside")
            for name in found:
                names.append(f"{folder.name}/{name}")
                labels.append(rows[folder.name])
                image_splits.append(split)
                files.append(f"{split}/{names[-1]}" if split else names[-1])
    if not names:
        raise DataError(f"{path}: no folder in it holds images. Expected <class>/<image> or <split>/<class>/<image>.")
    return Dataset(
        Images.of(names, splits=image_splits, files=files),
        Categories.of(classes),
        Annotations.of(np.arange(len(names)), labels),
        root=path,
    )


def write(data: Dataset, folder: Path, losses: Losses) -> Sequence[str]:
    """Write the folders and say where the images belong.

    An image with several labels goes to the first; the others are lost. So are names: an image is called by its class and file.
    """
    splits = data.images.splits.tolist()
    mixed = "" in splits and any(splits)
    losses["splits"] += splits.count("") if mixed else 0
    classes = [plain(name, "category") for name in data.categories.names.tolist()]
    homes = [plain(split, "split") if split else _UNSPLIT if mixed else "" for split in splits]
    for home in sorted(set(homes)) or [""]:
        for name in classes:
            (folder / home / name).mkdir(parents=True)
    paths = []
    for row, home in enumerate(homes):
        labels = data.annotations.category_rows[data.rows_of(row)]
        losses["further image labels"] += len(labels) - 1
        name = data.images.names[row]
        label = classes[int(labels[0])]
        kept = inside(name.removeprefix(f"{label}/"))
        if kept is None:
            raise DataError(f"image {name!r} would be written outside the output. Rename it.")
        paths.append(posixpath.join(home, label, kept))
    placed = unique(paths)
    written = [path.partition("/")[2] if home else path for path, home in zip(placed, homes, strict=True)]
    losses["image names"] += sum(new != old for new, old in zip(written, data.images.names, strict=True))
    return placed


def _splits(path: Path) -> list[tuple[str, Path]]:
    """Split names and their folders: the folders that hold classes but no images, else the folder itself under no name."""
    folders = _folders(path)
    if folders and not any(_has_own_images(folder) for folder in folders):
        found = [(folder.name, folder) for folder in folders if any(_has_images(sub) for sub in _folders(folder))]
        if found:
            return found
    return [("", path)]


def _folders(path: Path) -> list[Path]:
    return folders(path)


def _has_own_images(folder: Path) -> bool:
    return any(is_image(name) for name in scan(folder).files)


def _has_images(folder: Path) -> bool:
    return _has_own_images(folder) or any(_has_own_images(sub) for sub in _folders(folder))


def _walk(folder: Path) -> tuple[list[str], int]:
    """The images below a folder, relative to it, and how many other files there are."""
    found = []
    others = 0
    for parent, names in walk(folder):
        for name in names:
            if is_image(name):
                found.append(f"{parent}/{name}" if parent else name)
            else:
                others += 1
    return sorted(found, key=natural), others
