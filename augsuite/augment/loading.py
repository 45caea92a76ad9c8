"""Batches for a training loop of one's own: resumable, measured, and normalised on the device.

A `Feed` is a map-style dataset for torch whose items are named by keys; `Keys` is a batch sampler that names them, `stream` an
iterable dataset of ready batches. `Loader` needs neither: it goes through the epochs of a feed and knows where it stands.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from augsuite.augment.feed import IMAGENET_MEAN, IMAGENET_STD, Batch, Feed, SampleKey, Size
from augsuite.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch.utils.data import IterableDataset

Item = TypeVar("Item")


@dataclass
class WaitTimer:
    """Answers whether a training waits for its data: `for batch in timer(batches): ...`.

    A GPU works on while Python asks for the next batch. Pass `device` to let it finish first; this costs the overlap, so do it to
    measure, not to train.

    Attributes:
        device: what to wait for before the clock of the waiting starts, as torch names it; "" for nothing.
        waited_s: seconds that the loop waited for batches.
        worked_s: seconds between a batch and the demand for the next.
    """

    device: str = ""
    waited_s: float = 0.0
    worked_s: float = 0.0

    @property
    def wait_frac(self) -> float:
        """Share of the time that was spent waiting, in [0, 1]; 0 before the first batch."""
        total = self.waited_s + self.worked_s
        return self.waited_s / total if total else 0.0

    def __call__(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Pass batches on and take the time."""
        iterator = iter(batches)
        asked = time.perf_counter()
        for item in iterator:
            came = time.perf_counter()
            self.waited_s += came - asked
            yield item
            self._finish()
            asked = time.perf_counter()
            self.worked_s += asked - came

    def _finish(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)


@dataclass
class Loader:
    """The batches of a feed, epoch after epoch; each `for` goes through what is left of one.

    Attributes:
        feed: renders; says how many workers.
        batch_size: images in a batch.
        size: width and height, or several; see `Feed.batches`.
        shuffle: see `Feed.batches`.
        epoch: the one that the next batch belongs to.
        position: batches of it that were handed out.
        timer: how long the loop waited.
    """

    feed: Feed
    batch_size: int
    size: Size | Sequence[Size]
    shuffle: bool = True
    epoch: int = 0
    position: int = 0
    timer: WaitTimer = field(default_factory=WaitTimer)

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return math.ceil(len(self.feed) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        batches = self.feed.batches(self.epoch, self.batch_size, self.size, shuffle=self.shuffle, first=self.position)
        for batch in self.timer(batches):
            self.position += 1
            yield batch
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, and what must be the same for it to go on from there."""
        return {"epoch": self.epoch, "position": self.position, **_identity(self.feed, self.batch_size)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another loader stood: the batches that follow are those that it would have given.

        Raises:
            ConfigError: if the other had another seed, batch size or number of images.
        """
        self.epoch, self.position = _checked(state, _identity(self.feed, self.batch_size))


@dataclass
class Keys:
    """Names the items of a feed for torch, batch by batch: `DataLoader(feed, batch_sampler=Keys(...), collate_fn=feed.collate)`.

    Its state is that of the last batch named, which with workers runs ahead of the loop; torchdata's `StatefulDataLoader` keeps account
    of that.

    Attributes:
        feed: whose items they are.
        batch_size: images in a batch.
        size: width and height, or several; see `Feed.batches`.
        shuffle: see `Feed.batches`.
        epoch: goes up by one at the end of each iteration.
        position: batches of the epoch that were named.
    """

    feed: Feed
    batch_size: int
    size: Size | Sequence[Size]
    shuffle: bool = True
    epoch: int = 0
    position: int = 0

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return math.ceil(len(self.feed) / self.batch_size)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        keys = self.feed.keys(self.epoch, self.batch_size, self.size, shuffle=self.shuffle)
        for place in range(self.position, len(keys)):
            self.position = place + 1
            yield keys[place]
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """As `Loader.state_dict`."""
        return {"epoch": self.epoch, "position": self.position, **_identity(self.feed, self.batch_size)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `Loader.load_state_dict`.

        Raises:
            ConfigError: as there.
        """
        self.epoch, self.position = _checked(state, _identity(self.feed, self.batch_size))


def stream(
    feed: Feed, batch_size: int, size: Size | Sequence[Size], *, first_epoch: int = 0, shuffle: bool = True
) -> IterableDataset[Batch]:
    """An iterable dataset of ready batches: `DataLoader(stream(...), batch_size=None, num_workers=2)`.

    Each iteration is an epoch, counted from `first_epoch` in each worker. Workers take turns, so the batches are the same, in
    the same order, for any number of them; for the second epoch to differ from the first they must be persistent, or there must
    be none.

    Args:
        feed: renders.
        batch_size: images in a batch.
        size: width and height, or several; see `Feed.batches`.
        first_epoch: of the first iteration.
        shuffle: see `Feed.batches`.
    """
    kind = _stream_kind()
    made: IterableDataset[Batch] = kind(feed, batch_size, size, first_epoch, shuffle)
    return made


def _rebuilt(feed: Feed, batch_size: int, size: Size | Sequence[Size], epoch: int, shuffle: bool) -> Any:
    return stream(feed, batch_size, size, first_epoch=epoch, shuffle=shuffle)


@functools.cache
def _stream_kind() -> Any:
    """The class behind `stream`, made where torch is wanted; torch knows such a dataset by its base class alone."""
    from torch.utils.data import IterableDataset, get_worker_info

    class Stream(IterableDataset[Batch]):
        def __init__(self, feed: Feed, batch_size: int, size: Size | Sequence[Size], epoch: int, shuffle: bool) -> None:
            self.feed, self.batch_size, self.size, self.epoch, self.shuffle = feed, batch_size, size, epoch, shuffle

        def __len__(self) -> int:
            return math.ceil(len(self.feed) / self.batch_size)

        def __iter__(self) -> Iterator[Batch]:
            worker = get_worker_info()
            first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
            keys = self.feed.keys(self.epoch, self.batch_size, self.size, shuffle=self.shuffle)
            self.epoch += 1
            for batch in keys[first::step]:
                yield self.feed.batch(batch)

        def __reduce__(self) -> tuple[Any, ...]:
            return _rebuilt, (self.feed, self.batch_size, self.size, self.epoch, self.shuffle)

    return Stream


def normalized_on(
    device: str | torch.device,
    images: NDArray[np.uint8] | torch.Tensor,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Normalise a batch on a device, to which it travels as bytes, a quarter of the size.

    Args:
        device: as torch names it.
        images: `(B, H, W, 3)` uint8.
        mean: of each channel, in [0, 1].
        std: of each channel.
        dtype: of the result; float32 by default.

    Returns:
        `(B, 3, H, W)`: `(value / 255 - mean) / std`, channels last in memory, which convolutions want on a GPU.
    """
    import torch

    batch = torch.as_tensor(images)
    if torch.device(device).type == "cuda" and batch.device.type == "cpu":
        batch = batch.pin_memory()
    batch = batch.to(device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32)
    scale = torch.tensor([1 / (255 * value) for value in std], device=batch.device).view(3, 1, 1)
    shift = torch.tensor([one / other for one, other in zip(mean, std, strict=True)], device=batch.device).view(3, 1, 1)
    return batch.mul_(scale).sub_(shift).to(dtype or torch.float32)


def _identity(feed: Feed, batch_size: int) -> dict[str, int]:
    return {"seed": feed.seed, "images": len(feed), "batch_size": batch_size}


def _checked(state: Mapping[str, Any], wanted: Mapping[str, int]) -> tuple[int, int]:
    for name, value in wanted.items():
        if state.get(name) != value:
            raise ConfigError(
                f"the state to go on from has {name.replace('_', ' ')} {state.get(name)}, this loader {value}. "
                "Make the loader as the other was made, or start anew."
            )
    return int(state["epoch"]), int(state["position"])
