"""What a model found, and how it is stored: boxes as COCO results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes, Layout, convert
from augsuite.dataset.tables import Dataset, Rows
from augsuite.errors import DataError


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes that a model found, in any order.

    Attributes:
        image_rows: `(D,)` int64 rows of the dataset's images.
        category_rows: `(D,)` int64 rows of the dataset's categories.
        boxes: `(D, 4)` float64 XYXY in pixels of the original images.
        scores: `(D,)` float64, higher is surer.
        xywh: `(D, 4)` x, y, width, height as read; None where they come from `boxes`. x + w - x is not always w, and thresholds are
            sharp.
    """

    image_rows: Rows
    category_rows: Rows
    boxes: Boxes
    scores: NDArray[np.float64]
    xywh: Boxes | None = None

    def in_xywh(self) -> Boxes:
        """`(D, 4)` the boxes as x, y, width, height."""
        return convert(self.boxes, Layout.XYXY_PX, Layout.XYWH_PX) if self.xywh is None else self.xywh

    def __len__(self) -> int:
        return len(self.image_rows)


def write_results(path: Path, data: Dataset, detections: Detections) -> None:
    """Write detections as COCO results: a JSON list of image id, category id, `[x, y, width, height]` and score.

    Args:
        path: the file; written to a temporary sibling and renamed.
        data: gives the ids.
        detections: what a model found.

    Source: https://cocodataset.org/#format-results.
    """
    results = result_rows(
        data.images.ids[detections.image_rows], data.categories.ids[detections.category_rows], detections
    )
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(msgspec.json.encode(results))
    partial.replace(path)


def result_rows(image_ids: Rows, category_ids: Rows, detections: Detections) -> list[dict[str, Any]]:
    """One dictionary for each detection, as COCO results have them."""
    return [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in zip(
            image_ids.tolist(),
            category_ids.tolist(),
            detections.in_xywh().tolist(),
            detections.scores.tolist(),
            strict=True,
        )
    ]


def check(data: Dataset, detections: Detections) -> None:
    """Refuse what cannot be judged.

    Raises:
        DataError: if a row lies outside the dataset, or a number is not finite.
    """
    for name, rows, limit in (
        ("image_rows", detections.image_rows, len(data)),
        ("category_rows", detections.category_rows, len(data.categories)),
    ):
        if len(rows) and (rows.min() < 0 or rows.max() >= limit):
            raise DataError(
                f"detections.{name}: expected rows from 0 to {limit - 1}, got {rows.min()} to {rows.max()}."
            )
    if not (np.isfinite(detections.boxes).all() and np.isfinite(detections.scores).all()):
        raise DataError("detections: a box or score is not a finite number. Has the training diverged?")
