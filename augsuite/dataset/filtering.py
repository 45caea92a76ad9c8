"""Keep the images and annotations that satisfy conditions."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes, Layout, area
from augsuite.dataset.edits import Empty, in_splits, keep_annotations, keep_categories
from augsuite.dataset.expressions import choose
from augsuite.dataset.files import with_sizes
from augsuite.dataset.tables import Dataset
from augsuite.errors import ConfigError, DataError


def filter(  # noqa: A001 - the word that users know; the built-in is not needed here
    data: Dataset,
    expression: str | None = None,
    *,
    categories: Collection[str] | None = None,
    splits: Collection[str] | None = None,
    min_side: float | None = None,
    max_side: float | None = None,
    min_area: float | None = None,
    max_area: float | None = None,
    min_area_frac: float | None = None,
    max_area_frac: float | None = None,
    empty: Empty = "drop",
) -> Dataset:
    """Keep what satisfies all conditions given; values at a limit stay.

    Limits of size judge boxes: labels of whole images have none and stay.

    Args:
        data: the dataset.
        expression: see `augsuite.dataset.expressions.choose`.
        categories: names of categories to keep; the others leave the table too.
        splits: names of splits to keep.
        min_side: of the shorter side, in pixels.
        max_side: of the longer side, in pixels.
        min_area: of the box, in square pixels.
        max_area: of the box, in square pixels.
        min_area_frac: of the box, as a fraction of its image, in [0, 1].
        max_area_frac: of the box, as a fraction of its image, in [0, 1].
        empty: whether images stay whose annotations have all gone; those that had none to begin with stay.

    Raises:
        ConfigError: if a name does not exist, or the expression is none.
        DataError: if a condition needs the size of an image, and neither annotations nor image file say it.
    """
    for name, limit in (("min_side", min_side), ("max_side", max_side), ("min_area", min_area), ("max_area", max_area)):
        if limit is not None and math.isnan(limit):
            raise ConfigError(f"{name}: expected a number, got {limit:g}.")
    if splits is not None:
        data = data.take(np.flatnonzero(in_splits(data, splits)))
    chosen = np.ones(len(data.annotations), bool)
    if expression is not None:
        images, chosen = choose(data, expression)
        chosen &= images[data.annotations.image_rows]
        data, chosen = data.take(np.flatnonzero(images)), chosen[images[data.annotations.image_rows]]
    if any(limit is not None for limit in (min_side, max_side, min_area, max_area)):
        boxes = _pixels(data)
        sides = boxes[:, 2:] - boxes[:, :2]
        _limit(chosen, sides.min(axis=1), min_side, None)
        _limit(chosen, sides.max(axis=1), None, max_side)
        _limit(chosen, area(boxes), min_area, max_area)
    if min_area_frac is not None or max_area_frac is not None:
        for name, limit in (("min_area_frac", min_area_frac), ("max_area_frac", max_area_frac)):
            if limit is not None and not 0 <= limit <= 1:
                raise ConfigError(f"{name}: expected a fraction in [0, 1], got {limit:g}.")
        _limit(chosen, _fractions(data), min_area_frac, max_area_frac)
    data = keep_annotations(data, chosen, empty)
    return data if categories is None else keep_categories(data, categories, empty)


def _limit(chosen: NDArray[np.bool_], values: NDArray[np.float64], low: float | None, high: float | None) -> None:
    """Unset what lies outside the limits; a value of NaN lies nowhere."""
    if low is not None:
        chosen &= ~(values < low)
    if high is not None:
        chosen &= ~(values > high)


def _pixels(data: Dataset) -> Boxes:
    return (with_sizes(data) if data.annotations.layout.unit else data).boxes(Layout.XYXY_PX)


def _fractions(data: Dataset) -> NDArray[np.float64]:
    """`(N,)` the areas of boxes as fractions of their images."""
    table = data.annotations
    if table.layout.unit:
        return area(data.boxes(Layout.XYXY_UNIT))
    data = with_sizes(data)
    sizes = data.images.sizes[table.image_rows]
    unknown = np.flatnonzero((sizes <= 0).any(axis=1) & table.is_box)
    if len(unknown):
        name = data.images.names[table.image_rows[unknown[0]]]
        raise DataError(
            f"{name}: the size of the image is not known, so its boxes are no fraction of it. Put the image files beside the annotations."
        )
    with np.errstate(invalid="ignore", divide="ignore"):  # labels of images of unknown size
        return np.asarray(area(data.boxes(Layout.XYXY_PX)) / sizes.prod(axis=1))
