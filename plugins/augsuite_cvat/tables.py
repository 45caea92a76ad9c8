"""What CVAT files have given so far, in columns."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from augsuite.dataset import ABSENT, Annotations, Categories, Images, objects
from augsuite.dataset.columns import GrowingExtras
from augsuite_cvat.elements import listed

LARGEST_ID = 2**62


@dataclass
class Tables:
    """Images, labels and shapes; a shape names its label by its place in `seen`."""

    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    ids: list[int | None] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    image_extra: GrowingExtras = field(default_factory=GrowingExtras)
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    image_rows: array[int] = field(default_factory=lambda: array("q"))
    labels: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[float] = field(default_factory=lambda: array("d"))
    extra: GrowingExtras = field(default_factory=GrowingExtras)
    head: dict[str, Any] = field(default_factory=dict)

    def images(self) -> Images:
        """The table of images; ids that several have, or none, are exchanged for free ones."""
        ids = free_ids(self.ids)
        for row, (said, own) in enumerate(zip(self.ids, ids, strict=True)):
            if said is not None and said != own:
                self.image_extra.add(row, "cvat.id", said)
        return Images.of(
            self.names,
            np.array(self.sizes, np.int64).reshape(-1, 2),
            np.array(ids, np.int64),
            self.splits,
            self.files,
            self.image_extra.columns(len(self.names)),
        )

    def categories(self) -> Categories:
        """The labels declared, in that order, then those that only shapes name."""
        names = list(dict.fromkeys((*self.declared, *self.seen)))
        keys = dict.fromkeys(key for said in self.declared.values() for key in said)
        nothing: dict[str, Any] = {}
        extra = {
            f"cvat.{key}": objects([self.declared.get(name, nothing).get(key, ABSENT) for name in names])
            for key in keys
        }
        return Categories.of(names, extra=extra)

    def annotations(self, categories: Categories) -> Annotations:
        """The table of shapes that have a box, and of tags."""
        rows = {name: row for row, name in enumerate(categories.names.tolist())}
        of_label = np.array([rows[name] for name in self.seen], np.int64)
        labels = np.frombuffer(self.labels, np.int64) if self.labels else np.zeros(0, np.int64)
        return Annotations.of(
            np.frombuffer(self.image_rows, np.int64) if self.image_rows else [],
            of_label[labels],
            np.frombuffer(self.boxes, np.float64) if self.boxes else np.zeros((0, 4)),
            extra=self.extra.columns(len(labels)),
        )

    def declare(self, labels: Any) -> list[str]:
        """Take the labels of a file; returns the names that it declares twice.

        The points of a skeleton have labels of their own, whose names only it makes unique: they go with it.
        """
        twice = []
        own: set[str] = set()
        parts: dict[str, list[Any]] = {}
        for label in listed(labels["label"]) if isinstance(labels, dict) and "label" in labels else []:
            said = dict(label) if isinstance(label, dict) else {"name": label}
            name, parent = said.pop("name", ""), said.get("parent")
            if isinstance(parent, str) and parent:
                parts.setdefault(parent, []).append(label)
            elif not isinstance(name, str) or name in own:
                twice.append(str(name))
            elif name.strip():
                own.add(name)
                self.declared.setdefault(name, said)
        for parent, sublabels in parts.items():
            self.declared.setdefault(parent, {})["sublabels"] = sublabels
        return twice


def free_ids(ids: list[int | None]) -> list[int]:
    """Ids of which each stands once: one that stood before, or is missing, becomes the next above all."""
    taken: set[int] = set()
    following = max((number for number in ids if number is not None), default=-1) + 1
    result = []
    for number in ids:
        own = number
        if own is None or own in taken:
            own = following
            following += 1
        taken.add(own)
        result.append(own)
    return result
