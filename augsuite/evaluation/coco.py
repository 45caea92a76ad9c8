"""COCO's average precision for boxes, by pycocotools, so that the numbers compare with everybody else's."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset.tables import ABSENT, Dataset
from augsuite.errors import MissingExtraError
from augsuite.evaluation.detections import Detections, check, result_rows

COCO_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve numbers in the order of `COCOeval.stats`; s, m, l are areas below 32^2, below 96^2 and above."""


def evaluate_detections(data: Dataset, detections: Detections) -> dict[str, float]:
    """COCO's twelve numbers and the average precision of each category.

    At most the 100 surest boxes of an image count. An ignored annotation is neither hit nor miss, with COCO's crowd rule: any
    number of detections may fall on it. Sizes are judged by `coco.area` where the annotations have it, else by the box.

    Args:
        data: the ground truth; image labels are left out.
        detections: what a model found.

    Returns:
        `AP`, `AP50`, ... (see `COCO_NAMES`) and `AP/<category>`, in percent. A number without ground truth (no large objects,
        say) is absent.

    Raises:
        MissingExtraError: if pycocotools is not installed.
        DataError: if a row lies outside the dataset, or a number is not finite.

    Source: Lin et al. 2014, Microsoft COCO, section 5 and https://cocodataset.org/#detection-eval.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError as error:
        raise MissingExtraError("average precision", "train", error.name or "pycocotools") from error
    check(data, detections)
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress by print
        judge = COCOeval(_table(COCO(), data, _truth(data)), _table(COCO(), data, _found(detections)), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    metrics = dict(zip(COCO_NAMES, map(float, judge.stats), strict=True))
    precision = judge.eval["precision"][
        :, :, :, 0, -1
    ]  # IoU x recall x category, all areas, 100 detections; -1 is no truth
    for row, name in enumerate(data.categories.names):
        metrics[f"AP/{name}"] = float(precision[:, :, row].mean()) if (precision[:, :, row] > -1).all() else -1.0
    return {name: 100.0 * value for name, value in metrics.items() if value >= 0.0}


def _found(detections: Detections) -> list[dict[str, Any]]:
    """As `COCO.loadRes` has them, with rows for ids."""
    found = result_rows(detections.image_rows, detections.category_rows, detections)
    for number, row in enumerate(found, 1):
        row |= {"id": number, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]}
    return found


def _truth(data: Dataset) -> list[dict[str, Any]]:
    """The annotations that are boxes, as COCO has them, with rows for ids."""
    table = data.annotations
    rows = np.flatnonzero(table.is_box)
    boxes = data.boxes(Layout.XYWH_PX)[rows]
    areas = table.extra.get("coco.area")
    truth = []
    for number, (row, box) in enumerate(zip(rows.tolist(), boxes.tolist(), strict=True), 1):
        area = ABSENT if areas is None else areas[row]
        truth.append(
            {
                "id": number,  # never 0: pycocotools takes the id of a match for a truth value
                "image_id": int(table.image_rows[row]),
                "category_id": int(table.category_rows[row]),
                "bbox": box,
                "area": area if isinstance(area, int | float) else box[2] * box[3],
                "iscrowd": int(table.ignore[row]),
            }
        )
    return truth


def _table(coco: Any, data: Dataset, rows: list[dict[str, Any]]) -> Any:
    """Fill an empty `COCO` without the detour over a file."""
    coco.dataset = {
        "images": [{"id": row} for row in range(len(data))],
        "categories": [{"id": row, "name": name} for row, name in enumerate(data.categories.names)],
        "annotations": rows,
    }
    coco.createIndex()
    return coco
