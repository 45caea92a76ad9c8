"""Where boxes lie, how large they are beside their images, which categories meet, and how splits differ: tables of counts."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import centers
from augsuite.dataset.tables import Dataset

CELLS = 32
"""Rows and columns of the maps."""

_MET = 15  # categories in the matrix


class SplitCount(msgspec.Struct, frozen=True):
    """What one split holds.

    Attributes:
        name: "" for images of no split.
        images: how many.
        boxes: annotations with a box.
        image_labels: annotations of whole images.
        categories: annotations of either kind of each category, in the dataset's order.
    """

    name: str
    images: int
    boxes: int
    image_labels: int
    categories: list[int]


class CoOccurrence(msgspec.Struct, frozen=True):
    """In how many images two categories meet.

    Attributes:
        names: of the categories that stand in most images, the most frequent first; at most 15.
        images: for each of them a row: images that hold both it and each of the others; on the diagonal, images that hold it.
    """

    names: list[str]
    images: list[list[int]]


class Patterns(msgspec.Struct, frozen=True, kw_only=True):
    """Where, how large, beside what, in which split.

    Attributes:
        box_centers: 32 rows of 32 counts, from the top left: boxes whose centre lies in that part of their image.
        box_shapes: 32 rows of 32 counts: boxes by height (rows) and width (columns), as fractions of the image from 0 to 1.
        co_occurrence: which categories stand in one image.
        by_split: one entry for each split, in the order of their names.
    """

    box_centers: list[list[int]]
    box_shapes: list[list[int]]
    co_occurrence: CoOccurrence
    by_split: list[SplitCount]


def patterns(data: Dataset) -> Patterns:
    """Count where boxes lie and what meets; reads no image. Boxes of images of unknown size are in no map.

    Raises:
        DataError: if boxes are stored as fractions of images whose size is not known.
    """
    table = data.annotations
    sizes = data.images.sizes[table.image_rows].astype(np.float64)
    known = table.is_box & (sizes > 0).all(axis=1)
    corners, scale = data.boxes()[known], sizes[known]
    middle = centers(corners) / scale
    shapes = (corners[:, 2:] - corners[:, :2]) / scale
    return Patterns(
        box_centers=_map(middle[((middle >= 0) & (middle <= 1)).all(axis=1)]),
        box_shapes=_map(np.minimum(shapes[(shapes > 0).all(axis=1)], 1.0)),
        co_occurrence=_co_occurrence(data),
        by_split=_by_split(data),
    )


def _map(points: NDArray[np.float64]) -> list[list[int]]:
    """Counts of points x, y in [0, 1]; a row of the result is a range of y."""
    cells = np.minimum((points * CELLS).astype(np.int64), CELLS - 1)
    counts = np.bincount(cells[:, 1] * CELLS + cells[:, 0], minlength=CELLS * CELLS)
    found: list[list[int]] = counts.reshape(CELLS, CELLS).tolist()
    return found


def _co_occurrence(data: Dataset) -> CoOccurrence:
    table, count = data.annotations, len(data.categories)
    pairs = np.unique(table.image_rows * max(count, 1) + table.category_rows)
    images, categories = np.divmod(pairs, max(count, 1))
    used = np.bincount(categories, minlength=count)
    chosen = np.argsort(-used, kind="stable")[: min(_MET, int((used > 0).sum()))]
    place = np.full(count, -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    kept = place[categories] >= 0
    holds = np.zeros((len(data), len(chosen)), np.float32)  # float32 counts exactly up to 2^24, and multiplies fast
    holds[images[kept], place[categories[kept]]] = 1
    met = sum(
        ((part.T @ part).astype(np.int64) for part in np.array_split(holds, 1 + len(holds) // 2**20)),
        np.zeros((len(chosen), len(chosen)), np.int64),
    )
    return CoOccurrence(data.categories.names[chosen].tolist(), met.tolist())


def _by_split(data: Dataset) -> list[SplitCount]:
    names, rows = np.unique(data.images.splits.astype(str), return_inverse=True)
    table, count = data.annotations, len(data.categories)
    own = rows[table.image_rows]
    each = np.bincount(own * count + table.category_rows, minlength=len(names) * count).reshape(len(names), count)
    images = np.bincount(rows, minlength=len(names)).tolist()
    boxes = np.bincount(own[table.is_box], minlength=len(names)).tolist()
    labels = np.bincount(own[~table.is_box], minlength=len(names)).tolist()
    return [SplitCount(*row) for row in zip(names.tolist(), images, boxes, labels, each.tolist(), strict=True)]
