"""What CVAT files have given so far, in columns."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset import ABSENT, Annotations, Categories, Images, objects
from augsuite_cvat.elements import listed

NO_LABEL = ""
LARGEST_ID = 2**62


class Extras:
    """Extras of which each row says some: key -> rows and values."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[array[int], list[Any]]] = {}

    def add(self, row: int, key: str, value: Any) -> None:
        """Take one value; rows come in order."""
        said = self._said.get(key)
        if said is None:
            said = self._said[key] = (array("q"), [])
        said[0].append(row)
        said[1].append(value)

    def exchange_last(self, key: str, value: Any) -> None:
        """Put another value in the place of the last one."""
        self._said[key][1][-1] = value

    def columns(self, count: int) -> dict[str, NDArray[np.object_]]:
        """Key -> one value for each of `count` rows, ABSENT where none was said."""
        result = {}
        for key, (rows, values) in self._said.items():
            column = np.full(count, ABSENT, object)
            column[np.frombuffer(rows, np.int64)] = objects(values)
            result[key] = column
        return result


@dataclass
class Tables:
    """Images, labels and shapes; a shape names its label by its place in `seen`."""

    names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    ids: list[int | None] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    image_extra: Extras = field(default_factory=Extras)
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    image_rows: array[int] = field(default_factory=lambda: array("q"))
    labels: array[int] = field(default_factory=lambda: array("q"))
    boxes: array[float] = field(default_factory=lambda: array("d"))
    extra: Extras = field(default_factory=Extras)
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
            name, parent = said.pop("name", NO_LABEL), said.get("parent")
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
