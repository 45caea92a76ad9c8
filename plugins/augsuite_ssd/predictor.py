"""A trained detector, asked for the boxes of any images."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import nn

from augsuite.augment import Policy
from augsuite.augment.feed import collate, normalized
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite.errors import DataError
from augsuite.protocols import Prediction
from augsuite.training.machine import pick_device
from augsuite_ssd.detector import Detector
from augsuite_ssd.models import make_detector, side_of
from augsuite_ssd.settings import Config
from augsuite_ssd.trainer import images_at_once, look, to_original


class Predictor:
    """A trained detector; see `augsuite.protocols.Predictor`.

    Attributes:
        categories: names, in the order of the labels.
        task: `detection`.
    """

    task: Literal["detection"] = "detection"

    def __init__(
        self, detector: Detector, config: Config, categories: list[str], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """Take a detector that is on its device already."""
        self.categories = categories
        self._detector, self._config = detector.eval(), config
        self._mean, self._std = (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
        self._side = side_of(config, detector)
        self._resized = Policy(name="none", steps=()).resized(self._side, self._side)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> list[Prediction]:
        """Predict; the images are resized as those of an evaluation are."""
        device = next(self._detector.parameters()).device
        predictions: list[Prediction] = []
        at_once = images_at_once(self._side)
        for first in range(0, len(images), at_once):
            part = images[first : first + at_once]
            batch = collate([self._resized(Sample.of(image), key=(0, 0, 0)) for image in part], len(self.categories))
            pixels = torch.from_numpy(normalized(batch.images, self._mean, self._std)).to(device)
            found = look(self._detector, pixels, self._config)
            boxes = to_original(found, batch.matrices, self._side)
            rows = found.images.cpu().numpy()
            labels, scores = found.labels.cpu().numpy(), found.scores.double().cpu().numpy()
            for row, image in enumerate(part):
                height, width = image.shape[:2]
                own = rows == row
                within = np.clip(boxes[own], 0.0, np.array([width, height, width, height], np.float64))
                predictions.append(Prediction(within, labels[own], scores[own]))
        return predictions


def load_predictor(path: Path, device: str = "auto") -> Predictor:
    """Load a run's `model.pt`; see `augsuite.protocols.LoadPredictor`.

    Raises:
        DataError: if the file is damaged, or is not of this trainer.
        ConfigError: if there is no such device.
    """
    content = _read(path)
    try:
        config = msgspec.convert(content["config"], Config)
        # On a CPU of another machine the settings of its training may not hold.
        where = pick_device(msgspec.structs.replace(config, device=device, precision="fp32"), "ssd")
        categories = [str(name) for name in content["categories"]]
        detector = make_detector(config, len(categories), load=False)
        detector.load_state_dict(content["state"])
        mean, std = ([float(value) for value in content[name]] for name in ("mean", "std"))
    except (KeyError, TypeError, RuntimeError, msgspec.ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: is no model of the trainer ssd ({reason}). Train it again.") from error
    return Predictor(detector.to(where), config, categories, mean, std)


def build_network(config: Config, classes: int) -> tuple[nn.Module, tuple[int, int]]:
    """The untrained network and the height and width of its input; see `augsuite.protocols.BuildNetwork`."""
    detector = make_detector(config, classes, load=False)
    side = side_of(config, detector)
    return detector, (side, side)


def _read(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. Give the model.pt of a run.") from None
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: is damaged, or no file of PyTorch. Give the model.pt of a run.") from error
    if not isinstance(content, dict) or content.get("trainer") != "ssd":
        raise DataError(f"{path}: was not written by the trainer ssd. Give the model.pt of one of its runs.")
    return content
