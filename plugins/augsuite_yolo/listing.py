"""Which images and label files a YOLO dataset has: one row for each image."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from augsuite.dataset import Intake
from augsuite.dataset.files import check_links, inside, natural, read_text, scan
from augsuite.dataset.images import SUFFIXES
from augsuite.errors import DataError
from augsuite_yolo.config import NAMES_FILES, NO_SPLIT, SPLITS, Config, tails
from augsuite_yolo.paths import label_base, label_folder, name_prefix

_LABEL_WORDS = ("labels", "Labels", "Annotations", "annotations")
_IMAGE_WORDS = ("images", "jpegimages")
_NO_LABELS = re.compile(r"readme.*|(train|val|valid|test|images)\.txt|notes?\.txt|license.*", re.IGNORECASE).fullmatch
_SPLIT = re.compile(r"(?:obj_)?((train|val|test)\w*?)(?:_data)?").fullmatch
_LISTS = ("train.txt", "val.txt", "valid.txt", "test.txt", f"{NO_SPLIT}.txt")


class Tree:
    """Folders below a root, each looked at once; hidden entries are left out."""

    def __init__(self, root: Path) -> None:
        """Look at nothing yet."""
        self.root = root
        self._seen: dict[str, tuple[frozenset[str], list[str]]] = {}

    def files(self, folder: str) -> frozenset[str]:
        """The names of the files in a folder; none where there is no such folder.

        Raises:
            DataError: at an image to which a link leads out of the dataset's folder.
        """
        return self._look(folder)[0]

    def walk(self, folder: str, depth: int | None = None) -> Iterator[str]:
        """A folder and all below it, in natural order; links to folders are not followed."""
        waiting = [folder]
        first = folder.count("/") + bool(folder)
        while waiting:
            place = waiting.pop()
            yield place
            if depth is None or place.count("/") + bool(place) - first < depth:
                below = sorted(self._look(place)[1], key=natural, reverse=True)
                paths = [_slashed(place) + name for name in below]
                waiting.extend(path for path in paths if not (self.root / path).is_symlink())

    def exists(self, folder: str) -> bool:
        """Whether there is such a folder."""
        try:
            return (self.root / folder).is_dir()
        except (OSError, ValueError):  # no folder can have that name
            return False

    def _look(self, folder: str) -> tuple[frozenset[str], list[str]]:
        if folder not in self._seen:
            path = self.root / folder
            found = scan(path)
            files = frozenset(found.files)
            check_links(path, files, [name for name in found.links if name.lower().endswith(SUFFIXES)])
            self._seen[folder] = files, found.folders
        return self._seen[folder]


_Folder = tuple[frozenset[str], str, frozenset[str], str]
"""The files of a folder, its path with a slash, and the same for its labels."""


@dataclass
class Listing:
    """One row for each image.

    Attributes:
        tree: of the dataset's folder.
        names: what the images are called.
        files: their files, or "".
        labels: their label files, or "".
        splits: to which they belong, or "".
        sizes: width and height; zeros where no list says them.
    """

    tree: Tree
    names: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _label_folders: dict[str, str] = field(default_factory=dict)
    _folders: dict[str, _Folder] = field(default_factory=dict)

    def add(self, folder: str, base: str, prefix: str, split: str, size: tuple[int, int] = (0, 0)) -> bool:
        """Add the image `base` of a folder; False where it is listed already."""
        files, start, labels, label_start = self._folders.get(folder) or self._open(folder)
        path = start + base
        if path in self._taken:
            return False
        self._taken.add(path)
        self.names.append(prefix + base)
        self.files.append(path if base in files else "")
        self.splits.append(split)
        self.sizes.append(size)
        label = label_base(base)
        self.labels.append(label_start + label if label in labels else "")
        return True

    def _open(self, folder: str) -> _Folder:
        place = self.label_folder(folder)
        found = self.tree.files(folder), _slashed(folder), self.tree.files(place), _slashed(place)
        self._folders[folder] = found
        return found

    def add_label(self, folder: str, base: str, prefix: str, split: str) -> None:
        """Add a label file that has no image."""
        self.names.append(prefix + base.removesuffix(".txt"))
        self.files.append("")
        self.labels.append(posixpath.join(folder, base))
        self.splits.append(split)
        self.sizes.append((0, 0))

    def has(self, folder: str, base: str) -> bool:
        """Whether a folder holds an image, or the folder of its labels a label for it."""
        return base in self.tree.files(folder) or label_base(base) in self.tree.files(self.label_folder(folder))

    def label_folder(self, folder: str) -> str:
        """Where the labels of a folder's images are: in `labels` for `images`, or beside them."""
        if folder not in self._label_folders:
            spelled = "/".join("images" if part.lower() in _IMAGE_WORDS else part for part in folder.split("/"))
            places = [label_folder(spelled, word) for word in _LABEL_WORDS]
            found = [place for place in (*places, folder) if any(map(_is_label, self.tree.files(place)))]
            self._label_folders[folder] = found[0] if found else places[0]
        return self._label_folders[folder]


def list_images(config: Config, intake: Intake) -> Listing:
    """All images of a dataset, in the order of their lists, else in natural order.

    Raises:
        DataError: if nothing that is named exists, or a path leads outside the dataset's folder.
    """
    listing = Listing(Tree(config.root))
    places = config.places or {
        name.removesuffix(".txt"): [name] for name in _LISTS if _is_list(config.root / name, listing)
    }
    if not places:
        _guess(listing, intake)
        return listing
    missing = []
    for place, split in _splits(places).items():
        if place.endswith(".txt") and (file := _list_file(config, listing, place)):
            _add_list(listing, config, file, split, intake)
        elif (folder := _settle(listing, config, place, "", intake)) is not None and _exists(listing, folder):
            _add_folder(listing, folder, split, intake)
        else:
            missing.append(place)
            intake.note(f"{config.file}: there is no {place!r} ({split or 'no split'})")
    if missing and not listing.names:
        raise DataError(
            f"{config.file}: no images or labels at {missing[0]!r}. Put them there, or correct the path in the file."
        )
    return listing


def _splits(places: dict[str, list[str]]) -> dict[str, str]:
    """Place -> split. Ultralytics asks for `train` and `val` even where one set is all there is, so that several keys name it."""
    keys: dict[str, list[str]] = {}
    for key, named in places.items():
        for place in named:
            keys.setdefault(place, []).append(key)
    result = {}
    for place, several in keys.items():
        stem = posixpath.splitext(posixpath.basename(place))[0]
        others = [key for key in several if key not in {"train", "val"}]
        first = stem if stem in several else (others or sorted(several))[0]
        result[place] = "" if place.endswith(".txt") and stem == NO_SPLIT else first
    return result


def _is_list(file: Path, listing: Listing) -> bool:
    """Whether a text file names images, rather than objects."""
    if file.name not in listing.tree.files(""):
        return False
    line = next((line.strip() for line in read_text(file).split("\n") if line.strip()), "")
    return line.lower().endswith(SUFFIXES)


def _list_file(config: Config, listing: Listing, place: str) -> str | None:
    """Where a list is: from `path`, or the part of its path that exists (`data/train.txt`)."""
    for part in (posixpath.join(config.base, place), *tails(place)):
        found = inside(part)
        if found and posixpath.basename(found) in listing.tree.files(posixpath.dirname(found)):
            return found
    return None


def _add_list(listing: Listing, config: Config, file: str, split: str, intake: Intake) -> None:
    text = read_text(config.root / file)
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    sizes = _shapes(config.root / file, len(lines), intake)
    known = {split, posixpath.splitext(posixpath.basename(file))[0]} - {""}
    folders: dict[str, tuple[str | None, str]] = {}
    twice = 0
    for row, (number, line) in enumerate(lines):
        parent, _, base = line.replace("\\", "/").rpartition("/")
        folder, prefix = folders.get(parent, (None, ""))
        if folder is None:
            folder = _settle(listing, config, parent, posixpath.dirname(file), intake, base)
            prefix = name_prefix(folder or "", known)
            folders[parent] = folder, prefix
        if folder is None or "\0" in base or base in {"", ".", ".."}:
            intake.reject(
                f"{config.root / file}: line {number}",
                f"the name {line!r} leads outside the dataset's folder",
                len(lines),
            )
            continue
        twice += not listing.add(folder, base, prefix, split, sizes[row])
    if twice:
        intake.note(f"{config.root / file}: {twice:,} images that are listed already stay where they were")


def _shapes(file: Path, count: int, intake: Intake) -> list[tuple[int, int]]:
    """The sizes beside a list of images: in `train.shapes`, a line `width height` for each line of `train.txt`.

    Source: Ultralytics' YOLOv3 of 2019, `utils/datasets.py`.
    """
    unknown = [(0, 0)] * count
    shapes = file.with_suffix(".shapes")
    if not shapes.is_file():
        return unknown
    words = read_text(shapes).split()
    if len(words) != 2 * count or not all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
        intake.note(f"{shapes}: does not fit {file.name}, so sizes are read from the images")
        return unknown
    values = np.array(words, np.int64).reshape(-1, 2)
    return list(zip(values[:, 0].tolist(), values[:, 1].tolist(), strict=True))


def _settle(listing: Listing, config: Config, said: str, folder: str, intake: Intake, base: str = "") -> str | None:
    """Where a folder that is named is, relative to the root: as said, or the part of the path that exists.

    A dataset that was moved still says where it was (`../datasets/coco/images`, `data/obj_train_data`); Roboflow writes
    `../train/images` for what is beside its `data.yaml`.

    Args:
        listing: knows the folders.
        config: says the root, and what paths are relative to.
        said: the folder, as written.
        folder: where it is written.
        intake: says whether a folder outside is allowed.
        base: an image that is said to be there; only a folder that holds it, or its label, passes for a part of the path.

    Returns:
        The folder; absolute where it is outside and allowed; None where it is outside.
    """
    said = said.replace("\\", "/")
    if said in {"", "."}:
        return folder
    root = str(config.root.resolve()) + "/"
    plain = said.removeprefix(root) if said.startswith(root) else said
    bases = (folder, config.base, "") if said.startswith("./") else (config.base, folder, "")
    direct = [found for start in dict.fromkeys(bases) if (found := _inside(plain, start)) is not None]
    for place in direct:
        if _exists(listing, place):
            return place
    beyond = os.path.normpath(os.path.join(root, config.base, said))  # noqa: PTH118 - a text, not yet a path
    if intake.allow_outside and listing.tree.exists(beyond):
        return beyond
    for place in tails(plain):
        if listing.has(place, base) if base else _exists(listing, place):
            return place
    return direct[0] if direct else None


def _inside(path: str, base: str) -> str | None:
    """As `inside`, but the root itself is inside, too."""
    if base and inside(base) is None:
        base = ""
    return "" if posixpath.normpath(posixpath.join(base, path)) == "." else inside(path, base)


def _exists(listing: Listing, folder: str) -> bool:
    """Whether there is such a folder, or one of labels for it."""
    return any(listing.tree.exists(place) for place in (folder, *(label_folder(folder, word) for word in _LABEL_WORDS)))


def _add_folder(listing: Listing, place: str, split: str, intake: Intake) -> None:
    """Add all images below a folder, then the label files that have none."""
    used: dict[str, set[str]] = {}
    base = _slashed(place)
    for folder in listing.tree.walk(place):
        prefix = name_prefix(folder, {split}) if "images" in folder[len(base) :].split("/") else _below(folder, base)
        names = _images(listing.tree.files(folder))
        for name in names:
            listing.add(folder, name, prefix, split)
        if names:
            used.setdefault(listing.label_folder(folder), set()).update(map(label_base, names))
    labels = listing.label_folder(place)
    if labels == place and used:
        return  # labels beside images: another text file is none
    for folder in listing.tree.walk(labels):
        _add_labels(listing, folder, _below(folder, _slashed(labels)), split, used, intake)


def _add_labels(
    listing: Listing, folder: str, prefix: str, split: str, used: dict[str, set[str]], intake: Intake
) -> None:
    left = [name for name in listing.tree.files(folder) if _is_label(name) and name not in used.get(folder, ())]
    for name in sorted(left, key=natural):
        listing.add_label(folder, name, prefix, split)
    if left:
        intake.note(f"{listing.tree.root / folder}: {len(left):,} label files have no image")


def _guess(listing: Listing, intake: Intake) -> None:
    """Add what a folder without a word about itself holds: each folder with images, then those with labels only."""
    used: dict[str, set[str]] = {}
    folders = list(listing.tree.walk(""))
    for folder in folders:
        names = _images(listing.tree.files(folder))
        split, prefix = _said_by(folder)
        for name in names:
            listing.add(folder, name, prefix, split)
        if names:
            used.setdefault(listing.label_folder(folder), set()).update(map(label_base, names))
    for folder in folders:
        beside = bool(_images(listing.tree.files(folder)))
        if (folder in used and not beside) or (not used and any(map(_is_label, listing.tree.files(folder)))):
            split, prefix = _said_by(folder)
            _add_labels(listing, folder, prefix, split, used, intake)


def _said_by(folder: str) -> tuple[str, str]:
    """The split that a folder's name says, and what of its path belongs to the names of its images."""
    words = {*_LABEL_WORDS, *_IMAGE_WORDS, "Images", "JPEGImages"}
    parts = [part for part in folder.split("/") if part and part not in words]
    for part in parts:
        found = _SPLIT(part) if part not in SPLITS else None
        if found or part in SPLITS:
            split = {"valid": "val", "validation": "val"}.get(found[1] if found else part, found[1] if found else part)
            return split, "".join(f"{other}/" for other in parts[parts.index(part) + 1 :])
    return "", name_prefix("/".join(parts), ())


def _below(folder: str, base: str) -> str:
    return _slashed(folder[len(base) :])


def _slashed(folder: str) -> str:
    return f"{folder}/" if folder else ""


def _images(names: Iterable[str]) -> list[str]:
    return sorted((name for name in names if name.lower().endswith(SUFFIXES)), key=natural)


def _is_label(name: str) -> bool:
    return name.endswith(".txt") and name not in NAMES_FILES and not _NO_LABELS(name)
