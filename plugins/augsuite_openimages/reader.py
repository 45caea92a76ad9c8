"""OpenImages' CSV files to tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, Intake, objects
from augsuite.dataset.checks import LARGEST, number
from augsuite.dataset.files import Finder, with_sizes
from augsuite.dataset.progress import advance
from augsuite.errors import DataError
from augsuite_openimages.columns import mapped, numbers, read_blocks, read_rows
from augsuite_openimages.layout import File, find_files

CORNERS = ("XMin", "YMin", "XMax", "YMax")
FLAGS = ("IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside")
OWN_IMAGE_COLUMNS = ("FileName", "Width", "Height")
"""Columns that we add to OpenImages' list of images, where a dataset has something to say there."""
_KNOWN = frozenset({"ImageID", "LabelName", "Confidence", "Source", *CORNERS, *FLAGS})
_UNKNOWN = "-1"


def read(path: Path, intake: Intake) -> Dataset:
    """Read `*-annotations-bbox.csv`, `*-annotations-human-imagelabels.csv`, the lists of images and the descriptions of classes.

    The split is the file's, or the column `Subset`. Classes are called by their descriptions; their ids stay as
    `openimages.LabelName`. A group of objects (`IsGroupOf`) is an ignored annotation. A label that was verified to be absent
    (`Confidence` 0) is no label, and kept as `openimages.absent` of its image. Another confidence than 1 is a `score`.

    Raises:
        DataError: in one line: file, line, what was expected, what was found.
    """
    files = find_files(path)
    if not any(file.kind != "classes" for file in files):
        raise DataError(f"{path}: no file such as train-annotations-bbox.csv. Name the folder that has it.")
    tables = _Tables(intake, _descriptions(files))
    for kind in ("images", "boxes", "labels"):
        for file in files:
            if file.kind == "images" == kind:
                tables.add_images(file)
            elif file.kind == kind:
                tables.add_annotations(file)
    root = path if path.is_dir() else path.parent
    return with_sizes(tables.dataset(root.parent if root.name == "annotations" else root, path))


def _descriptions(files: Sequence[File]) -> dict[str, str]:
    """Label -> name, in the order of the files."""
    said: dict[str, str] = {}
    for file in files:
        if file.kind != "classes":
            continue
        for number_of, row in enumerate(read_rows(file.path), start=1):
            if len(row) != 2 or not row[0]:
                raise DataError(
                    f"{file.path}: row {number_of}: expected a label and its name, got {len(row)} cells. Fix the row."
                )
            if row != ["LabelName", "DisplayName"]:
                said[row[0]] = row[1]
    return said


@dataclass
class _Tables:
    """What the files have given so far."""

    intake: Intake
    descriptions: dict[str, str]
    images: dict[tuple[str, str], int] = field(default_factory=dict)
    by_id: dict[str, int] = field(default_factory=dict)
    image_extra: dict[int, dict[str, Any]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    image_rows: list[NDArray[np.int64]] = field(default_factory=list)
    category_rows: list[NDArray[np.int64]] = field(default_factory=list)
    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    ignore: list[NDArray[np.bool_]] = field(default_factory=list)
    extra: list[dict[str, NDArray[np.object_]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.labels.update({label: row for row, label in enumerate(self.descriptions)})

    def _image(self, split: str, image_id: str) -> int:
        """The row of an image; one without a split is that of any."""
        row = self.images.get((split, image_id))
        if row is None and not split:
            row = self.by_id.get(image_id)
        if row is None:
            row = self.images[split, image_id] = len(self.images)
            self.by_id.setdefault(image_id, row)
        return row

    def add_images(self, file: File) -> None:
        """Read a list of images. A row may be short: the lists that people make by hand are."""
        rows = read_rows(file.path)
        head = rows[0] if rows else []
        if "ImageID" not in head:
            raise DataError(
                f"{file.path}: line 1: expected the column ImageID, got: {' '.join(', '.join(head).split())[:200]}. Fix the header."
            )
        for line, cells in enumerate(rows[1:], start=2):
            said = {key: cell for key, cell in zip(head, cells, strict=False) if cell}
            image_id = said.pop("ImageID", "")
            if not image_id or len(cells) > len(head):
                self.intake.reject(
                    f"{file.path}: row {line}", f"expected {len(head)} columns that begin with an ImageID"
                )
                continue
            if len(cells) < len(head):
                self.intake.note(f"{file.path}: a row is shorter than its header; what is missing is taken for empty")
            row = self._image(said.pop("Subset", file.split), image_id)
            self.image_extra.setdefault(row, {}).update(said)

    def add_annotations(self, file: File) -> None:
        """Read boxes, or labels of whole images."""
        boxed = file.kind == "boxes"
        needed = ("ImageID", "LabelName", *(CORNERS if boxed else ()))
        for first, batch in read_blocks(file.path, needed, self.intake):
            self._add(file, first, batch, boxed=boxed)
            advance("reading", len(batch))

    def _add(self, file: File, first: int, batch: pa.RecordBatch, *, boxed: bool) -> None:
        count = len(batch)
        ids = mapped(batch.column("ImageID"), str.strip)
        labels = mapped(batch.column("LabelName"), str.strip)
        boxes = np.full((count, 4), np.nan)
        bad: NDArray[np.bool_] = (ids == "") | (labels == "")
        if boxed:
            boxes = np.stack([numbers(batch.column(name)) for name in CORNERS], axis=1)
            bad |= ~((np.abs(boxes) <= LARGEST).all(axis=1) & (boxes[:, 2:] >= boxes[:, :2]).all(axis=1))
        confidence = self._confidence(batch)
        bad |= np.array([value is None for value in confidence], bool)
        for row in np.flatnonzero(bad).tolist():
            said = ", ".join(str(batch.column(name)[row].as_py()) for name in batch.schema.names)[:120]
            said = " ".join(said.split())
            what = "an image, a label and corners with XMin <= XMax, YMin <= YMax" if boxed else "an image and a label"
            self.intake.reject(f"{file.path}: line {first + row + 2}", f"expected {what}, got {said}")
        absent = np.array([value == 0 and not boxed for value in confidence], bool) & ~bad
        source = self._column(batch, "Source")
        for row in np.flatnonzero(absent).tolist():
            image = self.image_extra.setdefault(self._image(file.split, ids[row]), {})
            by = [source[row]] if source is not None and source[row] is not ABSENT else []
            image.setdefault("absent", []).append([labels[row], *by])
        keep = ~bad & ~absent
        self.image_rows.append(np.array([self._image(file.split, each) for each in ids[keep]], np.int64))
        self.category_rows.append(
            np.array([self.labels.setdefault(each, len(self.labels)) for each in labels[keep]], np.int64)
        )
        self.boxes.append(boxes[keep])
        extra: dict[str, NDArray[np.object_]] = {"score": objects(list(confidence))} if confidence else {}
        self.ignore.append(np.zeros(int(keep.sum()), bool))
        if boxed and "IsGroupOf" in batch.schema.names:
            self.ignore[-1] = (mapped(batch.column("IsGroupOf"), str.strip) == "1")[keep].astype(bool)
        for name in batch.schema.names:
            if name not in {"ImageID", "LabelName", "Confidence", *CORNERS}:
                column = self._column(batch, name)
                if column is not None:
                    extra[f"openimages.{name}"] = column
        self.extra.append({key: values[keep] for key, values in extra.items()})

    @staticmethod
    def _confidence(batch: pa.RecordBatch) -> list[Any]:
        """Scores: ABSENT for the 1 of what people verified, None for what is no number; a score of 1 is written `1.0`."""
        if "Confidence" not in batch.schema.names:
            return [ABSENT] * len(batch)

        def score(text: str) -> Any:
            if text.strip() in {"", "1"}:
                return ABSENT
            value = number(text)
            return None if math.isnan(value) else value

        return list(mapped(batch.column("Confidence"), score))

    @staticmethod
    def _column(batch: pa.RecordBatch, name: str) -> NDArray[np.object_] | None:
        """A column of text, ABSENT where it says nothing; for `IsGroupOf`, which `ignore` says too, only what is unknown."""
        if name not in batch.schema.names:
            return None
        silent = {"0", "1", ""} if name == "IsGroupOf" else {_UNKNOWN, ""} if name in FLAGS else {""}
        values = mapped(batch.column(name), lambda text: ABSENT if text in silent else text)
        return None if (values == ABSENT).all() else values

    def dataset(self, root: Path, path: Path) -> Dataset:
        """The tables."""
        root = root.resolve()
        keys = list(self.images)
        finders: dict[str, Finder] = {}
        names, files, sizes = [], [], np.zeros((len(keys), 2), np.int64)
        missing = 0
        for row, (split, image_id) in enumerate(keys):
            if split not in finders:
                folders = [f"images/{split}", split, "images", ""] if split else ["images", ""]
                finders[split] = Finder(root, folders, allow_outside=self.intake.allow_outside)
            said = self.image_extra.get(row, {})
            file = finders[split].find(image_id, stem=True)
            if not file and said.get("FileName"):
                file = finders[split].find(image_id)
            missing += not file
            files.append(file)
            suffix = file[file.rfind(".") :] if file and not file.endswith(image_id) else ""
            names.append(said.pop("FileName", "") or image_id + suffix)
            sizes[row] = [_side(said.pop(side, "")) for side in ("Width", "Height")]
        if missing:
            self.intake.note(f"{path}: {missing:,} of {len(keys):,} images have no file")
        image_keys = dict.fromkeys(key for said in self.image_extra.values() for key in said)
        image_extra = {
            f"openimages.{key}": objects([self.image_extra.get(row, {}).get(key, ABSENT) for row in range(len(keys))])
            for key in image_keys
        }
        extra_keys = dict.fromkeys(key for extra in self.extra for key in extra)
        counts = [len(rows) for rows in self.image_rows]
        extra = {
            key: np.concatenate(
                [each.get(key, np.full(count, ABSENT, object)) for each, count in zip(self.extra, counts, strict=True)]
            )
            for key in extra_keys
        }
        return Dataset(
            Images.of(names, sizes, splits=[split for split, _ in keys], files=files, extra=image_extra),
            self._categories(),
            Annotations.of(
                np.concatenate([np.zeros(0, np.int64), *self.image_rows]),
                np.concatenate([np.zeros(0, np.int64), *self.category_rows]),
                np.concatenate([np.zeros((0, 4)), *self.boxes]),
                Layout.XYXY_UNIT,
                ignore=np.concatenate([np.zeros(0, bool), *self.ignore]),
                extra={key: values for key, values in extra.items() if not (values == ABSENT).all()},
            ),
            root=root,
        )

    def _categories(self) -> Categories:
        """Classes by their descriptions; two with one description are told apart by their labels."""
        taken: set[str] = set()
        names = []
        for label in self.labels:
            name = self.descriptions.get(label) or label
            name = f"{name} ({label})" if name in taken else name
            taken.add(name)
            names.append(name)
        said = [ABSENT if name == label else label for name, label in zip(names, self.labels, strict=True)]
        extra = {} if all(label is ABSENT for label in said) else {"openimages.LabelName": objects(said)}
        return Categories.of(names, extra=extra)


def _side(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
