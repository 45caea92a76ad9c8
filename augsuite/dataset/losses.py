"""What a format cannot hold: counted the same way for every format, from what the format says it keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import numpy as np

from augsuite.dataset.checks import kept
from augsuite.dataset.shapes import is_polygons
from augsuite.dataset.tables import ABSENT, Dataset, Extra, Rows


def keep(data: Dataset, keeps: Collection[str], placed: bool = True) -> tuple[Dataset, Counter[str]]:
    """Leave out what a format does not keep, and count it.

    Args:
        data: the dataset.
        keeps: what the format keeps; see `FormatSpec.keeps`.
        placed: whether the image files travel with the annotations.

    Returns:
        What is left for the writer (boxes, image labels and images that the format cannot hold are gone; columns that it does not
        keep are still there), and kind -> how many values are lost.
    """
    lost: Counter[str] = Counter()
    table = data.annotations
    if "image_labels" not in keeps and not table.is_box.all():
        lost["image labels"] = int((~table.is_box).sum())
        table = table.take(table.is_box)
    if "boxes" not in keeps and table.is_box.any():
        lost["boxes"] = int(table.is_box.sum())
        table = table.take(~table.is_box)
    data = replace(data, annotations=table)
    files = data.images.files != ""
    present = files if placed else np.zeros(len(files), bool)
    if "names" not in keeps and not present.all():
        lost["images without a file"] = int((~present).sum())
        data = data.take(np.flatnonzero(present))
        present = np.ones(len(data), bool)
    annotated = np.bincount(data.annotations.image_rows, minlength=len(data)) > 0
    if "empty_images" not in keeps and not annotated.all():
        lost["images without annotations"] = int((~annotated).sum())
        data = data.take(np.flatnonzero(annotated))
        present = present[annotated]
    images, categories, table = data.images, data.categories, data.annotations
    if "ids" not in keeps:
        lost["image ids"] = _numbered(images.ids)
        lost["category ids"] = _numbered(categories.ids)
        lost["annotation ids"] = _numbered(table.ids)
    if "splits" not in keeps:
        lost["splits"] = int((images.splits != "").sum())
    if "sizes" not in keeps:
        lost["image sizes"] = int(((images.sizes > 0).all(axis=1) & ~present).sum())
    if "ignore" not in keeps:
        lost["ignore"] = int(table.ignore.sum())
    if "unused_categories" not in keeps:
        lost["unused categories"] = len(categories) - len(np.unique(table.category_rows))
    for extras in (images.extra, categories.extra, table.extra):
        lost.update(_extras(extras, keeps))
    if "polygons" in keeps and "segmentation" in table.extra and "segmentation" not in keeps:
        lost["segmentation"] -= sum(is_polygons(value) for value in table.extra["segmentation"].tolist())
    lost.update({key: 1 for key in data.extra if not kept(key, keeps) and not is_spelling(key)})
    return data, +lost


def _numbered(ids: Rows) -> int:
    """How many ids say something: all of them, unless they are row + 1, which any reader gives."""
    return 0 if (ids == np.arange(1, len(ids) + 1)).all() else len(ids)


def _extras(extras: Extra, keeps: Collection[str]) -> Counter[str]:
    return Counter(
        {
            key: sum(value is not ABSENT for value in values.tolist())
            for key, values in extras.items()
            if not kept(key, keeps) and not is_spelling(key)
        }
    )


def is_spelling(key: str) -> bool:
    """Whether an extra (`coco._bbox`) says only how a file wrote what the tables hold: of use to its format, and no value."""
    return key.partition(".")[2].startswith("_")
