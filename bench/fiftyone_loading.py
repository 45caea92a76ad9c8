"""Samples and predictions into a FiftyOne dataset: by FiftyOne's own calls, and in bulk."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augsuite.dataset import Annotations, Categories, Dataset, Images

WIDTH, HEIGHT = 640, 480
CLASSES = ("cat", "dog", "eel", "fox", "hen")


def server_cpu_s(work: Path) -> float:
    """CPU time of the MongoDB whose data lies in a folder."""
    tick = os.sysconf("SC_CLK_TCK")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            if Path(words[0]).name == "mongod" and any(word.startswith(str(work)) for word in words):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / tick
        except (OSError, IndexError):
            continue
    return 0.0


@dataclass(frozen=True)
class Scene:
    """The same boxes for everybody: `(N, B, 4)` XYXY in pixels, `(N, B)` classes, `(N, B)` scores."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    root: Path

    def path(self, row: int) -> str:
        """The image's file, which nobody opens."""
        return str(self.root / f"{row:06d}.jpg")

    def data(self) -> Dataset:
        """As our tables hold it."""
        count, each = self.labels.shape
        names = [f"{row:06d}.jpg" for row in range(count)]
        return Dataset(
            Images.of(names, [[WIDTH, HEIGHT]] * count, files=names),
            Categories.of(CLASSES),
            Annotations.of(np.repeat(np.arange(count), each), self.labels.reshape(-1), self.boxes.reshape(-1, 4)),
            root=self.root,
        )


def scene(samples: int, boxes: int, root: Path) -> Scene:
    """Boxes at random, of a fixed seed; the image files are one empty file under many names."""
    root.mkdir()
    for row in range(samples):
        place = root / f"{row:06d}.jpg"
        place.touch() if row == 0 else place.hardlink_to(root / f"{0:06d}.jpg")
    rng = np.random.default_rng(0)
    corner = rng.random((samples, boxes, 2)) * (WIDTH / 2, HEIGHT / 2)
    extent = 8 + rng.random((samples, boxes, 2)) * (WIDTH / 3, HEIGHT / 3)
    kinds = rng.integers(0, len(CLASSES), (samples, boxes))
    return Scene(np.concatenate([corner, corner + extent], axis=2), kinds, rng.random((samples, boxes)), root)


def loading(samples: int, boxes: int, rounds: int, work: Path) -> list[dict[str, Any]]:
    """Every contender, a dataset of its own each time; medians of the rounds."""
    from augsuite_fiftyone.database import connect

    fo = connect(quiet=True)
    fo.config.show_progress_bars = False
    made = scene(samples, boxes, work / "images")
    contenders: dict[str, dict[str, Callable[[], Iterator[float]]]] = {
        "samples": {
            "add_samples": lambda: _add_samples(fo, made),
            "insert_samples": lambda: _insert_samples(fo, made),
            "store": lambda: _store(fo, made),
        },
        "predictions": {
            "set_values": lambda: _set_values(fo, made),
            "set_labels": lambda: _set_labels(fo, made),
        },
    }
    rows = []
    for task, runs in contenders.items():
        costs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in runs}
        names = list(runs)
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                costs[name].append(_cost(runs[name], work))
        for name, listed in costs.items():
            built, cpu, server = (statistics.median(column) for column in zip(*listed, strict=True))
            rows.append(
                {
                    "task": task, "how": name, "samples": samples, "boxes": boxes, "objects_cpu_s": built, "cpu_s": cpu,
                    "server_cpu_s": server, "samples_per_cpu_s": samples / (built + cpu),
                }
            )  # fmt: skip
    return rows


def _cost(run: Callable[[], Iterator[float]], work: Path) -> tuple[float, float, float]:
    """CPU seconds of making objects, of the call itself, and of the server meanwhile.

    A run prepares, yields, makes objects, yields, does the work, yields, and cleans up.
    """
    steps = run()
    next(steps)
    gc.collect()
    server, start = server_cpu_s(work), time.process_time()
    next(steps)
    middle = time.process_time()
    next(steps)
    end, server_end = time.process_time(), server_cpu_s(work)
    for _ in steps:
        pass
    return middle - start, end - middle, server_end - server


def _objects(fo: Any, made: Scene, row: int, scores: bool) -> Any:
    x1, y1, x2, y2 = made.boxes[row].T
    relative = np.stack([x1 / WIDTH, y1 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT], axis=1).tolist()
    said = made.scores[row].tolist() if scores else [None] * len(relative)
    return fo.Detections(
        detections=[
            fo.Detection(label=CLASSES[kind], bounding_box=box, confidence=score)
            for kind, box, score in zip(made.labels[row].tolist(), relative, said, strict=True)
        ]
    )


def _add_samples(fo: Any, made: Scene) -> Iterator[float]:
    dataset = fo.Dataset()
    yield 0
    samples = [
        fo.Sample(
            filepath=made.path(row),
            metadata=fo.ImageMetadata(width=WIDTH, height=HEIGHT),
            ground_truth=_objects(fo, made, row, scores=False),
        )
        for row in range(len(made.boxes))
    ]
    yield 0
    dataset.add_samples(samples, progress=False)
    yield 0
    _check(dataset, "ground_truth", made)
    dataset.delete()


def _insert_samples(fo: Any, made: Scene) -> Iterator[float]:
    from augsuite_fiftyone.bulk import insert_samples

    dataset = fo.Dataset()
    yield 0
    yield 0  # the documents are made on the way
    insert_samples(dataset, _new_samples(made))
    yield 0
    _check(dataset, "ground_truth", made)
    dataset.delete()


def _new_samples(made: Scene) -> Iterator[Any]:
    from augsuite_fiftyone.bulk import NewSample
    from augsuite_fiftyone.labels import detections_document

    for row in range(len(made.boxes)):
        names = [CLASSES[kind] for kind in made.labels[row].tolist()]
        document = detections_document(made.boxes[row], names, (WIDTH, HEIGHT))
        yield NewSample(made.path(row), WIDTH, HEIGHT, {"ground_truth": document})


def _store(fo: Any, made: Scene) -> Iterator[float]:
    from augsuite_fiftyone.store import store

    del fo
    data = made.data()
    yield 0
    yield 0
    dataset = store(data, "bench-store", persistent=False, overwrite=True)
    yield 0
    _check(dataset, "ground_truth", made)
    dataset.delete()


def _filled(fo: Any, made: Scene) -> Any:
    from augsuite_fiftyone.bulk import insert_samples

    dataset = fo.Dataset()
    insert_samples(dataset, _new_samples(made))
    return dataset


def _set_values(fo: Any, made: Scene) -> Iterator[float]:
    dataset = _filled(fo, made)
    yield 0
    values = [_objects(fo, made, row, scores=True) for row in range(len(made.boxes))]
    yield 0
    dataset.set_values("predictions", values, progress=False)
    yield 0
    _check(dataset, "predictions", made)
    dataset.delete()


def _set_labels(fo: Any, made: Scene) -> Iterator[float]:
    from augsuite_fiftyone.bulk import set_labels
    from augsuite_fiftyone.labels import detections_document

    dataset = _filled(fo, made)
    ids = dataset.values("id")
    yield 0
    documents = {
        key: detections_document(
            made.boxes[row],
            [CLASSES[kind] for kind in made.labels[row].tolist()],
            (WIDTH, HEIGHT),
            made.scores[row].tolist(),
        )
        for row, key in enumerate(ids)
    }
    yield 0
    set_labels(dataset, "predictions", documents)
    yield 0
    _check(dataset, "predictions", made)
    dataset.delete()


def _check(dataset: Any, field: str, made: Scene) -> None:
    """Whether FiftyOne itself counts what everybody was given.

    Raises:
        RuntimeError: if not.
    """
    found = dataset.count(), dataset.count(f"{field}.detections"), dataset.first()[field].detections[0].label
    wanted = len(made.boxes), made.labels.size, CLASSES[made.labels[0, 0]]
    if found != wanted:
        raise RuntimeError(f"{field}: expected {wanted}, FiftyOne says {found}")
