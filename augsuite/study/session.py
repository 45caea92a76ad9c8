"""One training run, from names and tables to a record on disk; `augsuite train` and every run of a study pass here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import PIL.Image

from augsuite import __version__, registry
from augsuite.augment import Feed, Policy
from augsuite.config import build, to_plain
from augsuite.dataset import Dataset
from augsuite.dataset.images import Image
from augsuite.errors import ConfigError, DataError, nearest
from augsuite.prediction import MODEL, beside_truth, predictor_of
from augsuite.protocols import RunRecord
from augsuite.spec import TrainerSpec
from augsuite.study.tracker import Trackers

Progress = Callable[[int, int, Mapping[str, float]], None]

CACHE_BYTES = 1 << 30
"""Decoded training images are kept in memory where they need no more than this."""


def train_once(
    trainer: str,
    config: Mapping[str, Any],
    train: Dataset,
    val: Dataset,
    policy: Policy,
    seed: int,
    folder: Path,
    trackers: Sequence[str] = ("files",),
    progress: Progress | None = None,
    workers: int = 0,
    draw: int = 0,
) -> RunRecord:
    """Train one run and leave everything about it in a folder.

    `run.json` says what was asked for, the trainer leaves `model.pt` and its predictions, and `record.json` is written last and
    atomically: where it exists, the run is complete.

    Args:
        trainer: its name.
        config: the trainer's settings that differ from its defaults.
        train: what to train on, augmented by `policy`.
        val: what to evaluate on, as it is; its categories must be those of `train`, in any order.
        policy: the augmentation. Its `normalize` step, where it has one, holds for `val` too.
        seed: of initial weights, of the order of images and of every draw of the policy.
        folder: the run's own; made where it does not exist.
        trackers: names of those that take the curves.
        progress: called with epoch (from 1), number of epochs and values after each epoch.
        workers: processes that render the training images; the result is the same for any number.
        draw: how many validation images are drawn with the predictions into `predictions.png`; a trainer without a predictor draws
            none.

    Returns:
        What `record.json` holds.

    Raises:
        ConfigError: for an unknown trainer, tracker or setting, or a setting out of range.
        DataError: if the dataset has nothing that this trainer learns from.
    """
    plugins = registry.default()
    spec = registry.find("trainer", plugins.trainers(), trainer)
    opened = [registry.find("tracker", plugins.trackers(), name) for name in trackers]
    settings = settings_of(trainer, config)
    val = align_categories(val, train)
    _check(spec, train, "train")
    _check(spec, val, "val")

    feed = Feed(train, policy, seed=seed, workers=workers, cache=not workers and _fits(train))
    plain = Feed(val, Policy(name="none", steps=()), seed=seed, mean=feed.mean, std=feed.std)

    folder.mkdir(parents=True, exist_ok=True)
    record_path = folder / "record.json"
    record_path.unlink(missing_ok=True)
    asked = {
        "augsuite": __version__,
        "trainer": trainer,
        "config": to_plain(settings),
        "policy": policy.to_plain(),
        "seed": seed,
        "images": {"train": len(train), "val": len(val)},
        "categories": train.categories.names.tolist(),
    }
    write_json(folder / "run.json", asked)
    run = registry.load(spec.train, f"trainer {trainer}", spec.extra)
    with Trackers(opened, folder, asked) as sinks:
        last = 0

        def log(epoch: int, epochs: int, values: Mapping[str, float]) -> None:
            nonlocal last
            last = epoch
            sinks.log(epoch, values)
            if progress is not None:
                progress(epoch, epochs, values)

        record = run(settings, feed, plain, seed=seed, folder=folder, log=log)
        # JSON has no NaN: a metric without a value is left out.
        finite = {name: float(value) for name, value in record.metrics.items() if np.isfinite(value)}
        record = msgspec.structs.replace(record, metrics=finite)
        if draw:
            picture = _drawn(spec, folder, val, draw, str(getattr(settings, "device", "auto")))
            if picture is not None:
                sinks.image("predictions", picture, last)
        sinks.finish(finite)
    if not workers:
        record = msgspec.structs.replace(record, augment_seconds=feed.cpu_seconds)
    write_json(record_path, record)
    return record


def settings_of(trainer: str, config: Mapping[str, Any]) -> Any:
    """A trainer's settings, checked: its defaults with `config` over them.

    Raises:
        ConfigError: for an unknown trainer or setting (says the nearest), or a value of the wrong type or out of range.
    """
    spec = registry.find("trainer", registry.default().trainers(), trainer)
    return build(registry.load(spec.config, f"trainer {trainer}", spec.extra), config, f"trainer {trainer}")


def align_categories(data: Dataset, to: Dataset) -> Dataset:
    """The same dataset with its categories in the order of another, matched by name.

    Raises:
        ConfigError: if it has a category that the other does not; says the nearest.
    """
    wanted = {name: row for row, name in enumerate(to.categories.names)}
    for name in data.categories.names:
        if name not in wanted:
            raise ConfigError(
                f"the validation images have a category {name!r} that the training images do not. "
                f"{nearest(name, wanted)}"
            )
    position = np.array([wanted[name] for name in data.categories.names], np.int64)
    table = data.annotations
    rows = position[table.category_rows] if len(table) else table.category_rows
    return replace(data, categories=to.categories, annotations=replace(table, category_rows=rows))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON so that the file is whole or not there, even after a crash of the machine."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _drawn(spec: TrainerSpec, folder: Path, val: Dataset, count: int, device: str) -> Image | None:
    """Draw predictions on validation images into `predictions.png`; None where nothing can be."""
    predictor = predictor_of(spec, folder / MODEL, device)
    picture = None if predictor is None else beside_truth(predictor, val, count)
    if picture is not None:
        partial = folder / ".predictions.png"
        PIL.Image.fromarray(picture).save(partial, "PNG")
        partial.replace(folder / "predictions.png")
    return picture


def _check(spec: TrainerSpec, data: Dataset, part: str) -> None:
    """Stop before a trainer meets a dataset that has nothing for it."""
    if not len(data):
        raise DataError(f"{part}: no images. Choose another split, or give more images to it.")
    usable = ~data.annotations.ignore
    boxed = bool((data.annotations.is_box & usable).any())
    labelled = bool((~data.annotations.is_box & usable).any())
    if spec.task == "detection" and not boxed:
        hint = " It has image labels: try the trainer finetune." if labelled else ""
        raise DataError(f"{part}: no boxes, and the trainer {spec.name} learns from boxes.{hint}")
    if spec.task == "classification" and not labelled:
        hint = " It has boxes: try the trainer ssd." if boxed else ""
        raise DataError(f"{part}: no image labels, and the trainer {spec.name} learns from image labels.{hint}")


def _fits(data: Dataset) -> bool:
    """Whether the decoded images may stay in memory; unknown sizes count as too large."""
    sizes = data.images.sizes
    return bool((sizes > 0).all()) and int(sizes.prod(axis=1).sum()) * 3 <= CACHE_BYTES
