"""A policy on somebody else's arrays: image and boxes in, the same out, and every column of the boxes with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from augsuite.augment.draw import Key
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite.errors import DataError


def apply(
    policy: Callable[..., Sample], image: Image, boxes: ArrayLike, columns: Sequence[Any], key: Key
) -> tuple[Any, ...]:
    """What `Policy.apply` does; see there."""
    given = np.asarray(boxes)
    corners = given.astype(np.float64).reshape(-1, 4) if given.size else np.zeros((0, 4))
    for place, column in enumerate(columns):
        if len(column) != len(corners):
            raise DataError(
                f"columns[{place}] has {len(column)} entries and there are {len(corners)} boxes. Give one entry for each box."
            )
    try:
        sample = Sample.of(image, corners, np.zeros(len(corners), np.int64))
    except ValueError as error:
        raise DataError(f"image: {error}. Convert it before the policy.") from error
    result = policy(replace(sample, rows=np.arange(len(corners))), key=key)
    kind = given.dtype if given.dtype.kind == "f" else np.float64
    return (result.image, result.boxes.astype(kind, copy=False), *(_chosen(column, result.rows) for column in columns))


def _chosen(column: Any, rows: NDArray[np.int64]) -> Any:
    if isinstance(column, list | tuple):
        return type(column)(column[row] for row in rows.tolist())
    return column[rows]
