"""What a format cannot hold: counted the same way for every format, from what the format says it keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from augsuite.dataset.checks import kept
from augsuite.dataset.tables import ABSENT, Dataset, Extra, Rows


def keep(data: Dataset, keeps: Collection[str], placed: bool = True) -> tuple[Dataset, Counter[str]]:
    """Leave out what a format does not keep, and count it; see `Keeping`."""
    keeping = Keeping(keeps, placed)
    left = keeping.take(data)
    return left, keeping.losses()


class Keeping:
    """Leaves out what a format does not keep, part by part of a dataset, and counts it.

    Args:
        keeps: what the format keeps; see `FormatSpec.keeps`.
        placed: whether the image files travel with the annotations.
    """

    def __init__(self, keeps: Collection[str], placed: bool = True) -> None:
        self._keeps = keeps
        self._placed = placed
        self._lost: Counter[str] = Counter()
        self._ids = {"image ids": _Count(), "annotation ids": _Count()}
        self._used: Rows | None = None
        self._whole: Counter[str] = Counter()

    def take(self, data: Dataset) -> Dataset:
        """Take a part.

        Returns:
            What is left for the writer: boxes, image labels and images that the format cannot hold are gone; columns that it does not
            keep are still there.
        """
        keeps, lost = self._keeps, self._lost
        self._ids["image ids"].look_at(data.images.ids)
        self._ids["annotation ids"].look_at(data.annotations.ids)
        table = data.annotations
        if "image_labels" not in keeps and not table.is_box.all():
            lost["image labels"] += int((~table.is_box).sum())
            table = table.take(table.is_box)
        if "boxes" not in keeps and table.is_box.any():
            lost["boxes"] += int(table.is_box.sum())
            table = table.take(~table.is_box)
        if table is not data.annotations:
            data = replace(data, annotations=table)
        files = data.images.files != ""
        present = files if self._placed else np.zeros(len(files), bool)
        if "names" not in keeps and not present.all():
            lost["images without a file"] += int((~present).sum())
            data = data.take(np.flatnonzero(present))
            present = np.ones(len(data), bool)
        annotated = np.bincount(data.annotations.image_rows, minlength=len(data)) > 0
        if "empty_images" not in keeps and not annotated.all():
            lost["images without annotations"] += int((~annotated).sum())
            data = data.take(np.flatnonzero(annotated))
            present = present[annotated]
        self._count(data, present)
        return data

    def _count(self, data: Dataset, present: np.ndarray) -> None:
        keeps, lost = self._keeps, self._lost
        images, categories, table = data.images, data.categories, data.annotations
        self._ids["image ids"].left += len(images)
        self._ids["annotation ids"].left += len(table)
        if "splits" not in keeps:
            lost["splits"] += int((images.splits != "").sum())
        if "sizes" not in keeps:
            lost["image sizes"] += int(((images.sizes > 0).all(axis=1) & ~present).sum())
        if "ignore" not in keeps:
            lost["ignore"] += int(table.ignore.sum())
        for extras in (images.extra, table.extra):
            lost.update(_extras(extras, keeps))
        used = np.bincount(table.category_rows, minlength=len(categories))
        self._used = used if self._used is None else self._used + used
        self._whole = _extras(categories.extra, keeps) + Counter(_whole(data.extra, keeps))
        if "ids" not in keeps:
            self._whole["category ids"] = 0 if _counts_rows(categories.ids, 0) else len(categories)

    def losses(self) -> Counter[str]:
        """Kind -> how many values of all parts are lost."""
        lost = self._lost + self._whole
        if "ids" not in self._keeps:
            lost.update(
                {name: ids.said for name, ids in self._ids.items() if name.replace(" ", "_") not in self._keeps}
            )
        if "unused_categories" not in self._keeps and self._used is not None:
            lost["unused categories"] += int((self._used == 0).sum())
        return +lost


class _Count:
    """How many ids say something: all of them, unless they are row + 1, which any reader gives."""

    def __init__(self) -> None:
        self._rows = 0
        self._plain = True
        self.left = 0

    def look_at(self, ids: Rows) -> None:
        self._plain = self._plain and _counts_rows(ids, self._rows)
        self._rows += len(ids)

    @property
    def said(self) -> int:
        return 0 if self._plain else self.left


def _counts_rows(ids: Rows, first: int) -> bool:
    return bool((ids == np.arange(first + 1, first + len(ids) + 1)).all())


def _extras(extras: Extra, keeps: Collection[str]) -> Counter[str]:
    return Counter(
        {
            key: len(values) - values.tolist().count(ABSENT)
            for key, values in extras.items()
            if not kept(key, keeps) and not is_spelling(key)
        }
    )


def _whole(extra: Mapping[str, Any], keeps: Collection[str]) -> dict[str, int]:
    return {key: 1 for key in extra if not kept(key, keeps) and not is_spelling(key)}


def is_spelling(key: str) -> bool:
    """Whether an extra (`coco._bbox`) says only how a file wrote what the tables hold: of use to its format, and no value."""
    return key.partition(".")[2].startswith("_")
