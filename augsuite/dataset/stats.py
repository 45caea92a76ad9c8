"""What is in a dataset, in numbers."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from augsuite.boxes import Boxes
from augsuite.dataset.tables import Dataset

SMALL, LARGE = 32.0**2, 96.0**2
"""COCO's bounds of small and large, as areas in square pixels; Lin et al. 2014, and pycocotools' `areaRng`."""

_OUTSIDE_PX = 0.01  # boxes stored as rounded fractions miss the border by less than this
_PER_IMAGE = (0, 1, 2, 3, 5, 10, 20, 50, 100)
_SIDES_PX = (0, 8, 16, 32, 64, 96, 128, 256, 512)
_RATIOS = (0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3, 4)


class Spread(msgspec.Struct, frozen=True):
    """Where values lie. All are 0 where there are none."""

    min: float
    median: float
    mean: float
    max: float


class Bin(msgspec.Struct, frozen=True):
    """One bar of a histogram: `count` values `v` with `low <= v < high`; the last bar has no `high`."""

    low: float
    high: float | None
    count: int


class CategoryCount(msgspec.Struct, frozen=True):
    """How often one category is used.

    Attributes:
        name: the category.
        boxes: annotations with a box.
        image_labels: annotations of whole images.
        images: images with at least one of either.
    """

    name: str
    boxes: int
    image_labels: int
    images: int


class SizeCount(msgspec.Struct, frozen=True):
    """How many images have one size, in pixels."""

    width: int
    height: int
    images: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset in numbers. What concerns sizes and places leaves out boxes that are empty.

    Attributes:
        images: how many.
        splits: images of each split; empty where there are no splits.
        images_without_annotations: images with neither box nor label.
        images_of_unknown_size: images whose width and height were not found.
        image_sizes: the sizes, most frequent first.
        boxes: annotations with a box.
        image_labels: annotations of whole images.
        ignored: annotations that are no training target (COCO's crowds, VOC's difficult objects); counted in `boxes` too.
        categories: in the dataset's order, also those that are never used.
        boxes_per_image: over all images.
        boxes_per_image_bins: its histogram.
        small: boxes of an area below 32 x 32 px, as COCO has it; here the area of the box.
        medium: boxes in between.
        large: boxes of an area of 96 x 96 px or more.
        box_width: in pixels.
        box_height: in pixels.
        box_side_bins: histogram of the square root of the area, in pixels.
        aspect_ratio: width / height.
        aspect_ratio_bins: its histogram.
        empty_boxes: boxes without area: no width, no height, or corners swapped.
        boxes_outside: boxes that reach more than 0.01 px out of their image, where its size is known.
        boxes_wholly_outside: those of them that do not touch it.
        duplicate_boxes: boxes that repeat another one's image, category and corners.
    """

    images: int
    splits: dict[str, int]
    images_without_annotations: int
    images_of_unknown_size: int
    image_sizes: list[SizeCount]
    boxes: int
    image_labels: int
    ignored: int
    categories: list[CategoryCount]
    boxes_per_image: Spread
    boxes_per_image_bins: list[Bin]
    small: int
    medium: int
    large: int
    box_width: Spread
    box_height: Spread
    box_side_bins: list[Bin]
    aspect_ratio: Spread
    aspect_ratio_bins: list[Bin]
    empty_boxes: int
    boxes_outside: int
    boxes_wholly_outside: int
    duplicate_boxes: int


def bin_name(each: Bin, *, whole: bool) -> str:
    """The range of a bin as text: `0.5 to 0.667`; of whole numbers `3 to 4`, or `2` alone."""
    if each.high is None:
        return f"{each.low:.3g} or more"
    if not whole:
        return f"{each.low:.3g} to {each.high:.3g}"
    last = each.high - 1
    return f"{each.low:.0f}" if last == each.low else f"{each.low:.0f} to {last:.0f}"


def summary(data: Dataset) -> Summary:
    """Count what is in a dataset; reads no image.

    Args:
        data: the dataset.

    Raises:
        DataError: if boxes are stored as fractions of images whose size is not known.
    """
    table = data.annotations
    boxed = table.is_box
    corners = data.boxes()[boxed]
    image_rows, category_rows = table.image_rows[boxed], table.category_rows[boxed]
    extent = corners[:, 2:] - corners[:, :2]
    solid = (extent > 0).all(axis=1)
    widths, heights = extent[solid].T
    areas = widths * heights
    per_image = np.bincount(image_rows, minlength=len(data))
    out, gone = _outside(corners[solid], data.images.sizes[image_rows[solid]])
    keys = np.column_stack([image_rows, category_rows, corners])
    known = (data.images.sizes > 0).all(axis=1)
    sizes = Counter(map(tuple, data.images.sizes[known].tolist()))
    splits = Counter(data.images.splits.tolist())
    return Summary(
        images=len(data),
        splits={} if set(splits) <= {""} else dict(sorted(splits.items())),
        images_without_annotations=int((np.bincount(table.image_rows, minlength=len(data)) == 0).sum()),
        images_of_unknown_size=int((~known).sum()),
        image_sizes=[SizeCount(width, height, count) for (width, height), count in sizes.most_common()],
        boxes=int(boxed.sum()),
        image_labels=int((~boxed).sum()),
        ignored=int(table.ignore.sum()),
        categories=_categories(data, boxed),
        boxes_per_image=_spread(per_image),
        boxes_per_image_bins=_bins(per_image, _PER_IMAGE),
        small=int((areas < SMALL).sum()),
        medium=int(((areas >= SMALL) & (areas < LARGE)).sum()),
        large=int((areas >= LARGE).sum()),
        box_width=_spread(widths),
        box_height=_spread(heights),
        box_side_bins=_bins(np.sqrt(areas), _SIDES_PX),
        aspect_ratio=_spread(widths / heights),
        aspect_ratio_bins=_bins(widths / heights, _RATIOS),
        empty_boxes=int((~solid).sum()),
        boxes_outside=int(out.sum()),
        boxes_wholly_outside=int(gone.sum()),
        duplicate_boxes=len(keys) - len(np.unique(keys, axis=0)),
    )


def _outside(corners: Boxes, sizes: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which boxes reach out of their image, and which of them share nothing with it."""
    known = (sizes > 0).all(axis=1)
    limits = np.concatenate([np.zeros_like(sizes), sizes], axis=1)
    beyond = np.concatenate([limits[:, :2] - corners[:, :2], corners[:, 2:] - limits[:, 2:]], axis=1)
    inside = np.minimum(corners[:, 2:], sizes) - np.maximum(corners[:, :2], 0)
    return np.asarray(known & (beyond > _OUTSIDE_PX).any(axis=1)), np.asarray(known & (inside <= 0).any(axis=1))


def _categories(data: Dataset, boxed: NDArray[np.bool_]) -> list[CategoryCount]:
    table, count = data.annotations, len(data.categories)
    pairs = np.unique(table.category_rows * max(len(data), 1) + table.image_rows)
    columns = (
        np.bincount(table.category_rows[boxed], minlength=count),
        np.bincount(table.category_rows[~boxed], minlength=count),
        np.bincount(pairs // max(len(data), 1), minlength=count),
    )
    return [
        CategoryCount(name, *(int(column[row]) for column in columns)) for row, name in enumerate(data.categories.names)
    ]


def _spread(values: ArrayLike) -> Spread:
    numbers = np.asarray(values, np.float64)
    if not len(numbers):
        return Spread(0.0, 0.0, 0.0, 0.0)
    return Spread(*(float(measure(numbers)) for measure in (np.min, np.median, np.mean, np.max)))


def _bins(values: ArrayLike, edges: tuple[float, ...]) -> list[Bin]:
    numbers = np.asarray(values, np.float64)
    counts, _ = np.histogram(numbers, [*edges, np.inf])
    return [
        Bin(float(low), None if high is None else float(high), int(count))
        for low, high, count in zip(edges, (*edges[1:], None), counts, strict=True)
    ]
