"""Augmented copies of samples of a FiftyOne dataset: our operator's work beside that of other plugins, each in a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from fiftyone_loading import server_cpu_s

import augsuite
from augsuite import registry
from augsuite.dataset import Annotations, Categories, Dataset, Images, objects

OURS = "augsuite"
TASKS: dict[str, tuple[list[dict[str, Any]], list[list[Any]]]] = {
    "flip": ([{"do": "hflip", "p": 1.0}], [["HorizontalFlip", {"p": 1.0}]]),
    "rotate and flip": (
        [{"do": "rotate", "p": 1.0}, {"do": "hflip", "p": 1.0}],
        [["Rotate", {"limit": 30, "p": 1.0}], ["HorizontalFlip", {"p": 1.0}]],
    ),
}
"""What is done: by a policy of ours, and by the transforms of albumentations that a peer takes."""

_BLACK = {"border_mode": 0}  # by default they mirror the image at its border, and what is painted would be seen twice

THEIRS: dict[str, dict[str, Any]] = {
    "HorizontalFlip": {}, "VerticalFlip": {}, "Transpose": {}, "RandomRotate90": {}, "Rotate": {"limit": 30, **_BLACK},
    "SafeRotate": {"limit": 30, **_BLACK}, "ShiftScaleRotate": _BLACK, "Affine": {"rotate": [-30, 30], "shear": [-10, 10]},
    "Perspective": {}, "RandomCrop": {"height": 120, "width": 160}, "CenterCrop": {"height": 120, "width": 160},
    "RandomSizedBBoxSafeCrop": {"height": 160, "width": 200}, "CropAndPad": {"px": 15},
    "PadIfNeeded": {"min_height": 300, "min_width": 300, **_BLACK}, "LongestMaxSize": {"max_size": 120}, "SmallestMaxSize": {"max_size": 120},
    "Resize": {"height": 90, "width": 120}, "RandomScale": {}, "ElasticTransform": {"alpha": 300, "sigma": 8, **_BLACK},
    "GridDistortion": _BLACK, "OpticalDistortion": {"distort_limit": 0.3, **_BLACK},
}  # fmt: skip
"""Geometric transforms of albumentations, and their arguments where the defaults would do little."""

PAINTED = 24  # images on which each transform is tried
SIZE = (240, 180)
NEAR_PX = 2.0  # an edge that was interpolated and compressed lies so far from where it is drawn


class Contender:
    """A process that augments when asked, one JSON line for each question and each answer."""

    def __init__(self, name: str, folder: str, packages: str) -> None:
        environment = dict(os.environ)
        if packages:
            environment["PYTHONPATH"] = packages
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fiftyone_worker.py")), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # warnings of each image
            text=True,
            env=environment,
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """Ask, and wait for the answer.

        Raises:
            RuntimeError: if the process ended.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError(f"{self.name}: has no pipes")
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: ended with status {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(60)


def _contenders(peers: dict[str, str], packages: dict[str, str]) -> list[Contender]:
    return [Contender(OURS, "", ""), *(Contender(name, peers[name], packages.get(name, "")) for name in peers)]


def augmenting(
    name: str, images: int, rounds: int, work: Path, peers: dict[str, str], packages: dict[str, str]
) -> list[dict[str, Any]]:
    """Images a CPU second of each contender, in turns; the first round warms up."""
    from augsuite_fiftyone.database import connect
    from augsuite_fiftyone.store import store

    connect(quiet=True)
    data = augsuite.read(name)
    data = data.take(np.arange(min(images, len(data))))
    dataset = store(data, "bench-augment", overwrite=True)
    contenders = _contenders(peers, packages)
    rows = []
    try:
        for task, (policy, theirs) in TASKS.items():
            costs: dict[str, list[tuple[float, float]]] = {each.name: [] for each in contenders}
            failures: dict[str, str] = {}
            for number in range(rounds + 1):
                shift = number % len(contenders)
                for each in contenders[shift:] + contenders[:shift]:
                    folder = work / "augmented" / f"{each.name}-{task}-{number}".replace(" ", "-")
                    before = server_cpu_s(work)
                    said = each.ask(dataset=dataset.name, policy=policy, transforms=theirs, folder=str(folder))
                    if said.get("failure"):
                        failures[each.name] = said["failure"]
                    elif number:
                        costs[each.name].append((said["cpu_s"], server_cpu_s(work) - before))
            for each, listed in costs.items():
                cpu, server = (statistics.median(column) for column in zip(*listed, strict=True)) if listed else (0, 0)
                rows.append(
                    {
                        "task": task, "who": each, "images": len(data), "cpu_s": cpu, "server_cpu_s": server,
                        "images_per_cpu_s": len(data) / (cpu + server) if listed else None, "failure": failures.get(each),
                    }
                )  # fmt: skip
    finally:
        for each in contenders:
            each.close()
        dataset.delete()
    return rows


def painted(work: Path) -> Dataset:
    """White rectangles on black, one in each image, with everything that a label may say."""
    rng = np.random.default_rng(1)
    root = work / "painted"
    root.mkdir()
    boxes = np.empty((PAINTED, 4))
    names = [f"{row:02d}.png" for row in range(PAINTED)]
    for row, name in enumerate(names):
        left, top = rng.integers(20, 90, 2)
        across, down = rng.integers(40, 80, 2)
        boxes[row] = left, top, left + across, top + down
        picture = PIL.Image.new("RGB", SIZE)
        PIL.ImageDraw.Draw(picture).rectangle((left, top, left + across - 1, top + down - 1), fill=(255, 255, 255))
        picture.save(root / name)
    extra = {
        "note.number": objects([900_100_581_904] * PAINTED),
        "note.flag": objects([True] * PAINTED),
        "note.text": objects(["half hidden"] * PAINTED),
    }
    table = Annotations.of(np.arange(PAINTED), np.zeros(PAINTED, int), boxes, extra=extra)
    return Dataset(Images.of(names, [SIZE] * PAINTED, files=names), Categories.of(["block"]), table, root=root)


def boxes(work: Path, peers: dict[str, str], packages: dict[str, str]) -> list[dict[str, Any]]:
    """Each geometric transform on painted rectangles: how far its boxes are from what is painted, and what labels lose."""
    from augsuite_fiftyone.database import connect
    from augsuite_fiftyone.store import store

    connect(quiet=True)
    dataset = store(painted(work), "bench-boxes", overwrite=True)
    contenders = _contenders(peers, packages)
    own = [
        name for name, spec in registry.default().transforms().items() if spec.kind == "geometric" and "." not in name
    ]
    rows = []
    try:
        for each in contenders:
            tried = own if each.name == OURS else THEIRS
            for name in tried:
                folder = work / "boxes" / f"{each.name}-{name}"
                said = each.ask(
                    dataset=dataset.name,
                    policy=[{"do": name, "p": 1.0}],
                    transforms=[[name, {**THEIRS.get(name, {}), "p": 1.0}]],
                    folder=str(folder),
                    labels=True,
                )
                rows.append({"who": each.name, "transform": name, **judged(said)})
    finally:
        for each in contenders:
            each.close()
        dataset.delete()
    return rows


def judged(said: dict[str, Any]) -> dict[str, Any]:
    """What the new samples say beside what their images show.

    An object whose label is gone counts as lost where a quarter of it or more is still to be seen, whole within the image.
    """
    if said.get("failure"):
        return {"failure": said["failure"], "right": False}
    gaps, lost, bare = [], 0, 0
    for each in said["labels"]:
        seen = each["seen"]
        if seen is None:
            continue
        if not each["boxes"]:
            lost += each["share"] > 0.25 and not each["cut"]
            continue
        gaps.append(max(abs(a - b) for a, b in zip(each["boxes"][0], seen, strict=True)))
        bare += each["attributes"] != {"number": 900_100_581_904, "flag": True, "text": "half hidden"}
    worst = max(gaps, default=0.0)
    return {
        "images": len(said["labels"]),
        "boxes": len(gaps),
        "worst_px": worst,
        "lost": int(lost),
        "without_attributes": bare,
        "right": bool(gaps) and worst <= NEAR_PX and not lost and not bare,
        "failure": None,
    }
