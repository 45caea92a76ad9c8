"""One training run, from names and tables to a record on disk; `augsuite train` and every run of a study pass here."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import PIL.Image

from augsuite import __version__, registry
from augsuite.augment import Feed, Policy
from augsuite.augment.cache import DiskCache
from augsuite.config import build, to_plain
from augsuite.dataset import Dataset, Sample
from augsuite.dataset.digest import digest
from augsuite.dataset.images import Image
from augsuite.errors import ConfigError, DataError, nearest
from augsuite.prediction import MODEL, beside_truth, predictor_of
from augsuite.protocols import RunRecord, TakesPulse
from augsuite.spec import TrainerSpec
from augsuite.study.tracker import Trackers
from augsuite.training import processes

if TYPE_CHECKING:
    from augsuite.training.ramp import Curve

Progress = Callable[[int, int, Mapping[str, float]], None]

RECORD, CHECKPOINT = "record.json", "checkpoint.pt"

CACHE_BYTES = 1 << 30
"""Decoded images are kept in memory where they need no more than this."""


@dataclass
class Decoded:
    """Decoded images that runs on the same images have in common; a run of its own has them for itself.

    Attributes:
        train: image row -> sample, in memory, where all images fit.
        val: the same of the images measured on.
        disk: a folder for those that do not.
    """

    train: dict[int, Sample] = field(default_factory=dict)
    val: dict[int, Sample] = field(default_factory=dict)
    disk: DiskCache | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: not the images."""
        return {"train": {}, "val": {}, "disk": self.disk}


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
    decoded: Decoded | None = None,
) -> RunRecord:
    """Train one run and leave everything about it in a folder.

    `run.json` says what was asked for, the trainer leaves `model.pt` and its predictions, and `record.json` is written last and
    atomically: where it exists, the run is complete.

    A run that was killed left a checkpoint. Asked for the same thing in the same folder, it goes on from there, ends with the same weights
    and curves, and says so; asked for anything else, it begins anew.

    Started as several processes by `torchrun`, they train together, and the first alone writes, tracks and reports.

    Args:
        trainer: its name.
        config: the trainer's settings that differ from its defaults.
        train: what to train on, augmented by `policy`.
        val: what to evaluate on, as it is; its categories must be those of `train`, in any order.
        policy: the augmentation. Its `normalize` step, where it has one, holds for `val` too.
        seed: of initial weights, of the order of images and of every draw of the policy.
        folder: the run's own; made where it does not exist.
        trackers: names of those that take the curves.
        progress: called with epoch (from 1), number of epochs and values after each epoch; one that is a `TakesPulse` also hears of
            what happens in between.
        workers: processes that render the training images; the result is the same for any number.
        draw: how many validation images are drawn with the predictions into `predictions.png`; a trainer without a predictor draws
            none.
        decoded: images that earlier runs on the same images decoded, and where to leave those of this one. Changes no sample.

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
    check_task(spec, train, "train")
    check_task(spec, val, "val")

    decoded = decoded or Decoded()
    cache: bool | DiskCache = fits_memory(train, val) or decoded.disk or False
    feed = Feed(train, policy, seed=seed, workers=workers, cache=cache, kept=decoded.train)
    none = Policy(name="none", steps=())
    plain = Feed(val, none, seed=seed, cache=cache, mean=feed.mean, std=feed.std, kept=decoded.val)

    main = processes.rank() == 0
    asked = {
        "augsuite": __version__,
        "trainer": trainer,
        "config": to_plain(settings),
        "policy": policy.to_plain(),
        "seed": seed,
        "images": {"train": len(train), "val": len(val)},
        "categories": train.categories.names.tolist(),
        **_identity(trainer, policy, train, val),
    }
    if main:
        _begin(folder, asked)
    run = registry.load(spec.train, f"trainer {trainer}", spec.extra)
    with Trackers(opened if main else [], folder, asked) as sinks:
        log = _Log(sinks, progress if main else None)
        record = run(settings, feed, plain, seed=seed, folder=folder, log=log)
        # JSON has no NaN: a metric without a value is left out.
        finite = {name: float(value) for name, value in record.metrics.items() if np.isfinite(value)}
        record = msgspec.structs.replace(record, metrics=finite)
        if draw and main:
            picture = _drawn(spec, folder, val, draw, str(getattr(settings, "device", "auto")))
            if picture is not None:
                sinks.image("predictions", picture, log.last)
        sinks.finish(finite)
    if not workers:
        record = msgspec.structs.replace(record, augment_seconds=feed.cpu_seconds)
    if main:
        write_json(folder / RECORD, record)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return record


def find_rate(
    trainer: str,
    config: Mapping[str, Any],
    train: Dataset,
    policy: Policy,
    seed: int,
    folder: Path,
    progress: Progress | None = None,
    workers: int = 0,
) -> Curve | None:
    """Find a learning rate: train while it rises, until the loss explodes, and leave `lr.json` and `lr.svg`.

    Nothing else in the folder is touched, so a run that is finished there stays.

    Args:
        trainer: its name.
        config: its settings that differ from its defaults; the schedule is not one of them.
        train: what to train on, augmented by `policy`.
        policy: the augmentation.
        seed: of weights, order and draws.
        folder: where the files go; made where it does not exist.
        progress: as for `train_once`.
        workers: processes that render images.

    Returns:
        The curve and what it suggests; None in all but the first of several processes.

    Raises:
        ConfigError: for unknown names or settings, or a trainer that has no such schedule.
        DataError: if the dataset has nothing that this trainer learns from.
    """
    from augsuite.training.ramp import Curve

    spec = registry.find("trainer", registry.default().trainers(), trainer)
    settings = settings_of(trainer, {**config, "schedule": "range"})
    check_task(spec, train, "train")
    feed = Feed(train, policy, seed=seed, workers=workers, cache=not workers and fits_memory(train))
    plain = Feed(train.take([0]), Policy(name="none", steps=()), seed=seed, mean=feed.mean, std=feed.std)
    run = registry.load(spec.train, f"trainer {trainer}", spec.extra)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        run(settings, feed, plain, seed=seed, folder=scratch, log=_Log(None, progress))
        if processes.rank():
            return None
        if not (scratch / "lr.json").exists():
            raise ConfigError(f"trainer {trainer}: its schedule `range` left no lr.json. Set lr by hand.")
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("lr.json", "lr.svg"):
            partial = folder / f".{file}.partial"
            partial.write_bytes((scratch / file).read_bytes())
            partial.replace(folder / file)
    return msgspec.json.decode((folder / "lr.json").read_bytes(), type=Curve)


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


class _Log:
    """What a trainer tells goes to the trackers and to whoever watches."""

    def __init__(self, sinks: Trackers | None, progress: Progress | None) -> None:
        self._sinks, self._progress = sinks, progress
        self._watcher = progress if isinstance(progress, TakesPulse) else None
        self.last = 0

    def __call__(self, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        self.last = epoch
        if self._sinks is not None:
            self._sinks.log(epoch, values)
        if self._progress is not None:
            self._progress(epoch, epochs, values)

    def pulse(self, epoch: int, epochs: int, done: float, values: Mapping[str, float]) -> None:
        """Between epochs."""
        if self._watcher is not None:
            self._watcher.pulse(epoch, epochs, done, values)

    def say(self, line: str) -> None:
        """For a person."""
        if self._watcher is not None:
            self._watcher.say(line)


def _identity(trainer: str, policy: Policy, train: Dataset, val: Dataset) -> dict[str, Any]:
    """What else a run depends on: a checkpoint by other code, or of other data, must not be gone on from."""
    from augsuite.study.identity import code_of

    prints = {"train": digest(train, contents=False), "val": digest(val, contents=False)}
    return {"data": prints, "code": code_of(trainer, [policy])}


def _begin(folder: Path, asked: Mapping[str, Any]) -> None:
    """Write `run.json`, and clear away what an earlier run left that this one would not replace."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    path = folder / "run.json"
    try:
        same = msgspec.json.decode(path.read_bytes()) == msgspec.json.decode(msgspec.json.encode(asked))
    except (OSError, msgspec.DecodeError):
        same = False
    if not same:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    for left in (*folder.glob("nan-batch*.npz"), folder / "predictions.png", folder / "network.txt"):
        left.unlink(missing_ok=True)
    write_json(path, asked)


def _drawn(spec: TrainerSpec, folder: Path, val: Dataset, count: int, device: str) -> Image | None:
    """Draw predictions on validation images into `predictions.png`; None where nothing can be.

    A failure is a warning: a finished training is worth more than its picture.
    """
    try:
        predictor = predictor_of(spec, folder / MODEL, device)
        picture = None if predictor is None else beside_truth(predictor, val, count)
    except Exception as error:  # noqa: BLE001 - a stranger's predictor may raise anything
        warnings.warn(f"no predictions are drawn: {registry.one_line(error)}", RuntimeWarning, stacklevel=2)
        return None
    if picture is not None:
        partial = folder / ".predictions.png"
        PIL.Image.fromarray(picture).save(partial, "PNG")
        partial.replace(folder / "predictions.png")
    return picture


def check_task(spec: TrainerSpec, data: Dataset, part: str) -> None:
    """Stop before a trainer meets a dataset that has nothing for it.

    Raises:
        DataError: begins with `part`.
    """
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


def fits_memory(*parts: Dataset) -> bool:
    """Whether the decoded images may stay in memory; unknown sizes count as too large."""
    sizes = np.concatenate([data.images.sizes for data in parts])
    return bool((sizes > 0).all()) and int(sizes.prod(axis=1).sum()) * 3 <= CACHE_BYTES
