"""Augmentation beside albumentations and torchvision: CPU milliseconds an image, one core, real JPEG files from disk.

    python bench/augment.py                       the SSD policy, classification, mosaic, boxes; medians of interleaved rounds
    python bench/augment.py --stages              where the time of each goes; --only ssd for one
    python bench/augment.py --workers 2           images a second through a DataLoader with two workers
    python bench/augment.py --json                the same as JSON

The data are folders that `augsuite read` understands; by default `raccoon` and `bccd` under $AUGSUITE_DATA. All contenders take
turns, a batch of 16 at a time on the same images, so that a slow moment of the machine hits all of them; a ratio is that of
the sums over the rounds, through workers of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported

import augment_peers as peers
import cv2
import numpy as np
import torch

import augsuite
from augsuite import registry
from augsuite.augment import Feed
from augsuite.augment.feed import normalized
from augsuite.boxes import clip
from augsuite.dataset import Dataset

BATCH = 16
CLASSIFY = [
    {"do": "crop"},
    {"do": "resize", "size": [224, 224]},
    {"do": "hflip", "p": 0.5},
    {"do": "color_jitter"},
]
MOSAIC = [{"do": "mosaic", "size": [640, 640]}]


@dataclass(frozen=True)
class Task:
    """Contenders that do the same work.

    Attributes:
        name: what is done.
        run: name -> what handles a batch of image rows.
        goals: peer -> how many times its cost ours must save; the first contender is ours.
    """

    name: str
    run: dict[str, Callable[[Sequence[int]], Any]]
    goals: dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data_root = os.environ.get("AUGSUITE_DATA", "datasets")
    parser.add_argument("--data", action="append", help="a dataset; repeat for several")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", help="tasks whose name holds this")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--stages", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found = []
    for path in options.data or [str(Path(data_root, name)) for name in ("raccoon", "bccd")]:
        data = augsuite.read(path)
        name = Path(path).name
        if options.stages:
            for task, (part, policy, size) in staged(data).items():
                if not options.only or options.only in task:
                    print_stages(name, task, part, augsuite.policy(policy).resized(size, size), size)
            continue
        if options.workers:
            groups = [loaded(name, data, options.workers)]
        else:
            chosen = [task for task in tasks(data) if not options.only or options.only in task.name]
            groups = (measured(name, task, len(data), options.rounds) for task in chosen)
        for rows in groups:
            found += rows
            if not options.json:
                print_rows(rows)
    if options.json:
        print(json.dumps(found, indent=1))


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """A line for each contender."""
    for row in rows:
        goal = f"goal {row['goal']:g}: {'met' if row['times'] >= row['goal'] else 'MISSED'}" if row["goal"] else ""
        print(
            "{data:8} {task:22} {name:26} {ms:8.2f} ms  {times:6.2f}x  {goal}".format(**{**row, "goal": goal}),
            flush=True,
        )


def measured(data: str, task: Task, images: int, rounds: int) -> list[dict[str, Any]]:
    """Interleaved rounds; the median cost of each contender, and the ratio of its sum to ours."""
    costs: dict[str, list[float]] = {name: [] for name in task.run}
    rng = np.random.default_rng(0)
    names = list(task.run)
    for round_number in range(rounds + 1):
        rows = rng.integers(images, size=BATCH).tolist()
        shift = round_number % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.process_time()
            task.run[name](rows)
            if round_number:  # the first warms up
                costs[name].append((time.process_time() - start) / BATCH * 1e3)
    ours = costs[names[0]]
    return [
        {
            "data": data,
            "task": task.name,
            "name": name,
            "ms": statistics.median(costs[name]),
            # Ratio of sums: a round's images differ in size, and a median of ratios would favour whoever is slow on small ones.
            "times": sum(costs[name]) / sum(ours),
            "goal": task.goals.get(name),
        }
        for name in names
    ]


def cases(data: Dataset) -> list[peers.Case]:
    """The images with their boxes cut to them, since albumentations refuses others."""
    found = []
    for row in range(len(data)):
        sample = data.sample(row)
        boxes = clip(sample.boxes, sample.source.width, sample.source.height)
        extent = boxes[:, 2:] - boxes[:, :2]
        good = (extent >= 1).all(axis=1)
        found.append(peers.Case(data.path(row), boxes[good], sample.labels[good]))
    return found


def batch_of(pipeline: peers.Pipeline, given: Sequence[peers.Case], stack: Callable[[list[Any]], Any]) -> Any:
    """What handles a batch of rows with somebody else's pipeline."""
    return lambda rows: stack([pipeline(given[row]) for row in rows])


def ours(feed: Feed, size: int, *, normalize: bool = False) -> Callable[[Sequence[int]], Any]:
    """What handles a batch of rows with a feed; a new epoch each time, so that the draws differ."""
    epoch = 0

    def run(rows: Sequence[int]) -> Any:
        nonlocal epoch
        epoch += 1
        batch = feed.batch([(epoch, row, size, size) for row in rows])
        return normalized(batch.images, feed.mean, feed.std) if normalize else batch

    return run


def unboxed(data: Dataset) -> Dataset:
    """Images alone, as peers get them for classification: no boxes to move."""
    return replace(data, annotations=data.annotations.take(np.zeros(0, np.int64)))


def filled(feed: Feed) -> Feed:
    """The feed with a cache that holds each image at each scale, as after some epochs: whatever is drawn, nothing is decoded."""
    for row in range(len(feed)):
        for reduce in (1, 2, 4, 8):
            feed.original(row).source.decode(reduce)
    return feed


def tasks(data: Dataset) -> list[Task]:
    """What is compared."""
    given = cases(data)
    decoded = [replace(case, pixels=peers.read_opencv(case)) for case in given]
    cached = filled(Feed(data, augsuite.policy("ssd"), cache=True))
    stack, join = np.stack, torch.stack
    feed, classes = Feed(data, augsuite.policy("ssd")), Feed(unboxed(data), augsuite.policy(CLASSIFY))
    found = [
        Task(
            "ssd 300 uint8",
            {
                "augsuite": ours(feed, 300),
                "albumentations": batch_of(peers.albumentations_ssd(300), given, stack),
                "albumentations, own": batch_of(peers.albumentations_ssd(300, own=True), given, stack),
                "torchvision": batch_of(peers.torchvision_ssd(300), given, join),
                "torchvision, tensors": batch_of(peers.torchvision_ssd(300, backend="tensor"), given, join),
            },
            {"albumentations": 2.5, "torchvision": 10},
        ),
        Task(
            "ssd 300 float32",
            {
                "augsuite": ours(feed, 300, normalize=True),
                "albumentations": batch_of(peers.albumentations_ssd(300, tensor=True), given, join),
                "torchvision": batch_of(peers.torchvision_ssd(300, tensor=True), given, join),
            },
            {"albumentations": 2, "torchvision": 8},
        ),
        Task(
            "ssd 300 cached",
            {
                "augsuite": ours(cached, 300),
                "albumentations": batch_of(peers.albumentations_ssd(300), given, stack),
                "albumentations, decoded": batch_of(peers.albumentations_ssd(300), decoded, stack),
            },
            {"albumentations": 6},
        ),
        Task(
            "classification 224",
            {
                "augsuite": ours(classes, 224),
                "albumentations": batch_of(peers.albumentations_classify(224), given, stack),
                "torchvision": batch_of(peers.torchvision_classify(224), given, join),
            },
            {"albumentations": 1.7, "torchvision": 4},
        ),
        boxes_task(),
    ]
    if "mosaic" in registry.default().transforms():
        mosaic, kept = Feed(data, augsuite.policy(MOSAIC)), filled(Feed(data, augsuite.policy(MOSAIC), cache=True))
        found += [
            Task(
                "mosaic 640",
                {
                    "augsuite": ours(mosaic, 640),
                    "albumentations": batch_of(peers.albumentations_mosaic(given, 640), given, stack),
                },
                {"albumentations": 5},
            ),
            Task(
                "mosaic 640 decoded",
                {
                    "augsuite": ours(kept, 640),
                    "albumentations, decoded": batch_of(peers.albumentations_mosaic(decoded, 640), decoded, stack),
                },
                {},
            ),
        ]
    return found


def boxes_task() -> Task:
    """500 boxes through four geometric steps, pixels left out."""
    from augsuite.augment.render import arrange

    rng = np.random.default_rng(0)
    corner = rng.random((500, 2)) * (560, 400)
    boxes = np.concatenate([corner, corner + rng.random((500, 2)) * 70 + 8], axis=1)
    labels = np.arange(500)
    sample = augsuite.Sample.of(np.zeros((480, 640, 3), np.uint8), boxes, labels)
    policy = augsuite.policy(
        [
            {"do": "hflip"},
            {"do": "affine", "rotate_deg": 0.0, "shear_deg": 0.0},
            {"do": "crop", "area_frac": [0.25, 0.25], "ratio": [4 / 3, 4 / 3]},
            {"do": "resize"},
        ]
    )
    peer = peers.albumentations_boxes(640, 480)
    return Task(
        "500 boxes, 4 steps",
        {
            "augsuite": lambda rows: [arrange(policy.plan(sample, (0, 0, row)), sample, None) for row in rows],
            "albumentations": lambda rows: [peer(boxes, labels) for _ in rows],
        },
        {"albumentations": 10},
    )


class PeerDataset(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A peer's pipeline as a map-style dataset."""

    def __init__(self, kind: str, given: list[peers.Case]) -> None:
        """Remember; the pipeline is made in the worker."""
        self.kind, self.given = kind, given
        self.pipeline: peers.Pipeline | None = None

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, row: int) -> Any:
        if self.pipeline is None:
            torch.set_num_threads(1)
            cv2.setNumThreads(1)
            make = {
                "albumentations": lambda: peers.albumentations_ssd(300),
                "torchvision": lambda: peers.torchvision_ssd(300),
            }
            self.pipeline = make[self.kind]()
        return torch.as_tensor(self.pipeline(self.given[row]))


def loaded(name: str, data: Dataset, workers: int) -> list[dict[str, Any]]:
    """Wall milliseconds an image through loaders; the second epoch of three, the workers being started."""
    feed = Feed(data, augsuite.policy("ssd"), workers=workers)
    runs: dict[str, Callable[[], Any]] = {"augsuite": lambda: feed.batches(epoch, BATCH, (300, 300))}
    for kind in ("albumentations", "torchvision"):
        loader = torch.utils.data.DataLoader(
            PeerDataset(kind, cases(data)),
            BATCH,
            shuffle=True,
            num_workers=workers,
            persistent_workers=True,
            multiprocessing_context="fork",
        )
        runs[kind] = loader.__iter__
    costs: dict[str, list[float]] = {kind: [] for kind in runs}
    for epoch in range(4):  # the lambda reads it
        for kind, run in runs.items():
            start = time.perf_counter()
            for _ in run():
                pass
            if epoch:
                costs[kind].append((time.perf_counter() - start) / len(data) * 1e3)
    goals = {"albumentations": 2.5, "torchvision": 10.0}
    mine = statistics.median(costs["augsuite"])
    return [
        {
            "data": name,
            "task": f"ssd 300, {workers} workers",
            "name": kind,
            "ms": statistics.median(values),
            "times": statistics.median(values) / mine,
            "goal": goals.get(kind),
        }
        for kind, values in costs.items()
    ]


def staged(data: Dataset) -> dict[str, tuple[Dataset, Any, int]]:
    """What is taken apart: the data, the policy, and the size of the result."""
    return {"ssd": (data, "ssd", 300), "classification": (unboxed(data), CLASSIFY, 224), "mosaic": (data, MOSAIC, 640)}


def print_stages(name: str, task: str, data: Dataset, policy: augsuite.Policy, size: int) -> None:
    """Where the time of a policy goes: each stage alone, on the same draws, and all of them in one go."""
    from augsuite.augment.render import arrange

    feed = Feed(data, policy)
    rows = range(len(data))
    spent: dict[str, float] = {}
    samples, plans, arranged = {}, {}, {}

    def stage(label: str, run: Callable[[int], None]) -> None:
        start = time.process_time()
        for row in rows:
            run(row)
        spent[label] = (time.process_time() - start) / len(data) * 1e3

    for _ in range(2):  # the first warms up
        stage("sample", lambda row: samples.__setitem__(row, data.sample(row)))
        stage("draw", lambda row: plans.__setitem__(row, policy.plan(samples[row], (0, 1, row), data)))
        stage("boxes", lambda row: arranged.__setitem__(row, arrange(plans[row], samples[row], data)))
        stage("decode, full size", lambda row: samples[row].source.decode())
        stage("decode and warp", lambda row: arranged[row].source._warped())  # noqa: SLF001
        stage("decode, warp, colour", lambda row: arranged[row].source.decode())
        stage("all, as a feed", lambda row: feed[1, row, size, size])
    for label, value in spent.items():
        print(f"{name:10} {task:16} {label:22} {value:6.3f} ms")


if __name__ == "__main__":
    main()
