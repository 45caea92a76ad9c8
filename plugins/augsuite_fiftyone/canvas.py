"""Boxes of the tables as fractions of their images, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout, convert
from augsuite.dataset.tables import Dataset
from augsuite.errors import DataError


def relative_boxes(data: Dataset) -> NDArray[np.float64]:
    """`(N, 4)` all boxes as FiftyOne writes them; zeros where the size of the image is not known, NaN for image labels."""
    table = data.annotations
    known = np.all(data.images.sizes > 0, axis=1)[table.image_rows]
    found = np.where(table.is_box[:, None], np.zeros((len(table), 4)), np.nan)
    rows = np.flatnonzero(known)
    found[rows] = data.boxes(Layout.XYWH_UNIT, rows)
    return found


def corners_of(data: Dataset) -> NDArray[np.float64]:
    """`(N, 4)` all boxes XYXY in pixels; NaN where that is not known."""
    table = data.annotations
    if not table.layout.unit:
        return data.boxes(Layout.XYXY_PX)
    rows = np.flatnonzero(np.all(data.images.sizes > 0, axis=1)[table.image_rows])
    found = np.full((len(table), 4), np.nan)
    found[rows] = data.boxes(Layout.XYXY_PX, rows)
    return found


def in_layout(
    relative: NDArray[np.float64], layout: Layout, sizes: NDArray[np.int64], name: Any
) -> NDArray[np.float64]:
    """`(N, 4)` boxes of FiftyOne in a layout of ours.

    Args:
        relative: x, y, width, height in fractions.
        layout: the layout wanted.
        sizes: `(N, 2)` of their images; needed where the layout counts pixels.
        name: of the dataset, for the message.

    Raises:
        DataError: if the size of an image is needed and not known.
    """
    if not layout.unit and not (sizes > 0).all():
        raise DataError(
            f"{name}: the size of an image with a new box is not known. Run compute_metadata() on the dataset first."
        )
    return convert(relative, Layout.XYWH_UNIT, layout, sizes)
