"""COCO's average precision beside pycocotools and its faster relatives: CPU seconds, ratios, and whether all numbers are equal.

    python bench/evaluate.py                      a small validation set and one of the size of COCO's: some minutes, most of it pycocotools'
    python bench/evaluate.py --only small         what a study does after each training
    python bench/evaluate.py --json               the same as JSON

Everybody evaluates the same made-up objects and detections (`scene` below), twice: from what lies in memory when a training ends
(arrays for us, the dictionaries that the others need for them, made beforehand), and from the two JSON files on disk. CPU time of all
threads; the engines take turns, and the median of the rounds is shown. `hotcoco` and `faster-coco-eval` are left out where they are
not installed (`pip install hotcoco faster-coco-eval`).
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.util
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
from machine import facts, versions

import augsuite
from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.evaluation import COCO_NAMES, Detections, Evaluator, read_results

SIZES = {"small": (160, 3, 1_000, 16_000), "coco": (5_000, 80, 36_000, 500_000)}
ROUNDS = {"small": 9, "coco": 1}
GOALS = {"small": 20.0, "coco": 30.0}
"""How many times pycocotools' CPU time ours must save, from memory."""

PEERS = {"pycocotools": "pycocotools", "faster-coco-eval": "faster_coco_eval", "hotcoco": "hotcoco"}
RESAMPLED = 100


@dataclass(frozen=True)
class Scene:
    """The same objects and detections as arrays, as dictionaries and as files."""

    data: Dataset
    detections: Detections
    truth: dict[str, Any]
    found: list[dict[str, Any]]
    folder: Path


def scene(folder: Path, images: int, categories: int, objects: int, detections: int) -> Scene:
    """A third of the detections lie near an object, 2 % of the objects are crowds."""
    rng = np.random.default_rng(0)
    owner, kind = rng.integers(0, images, objects), rng.integers(0, categories, objects)
    boxes = _boxes(rng, objects)
    crowd = rng.random(objects) < 0.02
    hit = rng.random(detections) < 0.3
    source = rng.integers(0, objects, detections)
    near = boxes[source] + rng.normal(0, 0.1, (detections, 4)) * np.tile(boxes[source, 2:], 2)
    found = np.where(hit[:, None], near, _boxes(rng, detections))
    found[:, 2:] = found[:, 2:].clip(1)
    image_rows = np.where(hit, owner[source], rng.integers(0, images, detections))
    same = hit & (rng.random(detections) < 0.9)
    category_rows = np.where(same, kind[source], rng.integers(0, categories, detections))
    scores = 0.6 * rng.beta(1, 4, detections) + 0.4 * hit * rng.random(detections)
    data = Dataset(
        Images.of([f"{row}.jpg" for row in range(images)], [[640, 640]] * images),
        Categories.of([f"c{row}" for row in range(categories)]),
        Annotations.of(owner, kind, boxes, Layout.XYWH_PX, ignore=crowd),
    )
    corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    truth = {
        "info": {},
        "images": [{"id": row + 1, "file_name": f"{row}.jpg", "width": 640, "height": 640} for row in range(images)],
        "categories": [{"id": row + 1, "name": f"c{row}"} for row in range(categories)],
        "annotations": [
            {
                "id": row + 1,
                "image_id": int(owner[row]) + 1,
                "category_id": int(kind[row]) + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(crowd[row]),
            }
            for row, box in enumerate(boxes.tolist())
        ],
    }
    results = [
        {"image_id": image + 1, "category_id": category + 1, "bbox": box, "score": score}
        for image, category, box, score in zip(
            image_rows.tolist(), category_rows.tolist(), found.tolist(), scores.tolist(), strict=True
        )
    ]
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(results))
    return Scene(data, Detections(image_rows, category_rows, corners, scores, found), truth, results, folder)


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    sides = np.exp(rng.normal(4, 1, (count, 2))).clip(4, 400)
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * (640 - sides), sides], axis=1)


def ours(made: Scene, source: str) -> Callable[[], list[float]]:
    """What evaluates, by us."""

    def run() -> list[float]:
        data, found = made.data, made.detections
        if source == "files":
            data = augsuite.read(made.folder / "truth.json")
            found = read_results(made.folder / "found.json", data)
        metrics = Evaluator(data, found).scores.metrics()
        return [metrics.get(name, -100.0) / 100 for name in COCO_NAMES]

    return run


def theirs(made: Scene, source: str, module: str) -> Callable[[], list[float]]:
    """What evaluates, by pycocotools or one with its interface. They write into their input: each round has a copy of its own."""
    if module == "hotcoco":
        from hotcoco import COCO, COCOeval
    elif module == "faster_coco_eval":
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    else:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    truth, found = (copy.deepcopy(each) for each in (made.truth, made.found))

    def run() -> list[float]:
        if source == "files":
            coco = COCO(str(made.folder / "truth.json"))
            results = coco.loadRes(str(made.folder / "found.json"))
        elif module == "hotcoco":
            coco = COCO(truth)
            results = coco.loadRes(found)
        else:
            coco = COCO()
            coco.dataset = truth
            coco.createIndex()
            results = coco.loadRes(found)
        judge = COCOeval(coco, results, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
        return [float(value) for value in judge.stats]

    return run


def measure(made: Scene, size: str, source: str, rounds: int) -> dict[str, Any]:
    """CPU seconds of each engine, and its largest difference from pycocotools in any of the twelve numbers."""
    there = {name: module for name, module in PEERS.items() if importlib.util.find_spec(module)}
    seconds: dict[str, list[float]] = {name: [] for name in ("augsuite", *there)}
    numbers: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, times in seconds.items():
            run = ours(made, source) if name == "augsuite" else theirs(made, source, there[name])
            with contextlib.redirect_stdout(io.StringIO()):
                start = time.process_time()
                numbers[name] = run()
                times.append(time.process_time() - start)
    judge = numbers["pycocotools"]
    return {
        "size": size,
        "source": source,
        "cpu_s": {name: statistics.median(each) for name, each in seconds.items()},
        "off": {
            name: max(abs(one - other) for one, other in zip(own, judge, strict=True)) for name, own in numbers.items()
        },
    }


def resampling(made: Scene) -> float:
    """CPU milliseconds of AP over one more draw of the images, as a bootstrap takes them."""
    judged = Evaluator(made.data, made.detections)
    rng = np.random.default_rng(0)
    images = len(made.data)
    start = time.process_time()
    for _ in range(RESAMPLED):
        judged.ap_of(np.bincount(rng.integers(0, images, images), minlength=images))
    return 1000 * (time.process_time() - start) / RESAMPLED


def goals(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each goal: the value, what it shall be, and whether it is."""
    said = {}
    for row in rows:
        name = f"{row['size']}.{row['source']}"
        off = row["off"]["augsuite"]
        # Both hold the same tables bit for bit (a test); of a mean in percent and back again the last bit may differ.
        said[f"largest_difference.{name}"] = {"value": off, "goal": "<= 1e-15", "met": off <= 1e-15}
        if row["source"] == "memory":
            ratio = row["cpu_s"]["pycocotools"] / row["cpu_s"]["augsuite"]
            goal = GOALS[row["size"]]
            said[f"cpu_ratio_pycocotools.{name}"] = {"value": ratio, "goal": f">= {goal:g}", "met": ratio >= goal}
    return said


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(SIZES))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows, resampled = [], {}
    for size in [arguments.only] if arguments.only else list(SIZES):
        with tempfile.TemporaryDirectory() as folder:
            made = scene(Path(folder), *SIZES[size])
            rows += [measure(made, size, source, ROUNDS[size]) for source in ("memory", "files")]
            if size == "small":
                resampled[size] = resampling(made)
    found = {
        "machine": facts(Path(tempfile.gettempdir())),
        "versions": versions(),
        "results": rows,
        "resample_ms": resampled,
        "goals": goals(rows),
    }
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for row in rows:
        images, categories, objects, detections = SIZES[row["size"]]
        print(
            f"{images:,} images, {categories} categories, {objects:,} objects, {detections:,} detections, from {row['source']}:"
        )
        for name, seconds in row["cpu_s"].items():
            ratio = row["cpu_s"]["pycocotools"] / seconds
            print(f"  {name:<18}{seconds:9.3f} CPU s  {ratio:7.1f} x  off by {row['off'][name]:.1e}")
    for size, milliseconds in resampled.items():
        print(f"AP of one more draw of the images ({size}): {milliseconds:.1f} ms")
    for name, each in found["goals"].items():
        print(f"{'met ' if each['met'] else 'MISSED'}  {name}: {each['value']:.3g} (goal {each['goal']})")


if __name__ == "__main__":
    main()
