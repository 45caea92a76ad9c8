"""Which images and label files a YOLO dataset has: one row for each image."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from augsuite.dataset import Intake
from augsuite.dataset.files import inside, natural, read_text
from augsuite.dataset.images import SUFFIXES
from augsuite.errors import DataError
from augsuite_yolo.config import NO_SPLIT, SPLITS, Config, tails
from augsuite_yolo.paths import label_base, label_folder, name_prefix
from augsuite_yolo.tree import IMAGE_WORDS, LABEL_WORDS, Listing, Tree, is_label, slashed

_SPLIT = re.compile(r"(?:obj_)?((train|val|test)\w*?)(?:_data)?").fullmatch
_LISTS = ("train.txt", "val.txt", "valid.txt", "test.txt", f"{NO_SPLIT}.txt")


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
    return any(listing.tree.exists(place) for place in (folder, *(label_folder(folder, word) for word in LABEL_WORDS)))


def _add_folder(listing: Listing, place: str, split: str, intake: Intake) -> None:
    """Add all images below a folder, then the label files that have none."""
    used: dict[str, set[str]] = {}
    base = slashed(place)
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
        _add_labels(listing, folder, _below(folder, slashed(labels)), split, used, intake)


def _add_labels(
    listing: Listing, folder: str, prefix: str, split: str, used: dict[str, set[str]], intake: Intake
) -> None:
    left = [name for name in listing.tree.files(folder) if is_label(name) and name not in used.get(folder, ())]
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
        if (folder in used and not beside) or (not used and any(map(is_label, listing.tree.files(folder)))):
            split, prefix = _said_by(folder)
            _add_labels(listing, folder, prefix, split, used, intake)


def _said_by(folder: str) -> tuple[str, str]:
    """The split that a folder's name says, and what of its path belongs to the names of its images."""
    words = {*LABEL_WORDS, *IMAGE_WORDS, "Images", "JPEGImages"}
    parts = [part for part in folder.split("/") if part and part not in words]
    for part in parts:
        found = _SPLIT(part) if part not in SPLITS else None
        if found or part in SPLITS:
            split = {"valid": "val", "validation": "val"}.get(found[1] if found else part, found[1] if found else part)
            return split, "".join(f"{other}/" for other in parts[parts.index(part) + 1 :])
    return "", name_prefix("/".join(parts), ())


def _below(folder: str, base: str) -> str:
    return slashed(folder[len(base) :])


def _images(names: Iterable[str]) -> list[str]:
    return sorted((name for name in names if name.lower().endswith(SUFFIXES)), key=natural)
