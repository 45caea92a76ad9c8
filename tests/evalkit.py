"""Detections to be judged, and what pycocotools says of them."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Categories, Dataset, Images, objects
from augsuite.evaluation import Detections


def judged(truth: dict[str, Any], found: list[dict[str, Any]]) -> COCOeval:
    """pycocotools' evaluation of a COCO file's content and of results."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        results = coco.loadRes(found) if found else COCO()
        judge = COCOeval(coco, results, "bbox")
        if not found:
            judge.cocoDt.dataset = {"annotations": []}
            judge.cocoDt.createIndex()
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def scene(
    rng: np.random.Generator, images: int, categories: int, truths: int, founds: int, *, grid: int = 0, levels: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A made-up dataset as COCO has it, and results that partly hit it.

    Args:
        rng: draws.
        images: how many; their ids have gaps and no order.
        categories: how many; likewise.
        truths: objects, a tenth of them crowds, some with an area of their own.
        founds: detections, half of them near an object.
        grid: boxes snap to so many pixels, so that overlaps tie and fall on thresholds; 0 for none.
        levels: so many different scores; 0 for any.
    """
    image_ids = rng.permutation(np.arange(1, 3 * images + 1))[:images]
    category_ids = rng.permutation(np.arange(1, 3 * categories + 1))[:categories]
    boxes = np.concatenate([rng.uniform(0, 200, (truths, 2)), np.exp(rng.uniform(1, 5.3, (truths, 2)))], axis=1)
    owners = rng.integers(0, images, truths), rng.integers(0, categories, truths)
    hits = rng.random(founds) < (0.5 if truths else 0)
    source = rng.integers(0, max(truths, 1), founds)
    free = np.concatenate([rng.uniform(0, 200, (founds, 2)), np.exp(rng.uniform(1, 5.3, (founds, 2)))], axis=1)
    near = free.copy()
    if truths:
        near = boxes[source] + rng.normal(0, 0.12, (founds, 4)) * np.tile(boxes[source, 2:], 2)
        near[:, 2:] = near[:, 2:].clip(1)
    found = np.where(hits[:, None], near, free)
    if grid:
        boxes, found = (np.round(values / grid) * grid for values in (boxes, found))
        boxes[:, 2:], found[:, 2:] = boxes[:, 2:].clip(grid), found[:, 2:].clip(grid)
    scores = rng.random(founds)
    if levels:
        scores = np.round(scores * levels) / levels
    found_images, found_categories = rng.integers(0, images, founds), rng.integers(0, categories, founds)
    if truths:
        found_images = np.where(hits, owners[0][source], found_images)
        found_categories = np.where(hits & (rng.random(founds) < 0.9), owners[1][source], found_categories)
    truth = {
        "images": [{"id": int(each), "width": 400, "height": 400, "file_name": f"{each}.jpg"} for each in image_ids],
        "categories": [{"id": int(each), "name": f"c{each}"} for each in category_ids],
        "annotations": [
            {
                "id": number + 1,
                "image_id": int(image_ids[owners[0][number]]),
                "category_id": int(category_ids[owners[1][number]]),
                "bbox": box.tolist(),
                "area": float(box[2] * box[3] * (0.6 if number % 3 == 0 else 1)),
                "iscrowd": int(rng.random() < 0.1),
            }
            for number, box in enumerate(boxes)
        ],
    }
    results = [
        {
            "image_id": int(image_ids[found_images[number]]),
            "category_id": int(category_ids[found_categories[number]]),
            "bbox": box.tolist(),
            "score": float(scores[number]),
        }
        for number, box in enumerate(found)
    ]
    return truth, results


def dataset(truth: dict[str, Any]) -> Dataset:
    """The same ground truth as tables."""
    images = [row["id"] for row in truth["images"]]
    categories = [row["id"] for row in truth["categories"]]
    rows = truth["annotations"]
    return Dataset(
        Images.of([row["file_name"] for row in truth["images"]], [[400, 400]] * len(images), ids=images),
        Categories.of([row["name"] for row in truth["categories"]], ids=categories),
        Annotations.of(
            [images.index(row["image_id"]) for row in rows],
            [categories.index(row["category_id"]) for row in rows],
            np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4),
            Layout.XYWH_PX,
            ignore=[bool(row["iscrowd"]) for row in rows],
            extra={"coco.area": objects([row["area"] for row in rows])},
        ),
    )


def detections(truth: dict[str, Any], found: list[dict[str, Any]]) -> Detections:
    """The same results as arrays."""
    images = [row["id"] for row in truth["images"]]
    categories = [row["id"] for row in truth["categories"]]
    boxes = np.array([row["bbox"] for row in found], np.float64).reshape(-1, 4)
    return Detections(
        np.array([images.index(row["image_id"]) for row in found], np.int64),
        np.array([categories.index(row["category_id"]) for row in found], np.int64),
        np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
        np.array([row["score"] for row in found], np.float64),
        boxes,
    )
