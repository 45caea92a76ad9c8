"""A trained classifier, asked about images."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from torch import nn

from augsuite.augment import Policy
from augsuite.augment.loading import normalized_on
from augsuite.dataset import Sample
from augsuite.dataset.images import Image
from augsuite.errors import ConfigError, DataError
from augsuite.protocols import Prediction
from augsuite_finetune.networks import find_heads, make_network, replace_head
from augsuite_finetune.settings import Config
from augsuite_finetune.trainer import probabilities

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Classifier:
    """What a run left, ready to be asked; see `augsuite.protocols.Predictor`.

    Attributes:
        model: on its device, evaluating.
        config: of the run.
        categories: names, in the order of the outputs.
        mean: of each channel.
        std: of each channel.
        device: where it runs.
        task: what it does.
    """

    model: nn.Module
    config: Config
    categories: list[str]
    mean: Triple
    std: Triple
    device: torch.device
    task: Literal["classification"] = "classification"

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> list[Prediction]:
        """Predict on images, resized as validation images are.

        Args:
            images: each `(H, W, 3)` uint8 RGB, of any size.

        Returns:
            For each all categories, surest first, without boxes.
        """
        if not images:
            return []
        side = self.config.size
        resize = Policy(name="none", steps=()).resized(side, side)
        nothing = np.zeros((0, 4)), np.zeros(0, np.int64)
        batch = np.stack([resize(Sample.of(image, *nothing), key=(0, 0, 0)).image for image in images])
        tensor = normalized_on(self.device, batch, self.mean, self.std)
        scores = probabilities(self.model, tensor, self.config.flip_test).double().cpu().numpy()
        order = np.argsort(-scores, axis=1, kind="stable")
        return [
            Prediction(boxes=np.zeros((0, 4)), labels=labels.astype(np.int64), scores=row[labels])
            for labels, row in zip(order, scores, strict=True)
        ]


def load_predictor(path: Path, device: str = "auto") -> Classifier:
    """Load what a run left; see `augsuite.protocols.LoadPredictor`.

    Raises:
        DataError: if the file is damaged, or is not of this trainer.
        ConfigError: if there is no such device.
    """
    if device not in {"auto", "cpu", "cuda"}:
        raise ConfigError(f"unknown device {device!r}. Write auto, cpu or cuda.")
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ConfigError("device is cuda, and PyTorch finds no GPU. Write cpu or auto.")
    where = torch.device("cuda" if found and device != "cpu" else "cpu")
    content = read_content(path)
    try:
        config = msgspec.convert(content["config"], Config)
        categories = msgspec.convert(content["categories"], list[str])
        mean, std = (msgspec.convert(content[name], Triple) for name in ("mean", "std"))
        with torch.random.fork_rng(devices=[]):  # fresh weights are drawn, and then replaced
            model = make_network(config.model, config.size, trained=config.weights != "none")
        for head in find_heads(model, config.model):
            replace_head(model, head, len(categories))
        model.load_state_dict(content["state"])
    except (KeyError, TypeError, RuntimeError, msgspec.ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not what the trainer finetune leaves: {reason}. Train again.") from error
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    return Classifier(model.to(where).to(memory_format=layout).eval(), config, categories, mean, std, where)


def read_content(path: Path) -> Mapping[str, Any]:
    """What `model.pt` holds, without executing anything."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: damaged, or nothing that PyTorch can load safely. Train again.") from error
    if not isinstance(content, Mapping) or content.get("trainer") != "finetune":
        raise DataError(f"{path}: not of the trainer finetune. Name the model.pt of one of its runs.")
    return content
