"""Out of FiftyOne into tables: what augsuite stored comes back exactly, with the user's edits; `foreign` reads what others made.

A value that is still what was stored stands in the record and is taken from there; whatever differs was edited, and counts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset.checks import Intake
from augsuite.dataset.tables import Annotations, Categories, Dataset, Images
from augsuite.errors import ConfigError
from augsuite_fiftyone import foreign, records
from augsuite_fiftyone.attributes import OF_LABELS, apply_edits
from augsuite_fiftyone.canvas import corners_of, in_layout, relative_boxes
from augsuite_fiftyone.foreign import add_others, around, columns, numbered, problem_of
from augsuite_fiftyone.labels import labels_of
from augsuite_fiftyone.outlines import forget_place
from augsuite_fiftyone.redrawn import Drawn, redrawn
from augsuite_fiftyone.views import documents, size_of


def load(dataset: Any, field: str = "", intake: Intake | None = None) -> Dataset:
    """Read a dataset or view of FiftyOne into tables.

    What augsuite stored comes back as it was: rows, numbers, ids, types, order. What was edited since counts: a moved box, another label, an
    attribute, a deleted or a new label, a redrawn polygon, mask or keypoint, a tag that names another split. A view gives what it shows.

    Args:
        dataset: a `fiftyone.Dataset` or a view of one; of groups, the active slice.
        field: the label field; by default what augsuite stored, else the only one there is, or `ground_truth`.
        intake: takes labels without a class, or whose box is none; by default they are errors.

    Returns:
        The dataset. An attribute that somebody added is the extra `fiftyone.<name>`.

    Raises:
        DataError: if a record of ours is damaged, a label is invalid, or a box is on an image of unknown size.
        ConfigError: if there is no such field, or several and none was named; if these are no images.
    """
    intake = intake or Intake()
    whole = getattr(dataset, "_dataset", dataset)
    record = records.read_dataset(whole.info, whole.name)
    schema = dataset.get_field_schema()
    if record is None or records.FIELD not in schema or field not in {"", record.boxes, record.labels}:
        return foreign.load(dataset, field, intake)
    for name in (record.boxes, record.labels):
        if name and name not in schema:
            raise ConfigError(
                f"{whole.name}: the label field {name!r}, as it was stored, is not there. Name it so again, choose a view that has it, "
                f"or say which field to read with --option field=NAME."
            )
    found = _Found(record, whole.name, {name for name in schema if name in record.fields}, intake)
    wanted = [
        "filepath",
        "tags",
        "metadata",
        "split",
        records.FIELD,
        *(seen.name for seen in record.of_images),
        *found.fields,
    ]
    for document in documents(dataset, [name for name in wanted if name in schema]):
        found.take(document)
    return found.dataset()


@dataclass
class _Label:
    """One annotation on its way: what the record says of it, and what FiftyOne holds now."""

    image: int
    name: str
    record: records.LabelRecord | None
    box: Sequence[float] | None
    ignore: bool
    extra: dict[str, Any]
    drawn: Drawn


class _Found:
    """What was found so far."""

    def __init__(self, record: records.DatasetRecord, name: str, fields: Collection[str], intake: Intake) -> None:
        self.record = record
        self.name = name
        self.fields = fields
        self.intake = intake
        self._own = {*OF_LABELS, *record.ignored, *(seen.name for seen in record.of_labels)}
        self._images: list[tuple[records.SampleRecord, dict[str, Any]]] = []
        self._labels: list[_Label] = []

    def take(self, document: Mapping[str, Any]) -> None:
        """Take a sample."""
        record = self.record
        path = str(document.get("filepath"))
        text = document.get(records.FIELD)
        if text is None:
            sample = records.SampleRecord(
                -1, 0, Path(path).name, size_of(document), "", path, path, records.NOTHING, {}
            )
        else:
            sample = records.read_sample(text, f"{self.name}: {path}")
        extra = records.unpack(sample.extra, self.name)
        apply_edits(record.of_images, extra, document)
        sample.split = self._split(sample.split, document)
        if path != sample.filepath:
            sample.file = sample.filepath = path
        self._images.append((sample, extra))
        known = sample.labels
        placed = [
            {str(label.get("_id")): label for label in labels_of(document.get(field))} if field in self.fields else None
            for field in (record.polygons, record.keypoints)
        ]
        ids = set()
        for field in (record.boxes, record.labels):
            for label in labels_of(document.get(field)) if field in self.fields else []:
                key = str(label.get("_id"))
                boxed = field == record.boxes
                own = known.get(key) if key not in ids else None  # a copy with the id of another is a new one
                ids.add(key)
                problem = problem_of(label, known=own is not None)
                if problem:
                    self.intake.reject(f"{self.name}: {path}: {field}", problem)
                    continue
                box = list(map(float, label["bounding_box"])) if boxed else None
                self._add(
                    label, own, box, Drawn(label, *(None if each is None else each.get(key, {}) for each in placed))
                )
        for each in placed:
            for key, label in (each or {}).items():
                if key not in ids and key not in known:
                    ids.add(key)
                    drawn = Drawn({}, *(None if every is None else every.get(key, {}) for every in placed))
                    self._add(label, None, around(label), drawn)

    def _add(
        self, label: Mapping[str, Any], own: records.LabelRecord | None, box: Sequence[float] | None, drawn: Drawn
    ) -> None:
        extra = records.unpack(own.extra, self.name) if own else {}
        apply_edits(self.record.of_labels, extra, label)
        add_others(extra, label, self._own)
        before = own.ignore if own else False
        said = [bool(label[name]) for name in self.record.ignored if label.get(name) is not None]
        ignore = not before if any(value != before for value in said) else before
        self._labels.append(
            _Label(len(self._images) - 1, str(label.get("label") or ""), own, box, ignore, extra, drawn)
        )

    def _split(self, before: str, document: Mapping[str, Any]) -> str:
        """The split that the field says, if it was edited, else the tag of another split that took the place of its own."""
        said = document.get("split")
        if isinstance(said, str) and said != before:
            return said
        tags = document.get("tags") or []
        others = [tag for tag in tags if tag and tag in self.record.splits]
        return others[0] if len(others) == 1 and before not in tags else before

    def dataset(self) -> Dataset:
        """All of it.

        Raises:
            DataError: if a new box is on an image of unknown size.
        """
        record = self.record
        order = sorted(range(len(self._images)), key=lambda place: self._images[place][0].row % (1 << 62))
        position = {place: row for row, place in enumerate(order)}
        samples = [self._images[place][0] for place in order]
        labels = sorted(self._labels, key=lambda label: label.record.row if label.record else math.inf)
        images = Images.of(
            [sample.name for sample in samples],
            np.array([sample.size for sample in samples], np.int64).reshape(-1, 2),
            numbered([None if sample.row < 0 else sample.id for sample in samples]),
            [sample.split for sample in samples],
            [sample.file for sample in samples],
            columns([self._images[place][1] for place in order], record.columns[0]),
        )
        categories = self._categories(labels)
        row_of = {name: row for row, name in enumerate(categories.names.tolist())}
        nothing = (np.nan,) * 4
        annotations = Annotations.of(
            [position[label.image] for label in labels],
            [row_of[label.name] for label in labels],
            [label.record.box if label.record and label.record.box else nothing for label in labels],
            Layout(record.layout),
            numbered([label.record.id if label.record else None for label in labels]),
            [label.ignore for label in labels],
            columns([label.extra for label in labels], record.columns[1]),
        )
        data = Dataset(images, categories, annotations, Path(record.root), records.unpack(record.extra, self.name))
        return self._edited(data, labels)

    def _edited(self, data: Dataset, labels: Sequence[_Label]) -> Dataset:
        """The dataset, whose boxes and shapes are those of the record, with what was moved and drawn since."""
        table = data.annotations
        now = np.array([(np.nan,) * 4 if label.box is None else label.box for label in labels], np.float64).reshape(
            -1, 4
        )
        moved = ~(now == relative_boxes(data)).all(axis=1) & ~np.isnan(now[:, 0])
        boxes = table.boxes.copy()
        rows = np.flatnonzero(moved)
        boxes[rows] = in_layout(now[rows], table.layout, data.images.sizes[table.image_rows[rows]], self.name)
        after = replace(data, annotations=replace(table, boxes=boxes))
        extras = [label.extra for label in labels]
        if self.record.polygons:
            redrawn(data, after, moved, extras, [label.drawn for label in labels])
        corners = corners_of(after)
        for row in rows.tolist():
            forget_place(extras[row], corners[row])
        return replace(after, annotations=replace(after.annotations, extra=columns(extras, self.record.columns[1])))

    def _categories(self, labels: Sequence[_Label]) -> Categories:
        """Those of the record, and after them those that only labels name."""
        known = self.record.categories
        names = dict.fromkeys([*(category.name for category in known), *(label.name for label in labels)])
        ids = [category.id for category in known]
        first = max(ids, default=0) + 1
        ids += range(first, first + len(names) - len(ids))
        extras = [records.unpack(category.extra, self.name) for category in known] + [
            {} for _ in range(len(names) - len(known))
        ]
        return Categories.of(names, ids, columns(extras, []))
