"""How good predictions are: COCO's average precision for boxes, top-1 and top-5 for image labels.

Average precision is computed by pycocotools, so that the numbers compare with everybody else's.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes, Layout
from augsuite.dataset.tables import ABSENT, Dataset, Rows
from augsuite.errors import DataError, MissingExtraError

COCO_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve numbers in the order of `COCOeval.stats`; s, m, l are areas below 32^2, below 96^2 and above."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes that a model found, in any order.

    Attributes:
        image_rows: `(D,)` int64 rows of the dataset's images.
        category_rows: `(D,)` int64 rows of the dataset's categories.
        boxes: `(D, 4)` float64 XYXY in pixels of the original images.
        scores: `(D,)` float64, higher is surer.
    """

    image_rows: Rows
    category_rows: Rows
    boxes: Boxes
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.image_rows)


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
    _check(data, detections)
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


def evaluate_labels(data: Dataset, scores: NDArray[np.floating[Any]]) -> dict[str, float]:
    """Share of the images whose label is the surest one, or among the five surest.

    An image with several labels is right where one of them is. Of equal scores the first category counts as the surer. Images
    without a label, or with ignored ones only, are left out.

    Args:
        data: the ground truth.
        scores: `(I, C)` for every image and category, higher is surer.

    Returns:
        `top1`, `top5` (where there are more than five categories) and, over the images that have a category among their
        labels, `top1/<category>`; in percent. A number without ground truth is absent.

    Raises:
        DataError: if the shape is another, or a score is NaN.
    """
    expected = (len(data), len(data.categories))
    if scores.shape != expected or np.isnan(scores).any():
        raise DataError(f"scores: expected {expected} numbers (images, categories), got shape {scores.shape} or a NaN.")
    table = data.annotations
    rows = np.flatnonzero(~table.is_box & ~table.ignore)
    truth = np.zeros(expected, bool)
    truth[table.image_rows[rows], table.category_rows[rows]] = True
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(truth, order, axis=1)
    labelled = truth.any(axis=1)
    if not labelled.any():
        return {}
    metrics = {"top1": 100.0 * float(hits[labelled, 0].mean())}
    if expected[1] > 5:
        metrics["top5"] = 100.0 * float(hits[labelled, :5].any(axis=1).mean())
    for row, name in enumerate(data.categories.names):
        if truth[:, row].any():
            metrics[f"top1/{name}"] = 100.0 * float(hits[truth[:, row], 0].mean())
    return metrics


def write_results(path: Path, data: Dataset, detections: Detections) -> None:
    """Write detections as COCO results: a JSON list of image id, category id, `[x, y, width, height]` and score.

    Args:
        path: the file; written to a temporary sibling and renamed.
        data: gives the ids.
        detections: what a model found.

    Source: https://cocodataset.org/#format-results.
    """
    results = _rows(data.images.ids[detections.image_rows], data.categories.ids[detections.category_rows], detections)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(msgspec.json.encode(results))
    partial.replace(path)


def _rows(image_ids: Rows, category_ids: Rows, detections: Detections) -> list[dict[str, Any]]:
    boxes = np.concatenate([detections.boxes[:, :2], detections.boxes[:, 2:] - detections.boxes[:, :2]], axis=1)
    return [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, box, score in zip(
            image_ids.tolist(), category_ids.tolist(), boxes.tolist(), detections.scores.tolist(), strict=True
        )
    ]


def _found(detections: Detections) -> list[dict[str, Any]]:
    """As `COCO.loadRes` has them, with rows for ids."""
    found = _rows(detections.image_rows, detections.category_rows, detections)
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


def _check(data: Dataset, detections: Detections) -> None:
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
