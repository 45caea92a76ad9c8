"""A loss that is not a number stops training at once, and the batch is kept, to be looked at and tried again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augsuite.augment import Batch, Feed
from augsuite.errors import ConfigError, DataError

NAN_BATCH = "nan-batch.npz"
"""Its name in a run's folder; other processes than the first write `nan-batch-RANK.npz`."""


def write_batch(path: Path, batch: Batch, feed: Feed, epoch: int, step: int) -> None:
    """Keep a batch: its pixels as the network got them, and the keys that render them again.

    The file holds the arrays of `Batch` (boxes, labels and weights of all images in a row, `counts` of each), `names` of the images,
    `keys` (`(B, 3)`: seed, epoch, image row, as a policy takes them), `epoch` and `step`, counted from 0. `numpy.load` reads it without
    pickle.

    Args:
        path: the file; whole or not there.
        batch: what the network got.
        feed: where it comes from.
        epoch: from 0.
        step: batch of the epoch, from 0.
    """
    partial = path.with_name(f".{path.stem}.partial.npz")
    keys = [(feed.seed, epoch, row) for row in batch.image_rows.tolist()]
    np.savez_compressed(
        partial,
        images=batch.images,
        counts=np.array([len(boxes) for boxes in batch.boxes], np.int64),
        boxes=np.concatenate([np.zeros((0, 4)), *batch.boxes]),
        labels=np.concatenate([np.zeros(0, np.int64), *batch.labels]),
        weights=np.concatenate([np.zeros(0, np.float32), *batch.weights]),
        targets=batch.targets,
        image_rows=batch.image_rows,
        matrices=batch.matrices,
        names=np.array([str(feed.data.images.names[row]) for row in batch.image_rows]),
        keys=np.array(keys, np.int64).reshape(-1, 3),
        epoch=epoch,
        step=step,
    )
    partial.replace(path)


def read_batch(path: Path) -> Batch:
    """Read what `write_batch` wrote.

    Raises:
        DataError: if the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            parts = {name: file[name] for name in file.files}
        cuts = np.cumsum(parts["counts"])[:-1]
        return Batch(
            images=parts["images"],
            boxes=np.split(parts["boxes"], cuts),
            labels=np.split(parts["labels"], cuts),
            weights=np.split(parts["weights"], cuts),
            targets=parts["targets"],
            image_rows=parts["image_rows"],
            matrices=parts["matrices"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as a batch. Train again to get a new one.") from error


@dataclass(frozen=True, slots=True)
class _Watched:
    """One step whose loss is on its way from the device."""

    values: Tensor
    ready: torch.cuda.Event | None
    batch: Batch
    epoch: int
    step: int
    images: int


@dataclass
class Guard:
    """Stops a training at the first step whose loss or gradient is not a number.

    On a CPU a value is looked at when it is given. A GPU would have to wait for that, so there a step is looked at when the next one has
    been sent off.

    Attributes:
        name: the trainer's, for the message.
        folder: where the batch is kept.
        feed: where it comes from.
        rank: which process this is.
        lr: the setting, for the message.
    """

    name: str
    folder: Path
    feed: Feed
    rank: int
    lr: float
    _waiting: _Watched | None = None

    def watch(self, values: Tensor, batch: Batch, epoch: int, step: int, images: int) -> float:
        """Take the loss of a step, or the loss and the norm of the gradient.

        Args:
            values: `(1,)` or `(2,)`.
            batch: what it was computed on.
            epoch: from 0.
            step: batch of the epoch, from 0.
            images: in the batch, over all processes.

        Returns:
            The sum over images of the losses that have become known.

        Raises:
            ConfigError: if a value that has become known is not finite.
        """
        if values.device.type != "cuda":
            return self._judge(_Watched(values, None, batch, epoch, step, images))
        ready = torch.cuda.Event()  # type: ignore[no-untyped-call]  # PyTorch's own gap
        watched = _Watched(values.to("cpu", non_blocking=True), ready, batch, epoch, step, images)
        ready.record()
        before, self._waiting = self._waiting, watched
        return 0.0 if before is None else self._judge(before)

    def settle(self) -> float:
        """Wait for what is not known yet; as `watch`."""
        before, self._waiting = self._waiting, None
        return 0.0 if before is None else self._judge(before)

    def _judge(self, watched: _Watched) -> float:
        if watched.ready is not None:
            watched.ready.synchronize()
        loss, *norm = watched.values.tolist()
        if math.isfinite(loss) and all(map(math.isfinite, norm)):
            return float(loss) * watched.images
        self._waiting = None
        path = self.folder / (NAN_BATCH if self.rank == 0 else f"nan-batch-{self.rank}.npz")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_batch(path, watched.batch, self.feed, watched.epoch, watched.step)
        what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient is {norm[0]}"
        raise ConfigError(
            f"{self.name}: the {what} in epoch {watched.epoch + 1}, batch {watched.step + 1}; the batch is kept in "
            f"{path}. Lower lr (now {self.lr:g}), set clip_norm, or look at its images and boxes."
        )
