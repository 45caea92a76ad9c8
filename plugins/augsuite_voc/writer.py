"""Tables to VOC files: `Annotations/`, `JPEGImages/` and `ImageSets/Main/`."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from augsuite.dataset import ABSENT, Dataset
from augsuite.dataset.files import inside, plain, unique
from augsuite.dataset.tables import Extra
from augsuite.errors import DataError
from augsuite.protocols import Losses
from augsuite_voc.coordinates import from_continuous

_PREFIX = "voc."
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2
_TAG = re.compile(r"[A-Za-z_][\w.\-]*", re.ASCII)
_FIRST = ("folder", "path", "source", "owner")  # the devkit's order: these before the size, the rest after it


def write(data: Dataset, folder: Path, losses: Losses) -> Sequence[str]:
    """Write one XML file per image, the lists of splits, and say where the images belong.

    Corners are 1-based and inclusive, whole numbers written without a point. An ignored annotation is `difficult`. Where both
    `train` and `val` exist, `trainval` is written too, as the devkit has it.
    """
    names = [_safe(name) for name in data.images.names]
    stems = unique(_stem(name) for name in names)
    placed = [stem + name[len(_stem(name)) :] for stem, name in zip(stems, names, strict=True)]
    losses["image names"] += sum(new != old for new, old in zip(placed, data.images.names, strict=True))
    corners = from_continuous(data.boxes()).tolist()
    classes = [_text(name, losses) for name in data.categories.names.tolist()]
    made: set[str] = set()
    (folder / "Annotations").mkdir()
    for row, stem in enumerate(stems):
        parent = posixpath.dirname(stem)
        if parent not in made:
            (folder / "Annotations" / parent).mkdir(parents=True, exist_ok=True)
            made.add(parent)
        objects = "".join(
            _object(classes[data.annotations.category_rows[at]], corners[at], data, int(at), losses)
            for at in data.rows_of(row)
        )
        text = _image(posixpath.basename(placed[row]), data, row, objects, losses)
        (folder / "Annotations" / f"{stem}.xml").write_bytes(text.encode())
    _write_splits(folder, stems, data.images.splits.tolist())
    return [f"JPEGImages/{name}" for name in placed]


def _safe(name: str) -> str:
    path = inside(name)
    if path is None:
        raise DataError(f"image {name!r} would be written outside the output. Rename it.")
    return path


def _stem(name: str) -> str:
    return posixpath.splitext(name)[0]


def _image(filename: str, data: Dataset, row: int, objects: str, losses: Losses) -> str:
    extra = _row(data.images.extra, row)
    attributes = "".join(
        f" {key[1:]}={quoteattr(_legal(str(value), losses))}"
        for key, value in extra.items()
        if key.startswith("@") and _TAG.fullmatch(key[1:])
    )
    width, height = data.images.sizes[row].tolist()
    before = {key: extra[key] for key in _FIRST if key in extra}
    after = {key: value for key, value in extra.items() if key not in _FIRST and key != "depth" and key[0] != "@"}
    size: dict[str, Any] = {"width": width, "height": height}
    if "depth" in extra:
        size["depth"] = extra["depth"]
    return (
        f"<annotation{attributes}>\n"
        + (_element("folder", before.pop("folder"), losses) if "folder" in before else "")
        + _element("filename", filename, losses)
        + "".join(_element(key, value, losses) for key, value in before.items())
        + (_element("size", size, losses) if (width and height) or "depth" in extra else "")
        + "".join(_element(key, value, losses) for key, value in after.items())
        + objects
        + "</annotation>\n"
    )


def _object(label: str, corners: list[float], data: Dataset, row: int, losses: Losses) -> str:
    extra = _row(data.annotations.extra, row)
    ignore = bool(data.annotations.ignore[row])
    if ignore or "difficult" not in extra:
        extra["difficult"] = int(ignore)
    before = "".join(
        _element(key, extra.pop(key), losses, 2)
        for key in ("pose", "truncated", "occluded", "difficult")
        if key in extra
    )
    box = "".join(
        f"      <{tag}>{int(value) if value.is_integer() else repr(value)}</{tag}>\n"
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    after = "".join(_element(key, value, losses, 2) for key, value in extra.items())
    return f"  <object>\n    <name>{label}</name>\n{before}    <bndbox>\n{box}    </bndbox>\n{after}  </object>\n"


def _row(extra: Extra, row: int) -> dict[str, Any]:
    return {
        key.removeprefix(_PREFIX): values[row]
        for key, values in extra.items()
        if key.startswith(_PREFIX) and values[row] is not ABSENT
    }


def _element(tag: str, value: Any, losses: Losses, depth: int = 1) -> str:
    """One element, or several for a list; the reader's `_value`, back."""
    if isinstance(value, list):
        return "".join(_element(tag, item, losses, depth) for item in value)
    if not _TAG.fullmatch(tag):
        losses[f"{_PREFIX}{tag}"] += 1
        return ""
    pad = "  " * depth
    if not isinstance(value, dict):
        return f"{pad}<{tag}>{_text(str(value), losses)}</{tag}>\n"
    attributes = "".join(
        f" {key[1:]}={quoteattr(_legal(str(said), losses))}" for key, said in value.items() if key.startswith("@")
    )
    text = _text(str(value.get("#text", "")), losses)
    inner = "".join(_element(key, said, losses, depth + 1) for key, said in value.items() if key[0] not in "@#")
    return (
        f"{pad}<{tag}{attributes}>{text}\n{inner}{pad}</{tag}>\n"
        if inner
        else f"{pad}<{tag}{attributes}>{text}</{tag}>\n"
    )


def _text(value: str, losses: Losses) -> str:
    """Text for an element; what XML or a reader that trims cannot give back is counted."""
    if value != value.strip():
        losses["spaces around text"] += 1
    return escape(_legal(value, losses), {"\r": "&#13;"})


def _legal(value: str, losses: Losses) -> str:
    result, count = _ILLEGAL.subn("\ufffd", value)
    if count:
        losses["characters that XML cannot hold"] += count
    return result


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
