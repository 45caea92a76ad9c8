"""What every trainer must satisfy. A plugin's test calls `check_trainer` with each name that it declares.

```python
def test_my_trainer(tmp_path):
    check_trainer("mine", tmp_path, epochs=1, batch_size=4)
```

Give it settings that make a run take a second or two: it trains on a dozen small pictures that are made on the spot.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import PIL.Image

from augsuite import registry
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.dataset.images import Image
from augsuite.errors import AugsuiteError, ConfigError
from augsuite.evaluation import read_labels, read_results
from augsuite.prediction import MODEL, beside_truth, load_model
from augsuite.protocols import Prediction, Predictor, RunRecord
from augsuite.spec import TrainerSpec
from augsuite.study.session import settings_of, train_once
from augsuite.testing.transforms import ContractError, demand

_NAMES = ("red", "blue", "green")
_COLOURS = ((220, 30, 30), (30, 30, 220), (30, 190, 60))
_KEYS = {"trainer", "config", "categories", "mean", "std", "state"}
_EPS = 1e-6


def check_trainer(name: str, folder: Path, **config: Any) -> None:
    """Check one trainer, as declared in the registry of this process.

    Args:
        name: what the user types.
        folder: an empty one.
        config: settings with which a run is short.

    Raises:
        ContractError: with the first thing that is broken.
    """
    spec = registry.find("trainer", registry.default().trainers(), name)
    _check_settings(spec, config)
    data = blocks(folder / "images", spec.task)
    train, val = data.take(np.arange(8)), data.take(np.arange(8, 12))
    from augsuite.augment.policies import policy

    told: list[tuple[int, int]] = []
    record = train_once(
        name,
        config,
        train,
        val,
        policy([{"do": "hflip", "p": 0.5}]),
        seed=1,
        folder=folder / "run",
        progress=lambda epoch, epochs, _: told.append((epoch, epochs)),
    )
    _check_record(spec, record, told, len(train))
    _check_predictions(spec, folder / "run", val)
    _check_model(spec, folder / "run" / MODEL)
    if spec.network is not None:
        _check_network(spec, config)
    if spec.predictor is not None:
        _check_predictor(spec, folder / "run", data)


def blocks(folder: Path, task: str) -> Dataset:
    """Twelve pictures of blocks of one colour on noise, of three sizes, written as PNG files.

    Args:
        folder: where the images are put; made.
        task: `detection` for boxes, `classification` for image labels.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    sizes = [((72, 48), (48, 72), (64, 64))[row % 3] for row in range(12)]
    names, boxes = [f"{row}.png" for row in range(12)], []
    for row, (width, height) in enumerate(sizes):
        pixels = rng.integers(90, 130, (height, width, 3), dtype=np.uint8)
        x, y = (int(value) for value in rng.integers(0, 20, 2))
        side = int(rng.integers(20, 28))
        pixels[y : y + side, x : x + side] = _COLOURS[row % 3]
        PIL.Image.fromarray(pixels).save(folder / names[row])
        boxes.append([x, y, x + side, y + side])
    labels = [row % 3 for row in range(12)]
    annotations = Annotations.of(range(12), labels, boxes if task == "detection" else None)
    return Dataset(Images.of(names, sizes, files=names), Categories.of(_NAMES), annotations, root=folder)


def _check_settings(spec: TrainerSpec, config: dict[str, Any]) -> None:
    name = spec.name
    demand(spec.summary and "\n" not in spec.summary, f"{name}: the summary is one line")
    params = registry.load(spec.config, f"trainer {name}", spec.extra)
    demand(issubclass(params, msgspec.Struct), f"{name}: config points at {params!r}; expected a msgspec.Struct")
    demand(params.__struct_config__.frozen, f"{name}: the settings are a frozen struct")
    defaults = settings_of(name, {})
    written = msgspec.to_builtins(defaults)
    demand(settings_of(name, written) == defaults, f"{name}: the defaults, written out, are the defaults")
    settings_of(name, config)
    try:
        settings_of(name, {"no_such_setting": 1})
    except ConfigError:
        return
    raise ContractError(f"{name}: a setting that does not exist is accepted; expected forbid_unknown_fields or a check")


def _check_record(spec: TrainerSpec, record: RunRecord, told: list[tuple[int, int]], images: int) -> None:
    name = spec.name
    value = record.metrics.get(spec.metric)
    demand(
        value is not None,
        f"{name}: the record has no {spec.metric}, which it declares; it has {sorted(record.metrics)}",
    )
    demand(value is not None and 0 <= value <= 100, f"{name}: {spec.metric} is {value}; expected percent, 0 to 100")
    demand(record.images >= images, f"{name}: {record.images} images trained on; expected {images} in each epoch")
    demand(record.parameters > 0, f"{name}: no trainable parameters in the record")
    for what in ("seconds", "cpu_seconds"):
        demand(math.isfinite(getattr(record, what)) and getattr(record, what) >= 0, f"{name}: {what} is not a time")
    epochs = [epoch for epoch, _ in told]
    demand(
        epochs and epochs == list(range(1, len(epochs) + 1)),
        f"{name}: log was called for the epochs {epochs}; expected 1, 2, ...",
    )
    demand(all(total >= epoch for epoch, total in told), f"{name}: log was told of fewer epochs than there were")


def _check_predictions(spec: TrainerSpec, folder: Path, val: Dataset) -> None:
    """They are there, and of the images measured on."""
    try:
        if spec.task == "detection":
            read_results(folder / "predictions.json", val)
            return
        given = read_labels(folder / "predictions.csv", val)
    except (AugsuiteError, OSError) as error:
        raise ContractError(f"{spec.name}: its predictions cannot be read: {error}") from error
    demand(
        len(given.image_rows) == len(val), f"{spec.name}: predictions of {len(given.image_rows)} of {len(val)} images"
    )


def _check_model(spec: TrainerSpec, file: Path) -> None:
    import torch

    demand(file.is_file(), f"{spec.name}: left no model.pt")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ContractError(f"{spec.name}: torch.load(weights_only=True) refuses model.pt: {error}") from error
    missing = _KEYS - set(content)
    demand(not missing, f"{spec.name}: model.pt lacks {sorted(missing)}")
    demand(content["trainer"] == spec.name, f"{spec.name}: model.pt says that {content['trainer']!r} wrote it")
    demand(content["categories"] == list(_NAMES), f"{spec.name}: model.pt has the categories {content['categories']}")
    settings_of(spec.name, content["config"])


def _check_network(spec: TrainerSpec, config: dict[str, Any]) -> None:
    import torch

    if spec.network is None:
        return
    build = registry.load(spec.network, f"trainer {spec.name}", spec.extra)
    module, (height, width) = build(settings_of(spec.name, config), len(_NAMES))
    with torch.inference_mode():
        module.eval()(torch.zeros(1, 3, height, width))


def _check_predictor(spec: TrainerSpec, folder: Path, data: Dataset) -> None:
    name = spec.name
    predictor = load_model(folder, "cpu")
    demand(
        list(predictor.categories) == list(_NAMES), f"{name}: the predictor has the categories {predictor.categories}"
    )
    demand(predictor.task == spec.task, f"{name}: the predictor's task is {predictor.task!r}")
    demand(predictor([]) == [], f"{name}: no images give no predictions")
    images = [data.sample(row).image for row in range(4)]
    images.append(np.zeros((7, 90, 3), np.uint8))  # nothing to see
    before = [image.copy() for image in images]
    together = predictor(images)
    demand(len(together) == len(images), f"{name}: {len(together)} predictions for {len(images)} images")
    for image, kept, prediction in zip(images, before, together, strict=True):
        demand(np.array_equal(image, kept), f"{name}: the predictor changed an image")
        _check_prediction(name, predictor, image, prediction)
    _check_alone(name, predictor, images, together)
    demand(beside_truth(predictor, data, 2) is not None, f"{name}: its predictions cannot be drawn")
    for bad in (b"", b"no model"):
        broken = folder.with_name("broken.pt")
        broken.write_bytes(bad)
        if spec.predictor is None:
            return
        try:
            registry.load(spec.predictor, f"trainer {name}", spec.extra)(broken, "cpu")
        except AugsuiteError as error:
            demand("\n" not in str(error), f"{name}: the message about a damaged model has several lines: {error}")
        except Exception as error:
            raise ContractError(
                f"{name}: a damaged model.pt raises {type(error).__name__}; expected a DataError"
            ) from error
        else:
            raise ContractError(f"{name}: a damaged model.pt is loaded")


def _check_prediction(name: str, predictor: Predictor, image: Image, prediction: Prediction) -> None:
    count = len(prediction.scores)
    boxes, labels, scores = prediction.boxes, prediction.labels, prediction.scores
    demand(boxes.dtype == np.float64 and scores.dtype == np.float64, f"{name}: boxes and scores are float64")
    demand(
        labels.dtype == np.int64 and labels.shape == scores.shape == (count,),
        f"{name}: labels are (N,) int64, scores (N,)",
    )
    demand(((scores >= 0) & (scores <= 1 + _EPS)).all(), f"{name}: scores lie in [0, 1]")
    demand((np.diff(scores) <= 0).all(), f"{name}: the surest comes first")
    demand(((labels >= 0) & (labels < len(_NAMES))).all(), f"{name}: a label is no row of the categories")
    if predictor.task == "classification":
        demand(boxes.shape == (0, 4), f"{name}: a classifier's boxes are (0, 4)")
        demand(sorted(labels.tolist()) == list(range(len(_NAMES))), f"{name}: a classifier gives all its classes")
        demand(abs(scores.sum() - 1) < 1e-3, f"{name}: a classifier's scores sum to 1, got {scores.sum():.4f}")
        return
    height, width = image.shape[:2]
    demand(boxes.shape == (count, 4), f"{name}: boxes are (N, 4), one for each score")
    inside = (boxes >= -_EPS) & (boxes <= np.array([width, height, width, height]) + _EPS)
    demand(inside.all(), f"{name}: a box lies outside its image; expected XYXY in its pixels")
    demand((boxes[:, 2:] >= boxes[:, :2]).all(), f"{name}: a box ends before it begins")


def _check_alone(name: str, predictor: Predictor, images: list[Image], together: list[Prediction]) -> None:
    """What is said of an image does not depend on the others, but for rounding."""
    for image, expected in zip(images, together, strict=True):
        (alone,) = predictor([image])
        few = min(3, len(alone.scores), len(expected.scores))
        same = np.allclose(alone.scores[:few], expected.scores[:few], atol=1e-3)
        demand(
            same and (len(alone.scores) > 0) == (len(expected.scores) > 0),
            f"{name}: an image alone is judged otherwise than among others",
        )
