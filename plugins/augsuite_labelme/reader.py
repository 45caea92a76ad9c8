"""LabelMe files to tables; a folder of them is one dataset."""

from __future__ import annotations

import posixpath
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from augsuite.dataset import Annotations, Categories, Dataset, Images, Intake
from augsuite.dataset.columns import GrowingExtras
from augsuite.dataset.files import Finder, inside, is_image, natural, read_bytes, read_text, tamed, walk
from augsuite.dataset.parallel import mapped
from augsuite.dataset.progress import advance
from augsuite.errors import DataError
from augsuite_labelme.layout import FLAGS, LABELS, SPECIAL, SUFFIX, root_of, split_of
from augsuite_labelme.rows import Batch, Job, load

_BATCH = 1000  # files


@dataclass
class _Tables:
    """What the files have given so far."""

    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)  # of the JSON file, or of an image without one; no suffix
    image_extra: GrowingExtras = field(default_factory=GrowingExtras)
    image_rows: array[int] = field(default_factory=lambda: array("q"))
    labels: list[str] = field(default_factory=list)
    boxes: array[float] = field(default_factory=lambda: array("d"))
    extra: GrowingExtras = field(default_factory=GrowingExtras)
    copies: int = 0
    loose: int = 0


def read(path: Path, intake: Intake) -> Dataset:
    """Read a folder of LabelMe files with those below it, or one file.

    Rectangles, polygons, circles, masks and turned rectangles become boxes; polygons and masks are `segmentation` too, where polygons of
    one label and group that follow each other are the parts of one object. Lines and points stay with their image, in
    `labelme.shapes`. A flag of the file that is set labels the whole image. Folders `train`, `val` and so on are splits. Images beside
    such files that have none have no boxes. What the tables have no column for becomes an extra `labelme.<key>`.

    Args:
        path: the dataset's folder, or one of its files.
        intake: takes what is invalid or surprising.

    Raises:
        DataError: in one line: file, place, what was expected, what was found.
    """
    root, found, images = _list(path)
    if not found:
        raise DataError(f"{path}: no JSON file in the folder or below it. Name the folder that has them.")
    tables = _Tables()
    finders: dict[str, Finder] = {}
    jobs = (
        Job(root, [name for name, _ in part], [suffix for _, suffix in part], intake.wants)
        for part in (found[first : first + _BATCH] for first in range(0, len(found), _BATCH))
    )
    done = 0
    for batch in mapped(load, jobs):
        names = found[done : done + _BATCH]
        _add(tables, root, names, batch, finders, intake)
        done += len(names)
        advance("reading", len(names), len(found))
    missing = sum(finder.missing for finder in finders.values())
    if missing:
        intake.note(f"{root}: {missing:,} of {len(tables.names):,} images have no file")
    if tables.copies:
        intake.note(f"{root}: {tables.copies:,} files hold a copy of their image (imageData), which is left out")
    if tables.loose:
        intake.note(
            f"{root}: {tables.loose:,} lines, points and shapes without a label are kept in labelme.shapes, without boxes"
        )
    alone = _images_alone(tables, images)
    for name in alone:
        split, _ = split_of(posixpath.dirname(name))
        _append(tables, _within(name, split), (0, 0), split, name, posixpath.splitext(name)[0])
    if alone:
        intake.note(f"{root}: {len(alone):,} images beside the JSON files have none; they have no boxes")
    return _dataset(tables, root, sort=bool(alone))


def _list(path: Path) -> tuple[Path, list[tuple[str, str]], list[str]]:
    """The root; the JSON files below it, as name and suffix; the image files."""
    if not path.is_dir():
        root = root_of(path)
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        return root, [posixpath.splitext(name)], []
    found, images = [], []
    for folder, names in walk(path):
        home = f"{folder}/" if folder else ""
        for name in names:
            stem, suffix = posixpath.splitext(name)
            if suffix.lower() == SUFFIX:
                found.append((home + stem, suffix))
            elif is_image(name):
                images.append(home + name)
    return path, found, images


def _add(
    tables: _Tables, root: Path, names: list[tuple[str, str]], batch: Batch, finders: dict[str, Finder], intake: Intake
) -> None:
    """Take a batch: find its images, leave out those whose name leads outside."""
    for file, place, problem in batch.problems:
        if place:
            intake.reject(f"{file}: {place}", problem)
        elif not intake.skip_invalid:
            raise DataError(problem)
        else:
            intake.skipped.append(problem)
    rows = np.full(len(batch.files), -1, np.int64)
    first = len(tables.names)
    for row, index in enumerate(batch.files):
        stem, suffix = names[index]
        folder = posixpath.dirname(stem)
        finder = finders.get(folder)
        if finder is None:
            finder = finders[folder] = Finder(root, (folder,), allow_outside=intake.allow_outside)
        try:
            found = _find(finder, stem, batch.paths[row], intake)
        except DataError as error:
            intake.reject(f"{root / stem}{suffix}: imagePath", str(error))
            continue
        split, below = split_of(folder)
        rows[row] = len(tables.names)
        name = _within(found, split) if found else _named(stem, below, batch.paths[row])
        if batch.embedded[row]:
            if found:
                tables.copies += 1
            else:
                _keep_pixels(tables, root / f"{stem}{suffix}", intake)
        _append(tables, name, batch.sizes[row], split, found, stem)
    tables.loose += batch.loose
    if (rows >= 0).all():
        tables.image_extra.extend(batch.image_extra, first)
        tables.extra.extend(batch.extra, len(tables.labels))
        tables.image_rows.extend([row + first for row in batch.image_rows])
        tables.labels.extend(batch.labels)
        tables.boxes.extend(batch.boxes)
    else:
        _add_some(tables, batch, rows)


def _add_some(tables: _Tables, batch: Batch, rows: np.ndarray) -> None:
    """As above, but for the images that were left out."""
    for key, values in batch.image_extra.columns(len(rows)).items():
        for row in np.flatnonzero(rows >= 0):
            if values[row] is not msgspec.UNSET:
                tables.image_extra.add(int(rows[row]), key, values[row])
    columns = batch.extra.columns(len(batch.labels))
    for at, image in enumerate(batch.image_rows):
        if rows[image] < 0:
            continue
        for key, values in columns.items():
            if values[at] is not msgspec.UNSET:
                tables.extra.add(len(tables.labels), key, values[at])
        tables.image_rows.append(int(rows[image]))
        tables.labels.append(batch.labels[at])
        tables.boxes.extend(batch.boxes[4 * at : 4 * at + 4])


def _append(tables: _Tables, name: str, size: tuple[int, int], split: str, found: str, place: str) -> None:
    tables.names.append(name)
    tables.sizes.append(size)
    tables.splits.append(split)
    tables.files.append(found)
    tables.places.append(place)


def _find(finder: Finder, stem: str, said: str | None, intake: Intake) -> str:
    """An image's file, or "": where `imagePath` says; else beside the JSON file, by the name that it gives or by the file's own.

    Raises:
        DataError: if the name leads outside the dataset, and there is no such image beside the file.
    """
    found = finder.look(said) if said else ""
    if found:
        return found
    own = posixpath.basename(stem)
    base = posixpath.basename((said or "").replace("\\", "/"))
    beside = (finder.look(base) if base and base != said else "") or finder.look(own, stem=True)
    if beside:
        intake.note(f"{finder.root}: imagePath leads to no image; the one beside the file was taken")
        return beside
    if said:
        return finder.find(said)
    finder.missing += 1
    return ""


def _within(found: str, split: str) -> str:
    """The path within the folder of a split."""
    if not inside(found):
        return tamed(found)
    return found.removeprefix(f"{split}/") if split else found


def _named(stem: str, below: str, said: str | None) -> str:
    """The name of an image without a file."""
    path = inside((said or "").replace("\\", "/"), below)
    return path or posixpath.join(below, tamed(said or "") or f"{posixpath.basename(stem)}.jpg")


def _keep_pixels(tables: _Tables, file: Path, intake: Intake) -> None:
    """Where the JSON file alone holds the image, its text goes along; LabelMe can make a file of it."""
    content = msgspec.json.decode(read_bytes(file).removeprefix(b"\xef\xbb\xbf"))
    tables.image_extra.add(len(tables.names), "labelme.imageData", content["imageData"])
    intake.note(
        f"{file.parent}: images stand in the JSON files alone (imageData); they are carried along, but not decoded. To have image "
        "files, run: labelme_export_json FILE"
    )


def _images_alone(tables: _Tables, images: list[str]) -> list[str]:
    """The images without a JSON file, in folders where others have one."""
    used = set(tables.files)
    folders = {posixpath.dirname(name) for name in used if name}
    return [name for name in images if name not in used and posixpath.dirname(name) in folders]


def _dataset(tables: _Tables, root: Path, *, sort: bool) -> Dataset:
    head, declared = _declared(root)
    used = sorted(set(tables.labels) - set(declared), key=natural)
    rows = {name: row for row, name in enumerate((*declared, *used))}
    images = Images.of(
        tables.names,
        np.array(tables.sizes, np.int64).reshape(-1, 2),
        splits=tables.splits,
        files=tables.files,
        extra=tables.image_extra.columns(len(tables.names)),
    )
    image_rows = np.array(tables.image_rows, np.int64)
    if sort:
        order = np.array(sorted(range(len(images)), key=lambda row: _key(tables.places[row])), np.int64)
        ids = images.ids
        images = images.take(order)
        images = Images(images.names, images.sizes, ids, images.splits, images.files, images.extra)
        image_rows = np.argsort(order)[image_rows]
    annotations = Annotations.of(
        image_rows,
        [rows[label] for label in tables.labels],
        np.array(tables.boxes, np.float64).reshape(-1, 4),
        extra=tables.extra.columns(len(tables.labels)),
    )
    extra: dict[str, Any] = {"labelme.special_labels": head} if head else {}
    return Dataset(images, Categories.of(rows), annotations, root=root, extra=extra)


def _key(place: str) -> list[tuple[int, list[str | int]]]:
    """The order in which `walk` comes to a file: those of a folder before those below it."""
    folder, name = posixpath.split(place)
    return [
        *([(0, natural(part)) for part in folder.split("/")] if folder else []),
        (-1, natural(name)),
    ]


def _declared(root: Path) -> tuple[list[str], list[str]]:
    """The lines of `labels.txt` that are no classes; the classes that it and `flags.txt` name."""
    names: dict[str, None] = {}
    for file in _lists(root):
        names.update(dict.fromkeys(line.strip() for line in read_text(file).splitlines() if line.strip()))
    return [name for name in names if name in SPECIAL], [name for name in names if name not in SPECIAL]


def _lists(root: Path) -> Iterator[Path]:
    return (root / name for name in (LABELS, FLAGS) if (root / name).is_file())
