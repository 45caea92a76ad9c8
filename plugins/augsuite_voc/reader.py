"""VOC files to tables."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.checks import number
from augsuite.dataset.files import Finder, inside, is_image, natural, read_bytes
from augsuite.dataset.xml import parse
from augsuite.errors import DataError
from augsuite_voc.coordinates import to_continuous
from augsuite_voc.layout import IMAGE_FOLDERS, annotation_folder, find_files, read_splits

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass
class _Extras:
    """Extras of rows, given row by row as dictionaries."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def columns(self) -> dict[str, Any]:
        keys = dict.fromkeys(key for row in self.rows for key in row)
        return {f"voc.{key}": objects([row.get(key, ABSENT) for row in self.rows]) for key in keys}


@dataclass
class _Tables:
    """What the files have given so far."""

    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    image_extra: _Extras = field(default_factory=_Extras)
    image_rows: list[int] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    corners: list[list[float]] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    extra: _Extras = field(default_factory=_Extras)


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
    root, files = find_files(path)
    if not files:
        raise DataError(
            f"{path}: no XML file in Annotations/, annotations/ or the folder itself. Name the folder that has them."
        )
    home = annotation_folder(root, files[0])
    stems = {file: file.relative_to(home).with_suffix("").as_posix() for file in files}
    read_stems = frozenset(stems.values())
    splits = read_splits(root, read_stems, intake)
    beside = home.relative_to(root).as_posix() if home != root else ""
    finder = Finder(root, tuple(dict.fromkeys((*IMAGE_FOLDERS, beside))), allow_outside=intake.allow_outside)
    tables = _Tables()
    for file, stem in stems.items():
        _add(tables, file, stem, splits, finder, intake)
    for stem in sorted(splits.keys() - read_stems, key=natural) if path.is_dir() else ():
        found = finder.look(stem, stem=True)
        if found is None:
            intake.reject(
                f"{root / 'ImageSets/Main'}: {stem!r}",
                "the name leads outside the dataset's folder. Rename it, or pass --allow-outside if you trust the file",
            )
            continue
        intake.note(f"{root}: images of ImageSets/Main have no XML file; they have no boxes")
        _add_image(tables, _shortened(found) if inside(found) else stem, (0, 0), found, splits[stem], {})
    if finder.missing:
        intake.note(f"{root}: {finder.missing:,} of {len(tables.names):,} images have no file")
    return _dataset(tables, root, int(origin), intake)


def _dataset(tables: _Tables, root: Path, origin: int, intake: Intake) -> Dataset:
    corners = np.array(tables.corners, np.float64).reshape(-1, 4)
    boxes = to_continuous(corners, origin)
    if origin and (outside := int((corners[:, :2] < 1).any(axis=1).sum())):
        intake.note(
            f"{root}: {outside:,} boxes begin before pixel 1, VOC's first; if they count from 0, pass --option origin=0"
        )
    if flat := int((boxes[:, 2:] <= boxes[:, :2]).any(axis=1).sum()):
        intake.note(f"{root}: {flat:,} boxes have no area")
    classes = sorted(set(tables.classes), key=natural)
    rows = {name: row for row, name in enumerate(classes)}
    return Dataset(
        Images.of(
            tables.names,
            np.array(tables.sizes, np.int64).reshape(-1, 2),
            splits=tables.splits,
            files=tables.files,
            extra=tables.image_extra.columns(),
        ),
        Categories.of(classes),
        Annotations.of(
            tables.image_rows,
            [rows[name] for name in tables.classes],
            boxes,
            Layout.XYXY_PX,
            ignore=tables.ignore,
            extra=tables.extra.columns(),
        ),
        root=root,
    )


def _add(tables: _Tables, file: Path, stem: str, splits: dict[str, str], finder: Finder, intake: Intake) -> None:
    """Append one file's image and objects."""
    try:
        top = _parse(file)
        size = _size(file, top)
        name, found = _find_image(file, top, stem, finder, intake)
    except DataError as error:
        if not intake.skip_invalid:
            raise
        intake.skipped.append(str(error))
        return
    extra: dict[str, Any] = {f"@{key}": value for key, value in top.attrib.items()}
    for tag, value in _children(top, without=("filename", "object", "size")).items():
        extra[tag] = _number(value)
    depth = top.findtext("size/depth")
    if depth is not None:
        extra["depth"] = _number(depth.strip())
    row = len(tables.names)
    _add_image(tables, name, size, found, splits.get(stem, ""), extra)
    for index, element in enumerate(top.iterfind("object")):
        where = f"{file}: object[{index}]"
        label = (element.findtext("name") or "").strip()
        box = element.find("bndbox")
        if not label:
            intake.reject(f"{where}.name", "expected the name of a class, got nothing")
            continue
        if box is None:
            intake.reject(f"{where}.bndbox", "expected a box, got nothing")
            continue
        values = [number(box.findtext(tag)) for tag in _CORNERS]
        if not np.isfinite(values).all():
            said = [box.findtext(tag) for tag in _CORNERS]
            bad = next(place for place in range(4) if not np.isfinite(values[place]))
            intake.reject(f"{where}.bndbox.{_CORNERS[bad]}", f"expected a number, got {said[bad]!r}")
            continue
        if values[2] - values[0] < -1 or values[3] - values[1] < -1:
            intake.reject(f"{where}.bndbox", f"expected xmin <= xmax and ymin <= ymax, got {values}")
            continue
        others = {tag: _number(value) for tag, value in _children(element, without=("name", "bndbox")).items()}
        tables.image_rows.append(row)
        tables.classes.append(label)
        tables.corners.append(values)
        tables.ignore.append(others.get("difficult") == 1)
        if others.get("difficult") in (0, 1):
            del others["difficult"]  # the column says it
        tables.extra.rows.append(others)


def _add_image(
    tables: _Tables, name: str, size: tuple[int, int], found: str, split: str, extra: dict[str, Any]
) -> None:
    tables.names.append(name)
    tables.sizes.append(size)
    tables.files.append(found)
    tables.splits.append(split)
    tables.image_extra.rows.append(extra)


def _parse(file: Path) -> Element:
    """The root element."""
    top = parse(read_bytes(file), file)
    if top.tag != "annotation":
        raise DataError(
            f"{file}: expected the root element <annotation>, got <{top.tag}>. Name the format with --from."
        )
    return top


def _size(file: Path, top: Element) -> tuple[int, int]:
    """Width and height; zeros where the file does not say."""
    values = []
    for tag in ("width", "height"):
        text = (top.findtext(f"size/{tag}") or "0").strip()
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not (0 <= value < 2**31 and value == int(value)):
            raise DataError(f"{file}: size.{tag}: expected a whole number of pixels, got {text!r}. Fix the file.")
        values.append(int(value))
    return values[0], values[1]


def _find_image(file: Path, top: Element, stem: str, finder: Finder, intake: Intake) -> tuple[str, str]:
    """The image's name, and its file or "".

    VOC's own tools go by the XML file's name, and so do we where an image of that name exists; `filename` counts otherwise.
    """
    said = (top.findtext("filename") or "").strip()
    plain = posixpath.splitext(said)[0] if is_image(Path(said)) else said
    if said and plain in {stem, posixpath.basename(stem)}:
        found = finder.look(posixpath.join(posixpath.dirname(stem), said) if plain != stem else said)
        if found:
            return _shortened(found), found
    found = finder.look(stem, stem=True)
    if found:
        if said:
            intake.note(f"{file.parent}: `filename` differs from the image of the XML file's own name, which was taken")
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
        intake.note(f"{file.parent}: `filename` differs from the XML file's own name")
    return (_shortened(found) if inside(found) else nested), found


def _shortened(found: str) -> str:
    """The path within its folder of images."""
    for folder in IMAGE_FOLDERS:
        if folder and found.startswith(f"{folder}/"):
            return found.removeprefix(f"{folder}/")
    return found


def _children(element: Element, without: Sequence[str]) -> dict[str, Any]:
    """Tag -> value of the children, but for some; a list where a tag is repeated."""
    values: dict[str, Any] = {}
    repeated = set()
    for child in element:
        if child.tag in without:
            continue
        value = _value(child)
        if child.tag in repeated:
            values[child.tag].append(value)
        elif child.tag in values:
            values[child.tag] = [values[child.tag], value]
            repeated.add(child.tag)
        else:
            values[child.tag] = value
    return values


def _value(element: Element) -> Any:
    """An element as text, or as a dictionary of its attributes (`@name`) and children."""
    text = (element.text or "").strip()
    if not len(element) and not element.attrib:
        return text
    value = {f"@{key}": said for key, said in element.attrib.items()} | _children(element, ())
    return value | {"#text": text} if text else value


def _number(value: Any) -> Any:
    """A whole number as int; anything else as it is."""
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
