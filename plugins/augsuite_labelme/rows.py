"""Some LabelMe files as columns, in whichever process."""

from __future__ import annotations

from array import array
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from augsuite.dataset import UNREAD
from augsuite.dataset.checks import kept
from augsuite.dataset.columns import GrowingExtras
from augsuite.dataset.files import read_bytes
from augsuite.errors import DataError
from augsuite_labelme import geometry
from augsuite_labelme.model import File, Shape, decode

BOX = "box_xyxy"
"""A key of ours in shapes: the box of an object where it is not the extent of its polygon or mask."""


class Job(msgspec.Struct):
    """Files to read.

    Attributes:
        root: the dataset's folder.
        names: paths relative to it, without suffix.
        suffixes: of each.
        wants: see `Intake.wants`.
    """

    root: Path
    names: list[str]
    suffixes: list[str]
    wants: Collection[str] | None


@dataclass
class Batch:
    """What some files say.

    Attributes:
        files: index, in the job, of each file that could be read: one row each.
        paths: `imagePath`.
        sizes: width and height; zeros where the file does not say.
        embedded: whether the file holds a copy of its image.
        image_extra: extras of these rows.
        image_rows: of each annotation.
        labels: of each annotation.
        boxes: four numbers for each annotation, NaN for a label of the whole image.
        extra: extras of the annotations.
        problems: file, place in it and problem; place is "" where the whole file was left out.
        loose: how many shapes have no box or no label.
        nothing: the keys that say nothing, one dictionary for all rows that have the same.
    """

    files: list[int] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    embedded: list[bool] = field(default_factory=list)
    image_extra: GrowingExtras = field(default_factory=GrowingExtras)
    image_rows: array[int] = field(default_factory=lambda: array("q"))
    labels: list[str] = field(default_factory=list)
    boxes: array[float] = field(default_factory=lambda: array("d"))
    extra: GrowingExtras = field(default_factory=GrowingExtras)
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    loose: int = 0
    nothing: dict[tuple[tuple[str, str], ...], dict[str, Any]] = field(default_factory=dict)


def load(job: Job) -> Batch:
    """Read the files of a job; nothing is raised for a broken one."""
    batch = Batch()
    segments = job.wants is None or kept("segmentation", job.wants)
    shared: dict[str, str] = {}  # one string for all equal labels
    for index, (name, suffix) in enumerate(zip(job.names, job.suffixes, strict=True)):
        path = f"{job.root / name}{suffix}"
        problems: list[tuple[str, str]] = []
        try:
            file = decode(read_bytes(job.root / f"{name}{suffix}"), path, problems)
        except DataError as error:
            batch.problems.append((path, "", str(error)))
            continue
        _add(batch, index, file, problems, shared, segments=segments)
        batch.problems.extend((path, place, problem) for place, problem in problems)
    return batch


def _add(
    batch: Batch, index: int, file: File, problems: list[tuple[str, str]], shared: dict[str, str], *, segments: bool
) -> None:
    row = len(batch.files)
    batch.files.append(index)
    batch.paths.append(file.imagePath)
    width, height = file.width or 0, file.height or 0
    batch.sizes.append((width, height) if width and height else (0, 0))
    batch.embedded.append(file.imageData is not UNSET and bytes(file.imageData) not in {b"null", b'""'})
    extra = batch.image_extra
    if file.version is not UNSET:
        version = file.version
        extra.add(row, "labelme._version", shared.setdefault(version, version) if isinstance(version, str) else version)
    if file.flags:
        extra.add(row, "labelme.flags", file.flags)
    for key, value in file.others.items():
        extra.add(row, f"labelme.{key}", value)
    rows = _Shapes(batch, row, (width, height), shared, segments)
    for place, shape in enumerate(file.shapes):
        try:
            rows.add(shape)
        except ValueError as error:
            problems.append((f"shapes[{place}]", str(error)))
    if rows.loose:
        extra.add(row, "labelme.shapes", rows.loose)
    for label, said in (file.flags or {}).items() if isinstance(file.flags, dict) else ():
        if said is True and label.strip():
            rows.append(label, geometry.NO_BOX)


class _Shapes:
    """Takes the shapes of one file."""

    def __init__(self, batch: Batch, row: int, size: tuple[int, int], shared: dict[str, str], segments: bool) -> None:
        self._batch = batch
        self._row = row
        self._size = size
        self._shared = shared
        self._segments = segments
        self._object: tuple[Any, ...] | None = None  # what the parts of one object share
        self._rings: list[bytes] = []
        self._position = 0
        self.loose: list[dict[str, Any]] = []

    def append(self, label: str, box: geometry.Box) -> int:
        """Add a row; returns its number."""
        batch = self._batch
        batch.image_rows.append(self._row)
        batch.labels.append(self._shared.setdefault(label, label))
        batch.boxes.extend(box)
        return len(batch.labels) - 1

    def add(self, shape: Shape) -> None:
        """Take one shape.

        Raises:
            ValueError: if its points make no shape.
        """
        kind = shape.shape_type or "polygon"
        placed = geometry.place(kind, shape, self._size) if shape.label.strip() else None
        if placed is None:
            self._object = None
            self.loose.append({"at": self._position, **_plain(shape)})
            self._batch.loose += 1
            self._position += 1
            return
        own = _own_box(shape)
        if kind == "polygon" and not placed.exact:
            same = (shape.label, shape.group_id, _key(shape.flags), shape.description, shape.score, shape.others, own)
            if shape.group_id not in (UNSET, None) and same == self._object:
                self._add_part(placed, own)
                return
            self._object, self._rings = same, [placed.ring]
        else:
            self._object = None
        self._position += 1
        row = self.append(shape.label, own or placed.box)
        add = self._batch.extra.add
        if placed.segmentation is not None:
            add(row, "segmentation", placed.segmentation if self._segments else UNREAD)
        elif placed.ring:
            add(row, "segmentation", msgspec.Raw(b"[" + placed.ring + b"]") if self._segments else UNREAD)
        if placed.exact:
            add(row, "labelme.shape_type", kind)
            add(row, "labelme.points", [list(point) for point in shape.points])
        if shape.mask and placed.segmentation is None:
            add(row, "labelme.mask", shape.mask)
        nothing = self._add_said(row, shape)
        if nothing:
            said = tuple((key, repr(value)) for key, value in nothing.items())
            add(row, "labelme._nothing", self._batch.nothing.setdefault(said, nothing))
        for key, value in shape.others.items():
            if key != BOX or own is None:
                add(row, f"labelme.{key}", value)

    def _add_said(self, row: int, shape: Shape) -> dict[str, Any]:
        """Add what LabelMe's own keys say of a row; returns those that are there and say nothing."""
        add = self._batch.extra.add
        nothing: dict[str, Any] = {"mask": None} if shape.mask is None else {}
        for key, value in (("group_id", shape.group_id), ("description", shape.description)):
            if value is None or value == "":
                nothing[key] = value
            elif value is not UNSET:
                add(row, f"labelme.{key}", value)
        if shape.flags is not UNSET:
            flags = msgspec.json.decode(shape.flags) if bytes(shape.flags) != b"{}" else {}
            if flags:
                add(row, "labelme.flags", flags)
            else:
                nothing["flags"] = flags
        if shape.score is None:
            nothing["score"] = None
        elif shape.score is not UNSET:
            numeric = isinstance(shape.score, int | float) and not isinstance(shape.score, bool)
            add(row, "score" if numeric else "labelme.score", shape.score)
        return nothing

    def _add_part(self, placed: geometry.Placed, own: geometry.Box | None) -> None:
        """A further polygon of the object before it: LabelMe's own converters join those of one label and group."""
        self._rings.append(placed.ring)
        boxes = self._batch.boxes
        if own is None:
            boxes[-4], boxes[-3] = min(boxes[-4], placed.box[0]), min(boxes[-3], placed.box[1])
            boxes[-2], boxes[-1] = max(boxes[-2], placed.box[2]), max(boxes[-1], placed.box[3])
        if self._segments:
            self._batch.extra.exchange_last("segmentation", msgspec.Raw(b"[" + b",".join(self._rings) + b"]"))


def _own_box(shape: Shape) -> geometry.Box | None:
    said = shape.others.get(BOX)
    if said is None:
        return None
    try:
        box = msgspec.convert(said, geometry.Box)
    except msgspec.ValidationError:
        return None
    sound = all(abs(number) <= geometry.LARGEST for number in box)
    return box if sound and box[0] <= box[2] and box[1] <= box[3] else None


def _key(flags: Any) -> Any:
    return flags if flags is UNSET else bytes(flags)


def _plain(shape: Shape) -> dict[str, Any]:
    """A shape as its file has it."""
    said = {key: getattr(shape, key) for key in shape.__struct_fields__ if key != "others"}
    said["points"] = [list(point) for point in shape.points]
    if shape.flags is not UNSET:
        said["flags"] = msgspec.json.decode(shape.flags)
    return {key: value for key, value in said.items() if value is not UNSET} | shape.others
