"""Pixel operations in a row: those that come down to a table are composed, and looked up once.

Composing is exact: every operation rounds to 8 bits, and `second[first]` rounds where two passes over the image would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.augment.plan import PixelOp
from augsuite.augment.transforms import instance
from augsuite.dataset.images import Image
from augsuite.errors import MissingExtraError, PluginError

Table = NDArray[np.uint8]
"""What each value becomes: `(256,)` for all channels alike, or `(256, 3)`."""

_CHANNELS = np.arange(3)


def operate(image: Image, ops: Sequence[PixelOp]) -> Image:
    """Do pixel operations one after the other.

    Args:
        image: `(H, W, 3)` uint8, in memory that nobody else holds.
        ops: in their order.

    Raises:
        PluginError: if a transform gives another shape or dtype.
    """
    waiting: Table | None = None
    for op in ops:
        transform = instance(op.do, op.params)
        table = table_of(transform, op)
        if table is not None:
            waiting = table if waiting is None else compose(waiting, table)
            continue
        image, waiting = look_up(image, waiting), None
        result: Image = transform.apply(image, op.drawn)
        if result.shape != image.shape or result.dtype != np.uint8:
            raise PluginError(
                f"transform {op.do}: apply got {image.shape} uint8 and returned {result.shape} {result.dtype}. "
                "It must keep shape and dtype; report it to the plugin's author."
            )
        image = result
    return look_up(image, waiting)


def table_of(transform: Any, op: PixelOp) -> Table | None:
    """The table that an operation comes down to; None where it takes more.

    Raises:
        PluginError: if the transform gives something else.
    """
    offered = getattr(transform, "table", None)
    if offered is None:
        return None
    table: Table | None = offered(op.drawn)
    if table is not None and (table.dtype != np.uint8 or table.shape not in {(256,), (256, 3)}):
        raise PluginError(
            f"transform {op.do}: table returned {table.shape} {table.dtype}, not (256,) or (256, 3) uint8. "
            "Report it to the plugin's author."
        )
    return table


def compose(first: Table, second: Table) -> Table:
    """The table that does `first`, then `second`."""
    return second[first, _CHANNELS] if first.ndim == second.ndim == 2 else second[first]


def look_up(image: Image, table: Table | None) -> Image:
    """A new image of the same shape, every value looked up; the image itself where there is no table."""
    if table is None:
        return image
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError("rendering a policy", "augment", error.name or "cv2") from error
    return np.asarray(cv2.LUT(image, table.reshape(1, 256, -1)), np.uint8)
