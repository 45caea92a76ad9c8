"""From a dataset and a policy to batches: the same samples for any number of workers."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.augment.cache import DiskCache, KeptSource
from augsuite.augment.policies import Policy
from augsuite.augment.render import measured
from augsuite.augment.resample import opencv
from augsuite.boxes import Boxes
from augsuite.dataset import ArraySource, Dataset, Sample
from augsuite.dataset.sample_shapes import Shapes
from augsuite.errors import AugsuiteError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Size = tuple[int, int]
SampleKey = tuple[int, int, int, int]
"""Epoch, image row, width and height."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one size, stacked.

    Attributes:
        images: `(B, H, W, 3)` uint8 RGB.
        boxes: B arrays `(N, 4)` float64 XYXY in pixels of the batch.
        labels: B arrays `(N,)` int64 rows of the dataset's categories.
        weights: B arrays `(N,)` float32 in [0, 1].
        targets: `(B, C)` float32 class targets; a row of zeros where an image has no image label.
        image_rows: `(B,)` int64 rows of the dataset's images.
        matrices: `(B, 3, 3)` float64 from pixels of the original image to pixels of the batch.
        shapes: B times polygons, masks, keypoints and oriented boxes in pixels of the batch, one entry for each box; None unless the
            feed was asked for them.
    """

    images: NDArray[np.uint8]
    boxes: list[Boxes]
    labels: list[NDArray[np.int64]]
    weights: list[NDArray[np.float32]]
    targets: NDArray[np.float32]
    image_rows: NDArray[np.int64]
    matrices: NDArray[np.float64]
    shapes: list[Shapes] | None = None

    def __len__(self) -> int:
        return len(self.images)


def normalized(
    images: NDArray[np.uint8],
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> NDArray[np.float32]:
    """Normalise a batch on the CPU; on another device a trainer does it with `Feed.mean` and `Feed.std`.

    Args:
        images: `(B, H, W, 3)` uint8.
        mean: of each channel, in [0, 1].
        std: of each channel.

    Returns:
        `(B, 3, H, W)` float32, contiguous: `(value / 255 - mean) / std`.
    """
    batch = np.empty((len(images), 3, *images.shape[1:3]), np.float32)
    cv2 = opencv()
    for image, planes in zip(images, batch, strict=True):
        # Planes first: numpy converts a contiguous plane eight times faster than every third value.
        for plane, result, one_mean, one_std in zip(cv2.split(image), planes, mean, std, strict=True):
            np.multiply(plane, np.float32(1 / (255 * one_std)), out=result)
            np.subtract(result, np.float32(one_mean / one_std), out=result)
    return batch


def collate(
    samples: Sequence[Sample], classes: int, images: NDArray[np.uint8] | None = None, *, shapes: bool = False
) -> Batch:
    """Stack rendered samples of one size.

    Args:
        samples: at least one.
        classes: how many class targets there are.
        images: `(B, H, W, 3)` their pixels, where they are stacked already.
        shapes: with their shapes.
    """
    targets = np.zeros((len(samples), classes), np.float32)
    for row, sample in enumerate(samples):
        if sample.targets is not None:
            targets[row] = sample.targets
    return Batch(
        images=np.stack([sample.image for sample in samples]) if images is None else images,
        boxes=[sample.boxes for sample in samples],
        labels=[sample.labels for sample in samples],
        weights=[sample.weights for sample in samples],
        targets=targets,
        image_rows=np.array([sample.image_row for sample in samples], np.int64),
        matrices=np.stack([sample.matrix for sample in samples]),
        shapes=[sample.shapes for sample in samples] if shapes else None,
    )


@dataclass
class Feed:
    """Gives a trainer its batches, epoch by epoch.

    Attributes:
        data: the images; their files must exist.
        policy: what happens to each.
        seed: first part of every random key, and of the order of the images.
        workers: processes that render; 0 renders in this one. The samples are the same for any number.
        cache: True keeps decoded images in memory (only with `workers=0`): worth it where they all fit. A `DiskCache` keeps them in a
            folder, for any number of workers, runs and arms. No sample changes.
        mean: of each channel, in [0, 1], for a trainer to subtract on its device.
        std: of each channel, for a trainer to divide by.
        cpu_seconds: CPU time of this thread that rendering took so far (only with `workers=0`).
        shapes: whether batches carry polygons, masks, keypoints and oriented boxes (`Batch.shapes`). They are moved where the images are
            rendered, by the workers if there are any; without them no outline is ever read or moved.
        kept: what `cache=True` keeps: image row -> sample. Feeds of the same images, one after the other in one process, may have it in
            common.
    """

    data: Dataset
    policy: Policy
    seed: int = 0
    workers: int = 0
    cache: bool | DiskCache = False
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    cpu_seconds: float = 0.0
    shapes: bool = False
    kept: dict[int, Sample] = field(default_factory=dict, repr=False)
    _idle: list[_Loader] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """A `normalize` step of the policy says what mean and standard deviation are."""
        normalize = self.policy.normalize
        if normalize is not None:
            self.mean, self.std = normalize.mean, normalize.std

    def __len__(self) -> int:
        return len(self.data)

    def __getstate__(self) -> dict[str, Any]:
        """What a worker gets: everything but decoded images and other workers."""
        return {**self.__dict__, "kept": {}, "_idle": []}

    def __getitem__(self, key: SampleKey) -> Sample:
        """Render one sample: `(epoch, image row, width, height)`."""
        epoch, row, width, height = key
        policy = self.policy.resized(width, height)
        return policy(self.original(row), key=(self.seed, epoch, row), pool=self)

    def batch(self, keys: Sequence[SampleKey]) -> Batch:
        """Render samples in this process and stack them; all keys name one size."""
        samples = [self[keys[0]]]
        images = np.empty((len(keys), *samples[0].image.shape), np.uint8)
        images[0] = samples[0].image
        # Each image goes into the batch as it is made: it is in the processor's cache, and the next one takes its memory.
        for place, key in enumerate(keys[1:], 1):
            sample = self[key]
            images[place] = sample.image
            samples.append(replace(sample, source=ArraySource(images[place])))
        return collate(samples, len(self.data.categories), images, shapes=self.shapes)

    @property
    def collate(self) -> Collate:
        """What stacks samples of this feed, for a loader of torch's own."""
        return Collate(len(self.data.categories), self.shapes)

    def original(self, row: int) -> Sample:
        """The sample before the policy."""
        if isinstance(self.cache, DiskCache):
            sample = measured(self.data.sample(row))
            return replace(sample, source=self.cache.wrap(sample.source))
        if not self.cache or self.workers:
            return self.data.sample(row)
        if row not in self.kept:
            sample = measured(self.data.sample(row))
            self.kept[row] = replace(sample, source=KeptSource(sample.source))
        return self.kept[row]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """`(I,)` the shuffled image rows of one epoch; depends on seed and epoch alone."""
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.data))

    def keys(
        self, epoch: int, batch_size: int, size: Size | Sequence[Size], *, shuffle: bool = True
    ) -> list[list[SampleKey]]:
        """What the batches of one epoch hold; arguments as for `batches`."""
        rows = self.order(epoch) if shuffle else np.arange(len(self.data))
        starts = range(0, len(rows), batch_size)
        sizes = [size] if isinstance(size[0], int) else list(size)
        # A stream of its own, so that other sizes leave the order and the samples' draws alone.
        chosen = np.random.default_rng((self.seed, epoch, 1)).integers(len(sizes), size=len(starts))
        return [
            [(epoch, row, *sizes[choice]) for row in rows[at : at + batch_size].tolist()]
            for at, choice in zip(starts, chosen, strict=True)
        ]

    def batches(
        self, epoch: int, batch_size: int, size: Size | Sequence[Size], *, shuffle: bool = True, first: int = 0
    ) -> Iterator[Batch]:
        """The batches of one epoch; the last may be smaller.

        Args:
            epoch: from 0; second part of every random key.
            batch_size: images in a batch.
            size: width and height; the policy's result is resized to it where it differs. Several: each batch has one of them,
                drawn with equal chances ("random training shapes": Zhang et al. 2019, section 3.6, arXiv:1902.04103).
            shuffle: in the order of `order(epoch)`, else of the dataset.
            first: how many batches to leave out, to go on where a run was stopped.
        """
        return self.load(self.keys(epoch, batch_size, size, shuffle=shuffle)[first:])

    def load(self, keys: list[list[SampleKey]]) -> Iterator[Batch]:
        """The batches that hold these samples, in order; all keys of a batch name one size."""
        classes = len(self.data.categories)
        if not self.workers:
            for batch in keys:
                start = time.thread_time()
                collated = self.batch(batch)
                self.cpu_seconds += time.thread_time() - start
                yield collated
            return
        yield from self._loaded(keys, classes)

    def _loaded(self, keys: list[list[SampleKey]], classes: int) -> Iterator[Batch]:
        # Workers take seconds to start, so they outlive an epoch. A second epoch beside a running one gets its own.
        with _any_number_of_workers():
            loader = self._idle.pop() if self._idle else _Loader(self, classes)
        try:
            yield from loader.batches(keys)
        finally:
            self._idle.append(loader)


class _Loader:
    """Worker processes that render the batches they are told to."""

    def __init__(self, feed: Feed, classes: int) -> None:
        import torch
        from torch.utils.data import DataLoader

        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", "torch", "augsuite.augment"])
        self._keys: list[list[SampleKey]] = []
        self._loader: DataLoader[Batch] = DataLoader(
            # A feed of its own: a cycle with `feed` would leave the workers to the garbage collector, which ends them in an
            # order in which each is waited for in vain for seconds. It needs no base class, only __getitem__.
            Feed(feed.data, feed.policy, feed.seed, feed.workers, feed.cache, shapes=feed.shapes),  # type: ignore[arg-type]
            batch_sampler=self._keys,
            num_workers=feed.workers,
            collate_fn=Collate(classes, feed.shapes),
            multiprocessing_context=context,
            worker_init_fn=_start_worker,
            persistent_workers=True,
            # Its own, or the number of workers would change what a trainer draws from torch.
            generator=torch.Generator(),
        )

    def batches(self, keys: list[list[SampleKey]]) -> Iterator[Batch]:
        self._keys[:] = keys
        with _any_number_of_workers():
            iterator = iter(self._loader)
        try:
            yield from iterator
        except AugsuiteError as error:
            # torch puts the worker's traceback before the message; a user reads the message.
            kind = type(error)
            raise kind(str(error).strip().rpartition(f"{kind.__module__}.{kind.__qualname__}: ")[2]) from error


@contextlib.contextmanager
def _any_number_of_workers() -> Iterator[None]:
    """More workers than cores is for the user to say; torch warns of it when it makes a loader and when it starts one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


def _start_worker(worker: int) -> None:
    """One thread for each worker: OpenCV would start as many as there are cores."""
    del worker
    opencv().setNumThreads(1)


@dataclass(frozen=True, slots=True)
class Collate:
    """`collate` with its settings, in a form that travels to a worker."""

    classes: int
    shapes: bool = False

    def __call__(self, samples: list[Sample]) -> Batch:
        """Stack."""
        return collate(samples, self.classes, shapes=self.shapes)
