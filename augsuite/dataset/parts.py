"""Datasets that come in parts: annotations image by image, and several parts as one dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import ABSENT, Dataset, Extra, Rows


class ByImage:
    """The annotations of a dataset, found by image without a search.

    Attributes:
        order: `(N,)` annotation rows sorted by image, those of an image as in the table.
        starts: `(I + 1,)` where in `order` those of each image begin.
    """

    def __init__(self, data: Dataset) -> None:
        rows = data.annotations.image_rows
        counts = np.bincount(rows, minlength=len(data))
        self.order: Rows = np.argsort(rows, kind="stable")
        self.starts: Rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def of(self, images: Rows) -> tuple[Rows, Rows]:
        """The annotation rows of some images, one image after the other, and `(len(images) + 1,)` where each begins."""
        first = self.starts[images]
        offsets = np.concatenate([[0], np.cumsum(self.starts[images + 1] - first)]).astype(np.int64)
        shift = np.repeat(first - offsets[:-1], np.diff(offsets))
        return self.order[np.arange(offsets[-1]) + shift], offsets


def joined(parts: Iterable[Dataset]) -> Dataset:
    """Parts of one dataset, as `ReadParts` gives them, as a whole.

    Args:
        parts: at least one; all with the same categories, layout and root.
    """
    listed = list(parts)
    if len(listed) == 1:
        return listed[0]
    first = listed[0]
    tables = [part.annotations for part in listed]
    starts = np.cumsum([0, *(len(part) for part in listed)])
    own: Any = {
        name: np.concatenate([getattr(part.images, name) for part in listed])
        for name in ("names", "sizes", "ids", "splits", "files")
    }
    extra = _extras([part.images.extra for part in listed], [len(part) for part in listed])
    images = replace(first.images, **own, extra=extra)
    own = {
        name: np.concatenate([getattr(table, name) for table in tables])
        for name in ("category_rows", "boxes", "ids", "ignore")
    }
    own["image_rows"] = np.concatenate(
        [table.image_rows + start for table, start in zip(tables, starts[:-1], strict=True)]
    )
    extra = _extras([table.extra for table in tables], [len(table) for table in tables])
    annotations = replace(first.annotations, **own, extra=extra)
    return replace(first, images=images, annotations=annotations)


def _extras(extras: Sequence[Extra], counts: Sequence[int]) -> Mapping[str, NDArray[np.object_]]:
    keys = dict.fromkeys(key for extra in extras for key in extra)
    return {
        key: np.concatenate(
            [
                extra[key] if key in extra else np.full(count, ABSENT, object)
                for extra, count in zip(extras, counts, strict=True)
            ]
        )
        for key in keys
    }
