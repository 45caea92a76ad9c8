"""Rows of the tables to the text of VOC's XML files, a batch of images at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset import ABSENT
from augsuite.dataset.disk import write_files
from augsuite.protocols import Losses

PREFIX = "voc."
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2
_TAG = re.compile(r"[A-Za-z_][\w.\-]*", re.ASCII)
_FIRST = ("folder", "path", "source", "owner")  # the devkit's order: these before the size, the rest after it
_BEFORE_BOX = ("pose", "truncated", "occluded", "difficult")
_PLAIN = re.compile(r"[\w .,:;/()+\-]*")
_BOX = "    <bndbox>\n      <xmin>%s</xmin>\n      <ymin>%s</ymin>\n      <xmax>%s</xmax>\n      <ymax>%s</ymax>\n    </bndbox>\n"
_HEAD = "<annotation>\n  <filename>%s</filename>\n  <size>\n    <width>%d</width>\n    <height>%d</height>\n  </size>\n"
_OBJECT = "  <object>\n    <name>%s</name>\n    <difficult>%d</difficult>\n"

Columns = Mapping[str, NDArray[np.object_]]


@dataclass
class Batch:
    """Some images, and what their files say.

    Attributes:
        folder: that of the XML files.
        stems: `B` paths of the XML files in it, without suffix.
        filenames: `B` names of the image files.
        sizes: `(B, 2)` width and height; 0 where unknown.
        counts: `(B,)` how many objects each has.
        corners: `(K, 4)` of their objects, one image after another, as VOC counts them.
        classes: `(C,)` the names of all categories.
        labels: `(K,)` rows of `classes`.
        ignore: `(K,)` whether an object is difficult.
        image_extra: tag -> `(B,)` values, ABSENT where there is none.
        extra: tag -> `(K,)` values.
    """

    folder: str
    stems: list[str]
    filenames: list[str]
    sizes: NDArray[np.int64]
    counts: NDArray[np.int64]
    corners: NDArray[np.float64]
    classes: NDArray[np.object_]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    image_extra: Columns
    extra: Columns


def write_batch(batch: Batch) -> Losses:
    """Write the files of a batch; returns what they cannot hold."""
    losses = Losses()
    heads = _heads(batch, losses)
    ends = np.cumsum(batch.counts).tolist()
    starts = [0, *ends[:-1]]
    bodies = _plain_bodies(batch, starts, ends, losses) if not batch.extra else _bodies(batch, starts, ends, losses)
    write_files(
        batch.folder,
        (
            (f"{stem}.xml", f"{head}{body}</annotation>\n".encode())
            for stem, head, body in zip(batch.stems, heads, bodies, strict=True)
        ),
    )
    return losses


def _names(batch: Batch, losses: Losses) -> list[str]:
    """The text of each class that is used."""
    uses = np.bincount(batch.labels, minlength=len(batch.classes)).tolist()
    return [_text(name, losses, count) if count else "" for name, count in zip(batch.classes, uses, strict=True)]


def _plain_bodies(batch: Batch, starts: list[int], ends: list[int], losses: Losses) -> Iterator[str]:
    """The objects of each image, which say no more than the tables: one format for all objects of an image."""
    openings = [[_OBJECT % (name, difficult) for difficult in (0, 1)] for name in _names(batch, losses)]
    begun = [
        openings[label][ignored] for label, ignored in zip(batch.labels.tolist(), batch.ignore.tolist(), strict=True)
    ]
    numbers = _numbers(batch.corners)
    values = list(chain.from_iterable(zip(begun, numbers, numbers, numbers, numbers, strict=False)))
    formats = ["%s" + _BOX + "  </object>\n"]
    formats = [formats[0] * count for count in range(int(batch.counts.max(initial=0)) + 1)]
    return (formats[end - start] % tuple(values[5 * start : 5 * end]) for start, end in zip(starts, ends, strict=True))


def _bodies(batch: Batch, starts: list[int], ends: list[int], losses: Losses) -> Iterator[str]:
    """The objects of each image."""
    names, numbers = _names(batch, losses), _numbers(batch.corners)
    objects = [
        _with_extras(names[label], ignored, _BOX % corners, extra, losses)
        for label, ignored, corners, extra in zip(
            batch.labels.tolist(),
            batch.ignore.tolist(),
            zip(numbers, numbers, numbers, numbers, strict=False),
            _rows(batch.extra, len(batch.labels)),
            strict=False,
        )
    ]
    return ("".join(objects[start:end]) for start, end in zip(starts, ends, strict=True))


def _numbers(corners: NDArray[np.float64]) -> Iterator[str]:
    """The numbers as text: those that read back as the same float64, whole ones without a point; and one empty text more."""
    text = msgspec.json.encode(corners.ravel().tolist())[1:-1] + b","
    return iter(text.replace(b".0,", b",").decode().split(","))


def _rows(columns: Columns, count: int) -> Iterator[dict[str, Any]]:
    """What each row says."""
    keys = list(columns)
    if not keys:
        return iter([{} for _ in range(count)])
    return (
        {key: value for key, value in zip(keys, values, strict=True) if value is not ABSENT}
        for values in zip(*(column.tolist() for column in columns.values()), strict=True)
    )


def _with_extras(name: str, ignored: bool, box: str, extra: dict[str, Any], losses: Losses) -> str:
    if ignored or "difficult" not in extra:
        extra["difficult"] = int(ignored)
    before = "".join(_element(key, extra.pop(key), losses, 2) for key in _BEFORE_BOX if key in extra)
    after = "".join(_element(key, value, losses, 2) for key, value in extra.items())
    return f"  <object>\n    <name>{name}</name>\n{before}{box}{after}  </object>\n"


def _heads(batch: Batch, losses: Losses) -> list[str]:
    """Each file up to its first object."""
    sizes = batch.sizes.tolist()
    if (
        not batch.image_extra
        and batch.sizes.all()
        and _PLAIN.fullmatch("".join(batch.filenames))
        and " " not in "".join(batch.filenames)
    ):
        return [_HEAD % (name, *size) for name, size in zip(batch.filenames, sizes, strict=True)]
    return [
        _head(filename, width, height, extra, losses)
        for filename, (width, height), extra in zip(
            batch.filenames, sizes, _rows(batch.image_extra, len(batch.stems)), strict=True
        )
    ]


def _head(filename: str, width: int, height: int, extra: dict[str, Any], losses: Losses) -> str:
    named = _element("filename", filename, losses)
    if not extra:
        size = f"  <size>\n    <width>{width}</width>\n    <height>{height}</height>\n  </size>\n"
        return f"<annotation>\n{named}{size if width and height else ''}"
    attributes = "".join(
        f" {key[1:]}={quoteattr(_legal(str(value), losses))}"
        for key, value in extra.items()
        if key.startswith("@") and _TAG.fullmatch(key[1:])
    )
    before = {key: extra[key] for key in _FIRST if key in extra}
    after = {key: value for key, value in extra.items() if key not in _FIRST and key != "depth" and key[0] != "@"}
    size_of: dict[str, Any] = {"width": width, "height": height}
    if "depth" in extra:
        size_of["depth"] = extra["depth"]
    return (
        f"<annotation{attributes}>\n"
        + (_element("folder", before.pop("folder"), losses) if "folder" in before else "")
        + named
        + "".join(_element(key, value, losses) for key, value in before.items())
        + (_element("size", size_of, losses) if (width and height) or "depth" in extra else "")
        + "".join(_element(key, value, losses) for key, value in after.items())
    )


def _element(tag: str, value: Any, losses: Losses, depth: int = 1) -> str:
    """One element, or several for a list; the reader's `_value`, back."""
    if isinstance(value, list):
        return "".join(_element(tag, item, losses, depth) for item in value)
    if not _TAG.fullmatch(tag):
        losses[f"{PREFIX}{tag}"] += 1
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


def _text(value: str, losses: Losses, times: int = 1) -> str:
    """Text for an element; what XML or a reader that trims cannot give back is counted, as often as it is written."""
    if _PLAIN.fullmatch(value) and value == value.strip():
        return value
    if value != value.strip():
        losses["spaces around text"] += times
    return escape(_legal(value, losses, times), {"\r": "&#13;"})


def _legal(value: str, losses: Losses, times: int = 1) -> str:
    result, count = _ILLEGAL.subn("\ufffd", value)
    if count:
        losses["characters that XML cannot hold"] += count * times
    return result
