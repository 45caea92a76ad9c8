"""What a trained model says of images, and how that looks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import PIL.ImageDraw

from augsuite import registry
from augsuite.augment.pictures import Marks, Page, draw_boxes, draw_tag
from augsuite.augment.preview import pick
from augsuite.dataset import Dataset
from augsuite.dataset.colors import class_color
from augsuite.dataset.images import Image
from augsuite.errors import ConfigError, DataError, MissingExtraError, PluginError
from augsuite.protocols import Prediction, Predictor
from augsuite.spec import TrainerSpec

T = TypeVar("T")

MODEL = "model.pt"
BATCH = 16
"""Images that are predicted on at once."""
SURE = 0.3
"""The score from which on a box is drawn."""
_NAMED = 3  # classes that a classified image is tagged with
_CELL = 300  # pixels
_COLUMNS = 4


def load_model(path: Path, device: str = "auto") -> Predictor:
    """Load what a training left.

    Args:
        path: a run's folder, or its `model.pt`.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`.

    Raises:
        ConfigError: if there is no model, its trainer is not installed or predicts nothing, or there is no such device.
        DataError: if the file is damaged.
        MissingExtraError: if PyTorch is not installed.
    """
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        what = "the folder holds no model.pt" if path.is_dir() else "no such file or folder"
        raise ConfigError(f"{path}: {what}. Name the folder of a finished run, or its model.pt.")
    name = _trainer_of(file)
    spec = registry.find("trainer", registry.default().trainers(), name)
    predictor = predictor_of(spec, file, device)
    if predictor is None:
        raise ConfigError(f"{file}: the trainer {name} declares no predictor, so its models cannot be asked.")
    return predictor


def predictor_of(spec: TrainerSpec, file: Path, device: str = "auto") -> Predictor | None:
    """Load a trainer's model; None where the trainer declares no predictor.

    Raises:
        DataError: if the file is damaged.
        ConfigError: if there is no such device.
    """
    if spec.predictor is None:
        return None
    load = registry.load(spec.predictor, f"trainer {spec.name}", spec.extra)
    return load(file, device)


def _trainer_of(file: Path) -> str:
    """Which trainer wrote a `model.pt`."""
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtraError("a trained model", "train", "torch") from None
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler fails in any way on what is no model
        raise DataError(f"{file}: damaged, or no file that PyTorch can load safely. Name a run's model.pt.") from error
    if not isinstance(content, dict) or not isinstance(content.get("trainer"), str):
        raise DataError(f"{file}: does not say which trainer wrote it. Name a run's model.pt, or train again.")
    return str(content["trainer"])


def predict(
    predictor: Predictor, images: Iterable[tuple[T, Image]], batch: int = BATCH
) -> Iterator[tuple[T, Image, Prediction]]:
    """Predict on any number of images, some at a time.

    Args:
        predictor: the model.
        images: something that says which it is, and `(H, W, 3)` uint8 RGB pixels; taken as needed.
        batch: how many are predicted on at once.

    Yields:
        What says which image it is, its pixels, and the prediction, in order.

    Raises:
        PluginError: if the predictor gives another number of predictions than there are images.
    """
    left = iter(images)
    while some := list(itertools.islice(left, batch)):
        predictions = predictor([pixels for _, pixels in some])
        if len(predictions) != len(some):
            raise PluginError(
                f"{type(predictor).__name__}: {len(predictions)} predictions for {len(some)} images. Report it to its plugin."
            )
        for (which, pixels), prediction in zip(some, predictions, strict=True):
            yield which, pixels, prediction


def surest(prediction: Prediction, min_score: float) -> Prediction:
    """The prediction without what scores less than `min_score`; of a classifier the surest class stays whatever its score."""
    kept = prediction.scores >= min_score
    if len(prediction.boxes) == len(kept):
        return Prediction(prediction.boxes[kept], prediction.labels[kept], prediction.scores[kept])
    kept[:1] = True
    return Prediction(prediction.boxes, prediction.labels[kept], prediction.scores[kept])


def drawn(image: Image, prediction: Prediction, names: Sequence[str], task: str, min_score: float = SURE) -> Image:
    """Draw a prediction on a copy of its image: boxes with names and scores, or the first few classes in the corner.

    Lines and letters grow with the image.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        prediction: of it.
        names: of the categories.
        task: `detection` or `classification`.
        min_score: boxes and classes that score less are not drawn; of a classifier the surest always is.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    picture = PIL.Image.fromarray(image)
    side = max(picture.size)
    text, line = max(11, side // 60), max(2, side // 400)
    if task == "detection":
        draw_boxes(picture, marks(surest(prediction, min_score), names), line=line, text=text)
    else:
        pen = PIL.ImageDraw.Draw(picture)
        for place, (label, tag) in enumerate(_classes(prediction, names, min_score)):
            corner = np.array([0.0, place * (text + 4.0), 0.0, 0.0])
            draw_tag(pen, picture.size, corner, tag, class_color(label), text, inside=True)
    return np.asarray(picture)


def marks(prediction: Prediction, names: Sequence[str]) -> Marks:
    """Boxes with their names and scores."""
    pairs = zip(prediction.labels.tolist(), prediction.scores.tolist(), strict=True)
    return Marks(prediction.boxes, prediction.labels, [f"{names[label]} {score:.2f}" for label, score in pairs])


def _classes(prediction: Prediction, names: Sequence[str], min_score: float) -> list[tuple[int, str]]:
    """The first few classes with their scores."""
    kept = surest(prediction, min_score)
    pairs = zip(kept.labels.tolist()[:_NAMED], kept.scores.tolist(), strict=False)
    return [(label, f"{names[label]} {score:.2f}") for label, score in pairs]


def beside_truth(predictor: Predictor, data: Dataset, count: int, min_score: float = SURE) -> Image | None:
    """Some images of a dataset twice, with what is true of them and what a model says.

    Args:
        predictor: the model; its categories are those of `data`.
        data: the dataset; the images are the same for every model.
        count: how many images.
        min_score: boxes that score less are not drawn.

    Returns:
        `(H, W, 3)` uint8 RGB; None where no image has a file.

    Raises:
        DataError: if an image cannot be read.
    """
    if not (data.images.files != "").any():
        return None
    rows = pick(data, count, 0)
    names = [str(name) for name in data.categories.names]
    columns = min(_COLUMNS, 2 * len(rows))
    about = [f"predictions from a score of {min_score:g} on"] if predictor.task == "detection" else []
    title = "left what is true, right what the model says"
    page = Page(names, _CELL, columns, -(-2 * len(rows) // columns), title, about)
    samples = ((row, data.sample(row)) for row in rows)
    asked = (((row, sample), sample.image) for row, sample in samples)
    for place, ((row, sample), pixels, prediction) in enumerate(predict(predictor, asked)):
        at, column = divmod(2 * place, columns)
        truth = Marks(sample.boxes, sample.labels, [names[label] for label in sample.labels])
        if predictor.task == "detection":
            found = surest(prediction, min_score)
            said, seen = f"{len(sample.boxes)} true", f"{len(found.labels)} found"
            guess = marks(found, names)
        else:
            targets = np.zeros(0) if sample.targets is None else sample.targets
            said = ", ".join(names[label] for label in np.flatnonzero(targets))
            seen = ", ".join(tag for _, tag in _classes(prediction, names, min_score))
            truth = guess = Marks(np.zeros((0, 4)), np.zeros(0, np.int64), [])
        page.cell(at, column, pixels, truth, str(data.images.names[row]), said)
        page.cell(at, column + 1, pixels, guess, seen)
    return np.asarray(page.image)
