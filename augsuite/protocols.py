"""What the references of a declaration must point at, and the small values that cross that border."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from augsuite.augment import Erase, Feed, PixelOp, Policy, Scene, Step, Warp
    from augsuite.augment.pipelines import Exported, Loaded
    from augsuite.boxes import Boxes
    from augsuite.dataset import Dataset, Intake, Sample
    from augsuite.dataset.images import Image


# Formats


class Losses(Counter[str]):
    """What a writer could not represent: kind (`coco.iscrowd`, `image ids`) -> how many values. Counted, never silent."""


class Detect(Protocol):
    """Says whether a path holds the format."""

    def __call__(self, path: Path) -> float:
        """From 0 (it does not) to 1 (it can be nothing else). Cheap: looks at names and the head of a file; never raises."""


class Read(Protocol):
    """Reads a dataset."""

    def __call__(self, path: Path, intake: Intake, **options: str) -> Dataset:
        """Read a folder or a file.

        Args:
            path: what the user named.
            intake: takes what is invalid or surprising.
            options: those that the declaration lists.

        Raises:
            DataError: in one line, for anything that cannot be read.
        """


class Write(Protocol):
    """Writes a dataset."""

    def __call__(self, data: Dataset, folder: Path, losses: Losses, **options: str) -> Sequence[str]:
        """Write the annotation files into `folder`, an empty folder that the core moves into place afterwards.

        Args:
            data: the dataset.
            folder: where to write.
            losses: takes what cannot be represented.
            options: those that the declaration lists.

        Returns:
            For each image the path, relative to `folder`, where its file belongs; all different. The core puts them there.
        """


class ReadParts(Protocol):
    """Reads a dataset in parts."""

    def __call__(self, path: Path, intake: Intake, **options: str) -> Iterator[Dataset]:
        """Read a folder or a file as several datasets, which together are what `Read` gives, in the same order of images.

        Each has all categories, all that is said of the whole dataset, some of the images and all their annotations; ids are the whole's.

        Args:
            path: what the user named.
            intake: takes what is invalid or surprising.
            options: those that the declaration lists.

        Raises:
            DataError: as `Read` does; it may come after some parts.
        """


class WriteParts(Protocol):
    """Writes a dataset from parts."""

    def __call__(
        self, parts: Iterable[Dataset], folder: Path, losses: Losses, **options: str
    ) -> Iterator[Sequence[str]]:
        """Write parts of a dataset, as `ReadParts` gives them, into `folder`; the same bytes however the dataset is cut.

        Args:
            parts: at least one; taken one by one.
            folder: where to write; empty, but for what an earlier writer left there, see `augsuite.spec.FormatSpec.resumes`.
            losses: takes what cannot be represented.
            options: those that the declaration lists.

        Yields:
            For each part what `Write` returns: one path for each of its images. All files are whole when the iterator ends.
        """


class MakeDataset(Protocol):
    """Makes a dataset on this machine."""

    def __call__(
        self, folder: Path, images: int, seed: int, progress: Callable[[int], None], **options: str
    ) -> Dataset:
        """Make `images` images and write them with their annotations into `folder`, an empty folder.

        Args:
            folder: where to write.
            images: how many.
            seed: the same seed gives the same bytes.
            progress: called with 1 for each image made.
            options: those that the declaration lists.
        """


# Transforms: the class behind `TransformSpec.params` is a frozen `msgspec.Struct` whose fields are the parameters


class GeometricTransform(Protocol):
    """Moves pixels and boxes."""

    def draw(self, rng: np.random.Generator, scene: Scene) -> Warp | None:
        """Draw one warp of the scene; None leaves it as it is."""


class PixelTransform(Protocol):
    """Changes values, never places."""

    pointwise: ClassVar[bool]
    """Whether a pixel's new value depends on that pixel alone."""

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the values that `apply` needs, as JSON has them; None leaves the image as it is."""

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Change a `(H, W, 3)` uint8 RGB image; may reuse its memory. Same shape and dtype out.

        A transform may also have `apply_tensors(images, drawn, inside)`, which `augsuite.augment.batched` uses: `(B, 3, H, W)` float32
        in whole levels from 0 to 255 in and out, the values drawn for each image, and `(B, 1, H, W)` bool, what a transform that
        looks at the whole image may look at.
        """


class TablePixelTransform(PixelTransform, Protocol):
    """A pixel transform that may come down to a table; tables of steps in a row are composed and looked up once."""

    def table(self, drawn: Mapping[str, Any]) -> NDArray[np.uint8] | None:
        """What each value becomes.

        Returns:
            `(256,)` for all channels or `(256, 3)`, doing to every image what `apply` does; None where no table can.
        """


class EraseTransform(Protocol):
    """Hides parts of the image; what a box loses counts as not visible."""

    def draw(self, rng: np.random.Generator, scene: Scene) -> Erase | None:
        """Draw rectangles of the scene's canvas; None leaves it as it is."""


class ChoiceTransform(Protocol):
    """Stands for other steps."""

    def draw(self, rng: np.random.Generator, scene: Scene) -> Sequence[Step | Warp | PixelOp]:
        """Choose what happens in its place, in order.

        Returns:
            Steps, whose ids differ, to be drawn from streams of their own; or operations that are drawn already, of which a `Warp`
            is one of the scene, whose size it keeps if another follows.
        """

    def names(self) -> Iterable[str]:
        """The transforms that it may choose."""


class MixTransform(Protocol):
    """Combines samples."""

    def draw(self, rng: np.random.Generator, scene: Scene) -> tuple[Mapping[str, Any], Sequence[int]] | None:
        """Draw the values that `mix` needs and the image rows, below `scene.pool`, of the partners."""

    def mix(self, samples: Sequence[Sample], drawn: Mapping[str, Any]) -> Sample:
        """Combine samples, the sample's own first; their pixels are made when a source is decoded.

        Boxes must keep what belongs to them (`seen_frac`, `lazy`): `augsuite.augment.collage.join` does that, and a source that
        answers `onto` as `Collage` does is rendered at the size of what follows.
        """


# Pipelines of other libraries


class LoadPipeline(Protocol):
    """Makes a policy's steps of another library's pipeline."""

    def __call__(self, given: Any) -> Loaded:
        """Translate what means the same, and say what has no equivalent.

        Args:
            given: a live object of the library, or the mapping that it saves.

        Raises:
            ConfigError: if it is no pipeline of that library.
        """


class ExportPipeline(Protocol):
    """Makes another library's pipeline of a policy."""

    def __call__(self, policy: Policy) -> Exported:
        """Translate what means the same, and say what has no equivalent; the pipeline then is that of the other steps."""


# Trainers


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one training run found.

    Attributes:
        metrics: name -> value; rates in percent (0 to 100), such as `AP`, `AP50`, `AP/RBC`, `top1`.
        images: how many training images went through the model.
        seconds: wall time of training, without the evaluation.
        cpu_seconds: CPU time of this process in that time; that of loader workers is not in it.
        parameters: trainable parameters of the model.
        augment_seconds: CPU time of drawing, decoding and rendering those images; None where loader workers did. For the caller to fill in.
        wait_seconds: wall time in which training waited for its next batch; None where it was not measured.
        epochs: passes over the training images, which early stopping makes fewer than were asked for.
        peak_bytes: most memory in use: of the GPU where there is one, else of the process since it began.
    """

    metrics: dict[str, float]
    images: int
    seconds: float
    cpu_seconds: float
    parameters: int
    augment_seconds: float | None = None
    wait_seconds: float | None = None
    epochs: int | None = None
    peak_bytes: int | None = None


class Tracker(Protocol):
    """Takes the curves of a run; it may also take what `TakesRun` and `TakesImages` say."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take values at a step (an epoch, for the bundled trainers); steps ascend. A value may be NaN."""

    def close(self) -> None:
        """Write out what is pending. A run that was not finished before has failed or was interrupted."""


@runtime_checkable
class TakesRun(Protocol):
    """A tracker that also takes what a run was asked for, and what it came to."""

    def start(self, run: Mapping[str, Any]) -> None:
        """Take what `run.json` holds, once, before the first values: trainer, settings, policy, seed, sizes of the dataset."""

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of the finished run's record, once, after the last values; never called for a run that failed."""


@runtime_checkable
class TakesImages(Protocol):
    """A tracker that also takes pictures."""

    def image(self, name: str, image: Image, step: int) -> None:
        """Take a `(H, W, 3)` uint8 RGB picture, such as predictions drawn on images."""


class OpenTracker(Protocol):
    """Opens a tracker."""

    def __call__(self, folder: Path) -> Tracker:
        """Open in a run's folder.

        What an earlier attempt at the same run left there is begun anew: a run that resumes logs its whole history again.

        Raises:
            ConfigError: if what it writes to cannot be reached, or is set up wrongly.
        """


@runtime_checkable
class TakesPulse(Protocol):
    """A `log` of `Train` that also wants to hear of a run between epochs."""

    def pulse(self, epoch: int, epochs: int, done: float, values: Mapping[str, float]) -> None:
        """Take how much of an epoch (from 1) is done, in [0, 1], and values so far; several times a second."""

    def say(self, line: str) -> None:
        """Take something that whoever watches should know, such as that a run goes on from a checkpoint."""


class Train(Protocol):
    """Trains one run."""

    def __call__(
        self,
        config: Any,
        train: Feed,
        val: Feed,
        *,
        seed: int,
        folder: Path,
        log: Callable[[int, int, Mapping[str, float]], None],
    ) -> RunRecord:
        """Train on `train`, evaluate on `val`, leave model and predictions in `folder`.

        Args:
            config: an instance of the declaration's `config`.
            train: gives augmented batches, epoch by epoch.
            val: gives plain batches.
            seed: of initial weights and of anything else the trainer draws.
            folder: exists; the run's own. Predictions go to `predictions.json` as COCO results (detection) or
                `predictions.csv` (classification), the weights to `model.pt`: what `torch.save` writes of a mapping with the keys
                `trainer` (its name), `config` (plain values), `categories` (names), `mean`, `std` (of each channel) and `state` (a
                state dict), and `torch.load(weights_only=True)` reads.
            log: called with epoch (from 1), number of epochs and values, after each epoch.
        """


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a trained model says of one image, surest first.

    Attributes:
        boxes: `(N, 4)` float64 XYXY in pixels of the image, within it; `(0, 4)` of a classifier.
        labels: `(N,)` int64 rows of the predictor's categories; a classifier gives all of them.
        scores: `(N,)` float64 in [0, 1], descending; a classifier's sum to 1.
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


class Predictor(Protocol):
    """A trained model, ready to be asked."""

    @property
    def categories(self) -> list[str]:
        """Names of the categories, in the order of the labels."""

    @property
    def task(self) -> Literal["detection", "classification"]:
        """What it does."""

    def __call__(self, images: Sequence[Image]) -> list[Prediction]:
        """Predict on a batch; what it says of an image does not depend on the others.

        Args:
            images: each `(H, W, 3)` uint8 RGB, of any size; they are not changed.

        Returns:
            One prediction for each image, in order.
        """


class LoadPredictor(Protocol):
    """Loads what a run left."""

    def __call__(self, path: Path, device: str = "auto") -> Predictor:
        """Load a run's `model.pt`, without executing anything that it holds.

        Args:
            path: the file.
            device: `auto` (a GPU where there is one), `cpu`, `cuda`.

        Raises:
            DataError: if the file is damaged, or is not of this trainer.
            ConfigError: if there is no such device.
        """


class BuildNetwork(Protocol):
    """Builds a trainer's network."""

    def __call__(self, config: Any, classes: int) -> tuple[nn.Module, tuple[int, int]]:
        """Build the untrained network.

        Args:
            config: an instance of the declaration's `config`.
            classes: how many categories.

        Returns:
            The network, on the CPU, which takes `(B, 3, H, W)` float32; and the height and width that it is trained at.
        """
