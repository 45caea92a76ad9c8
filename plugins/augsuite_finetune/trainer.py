"""A classifier with a new head, read from top to bottom: network, training, loss, evaluation.

Fine-tuning as Dive into Deep Learning teaches it, section 14.2: every weight of a network trained elsewhere, a new last layer, a higher
learning rate for that layer; and in phases, as Chollet does (Deep Learning with Python, section 8.3): the new head on the frozen
network first, then the last stages with it, more slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from augsuite.augment import Feed
from augsuite.dataset import Dataset
from augsuite.errors import ConfigError
from augsuite.evaluation import calibration, evaluate_labels, write_labels
from augsuite.protocols import RunRecord
from augsuite.training import Loop
from augsuite_finetune.networks import auxiliary, check_size, outputs_of, replace_head
from augsuite_finetune.phases import Layers, check_phases
from augsuite_finetune.reuse import copy_rows, find_rows
from augsuite_finetune.settings import Config
from augsuite_finetune.stages import find_stages
from augsuite_finetune.weights import load_source

# The network


class Built(NamedTuple):
    """A network that is ready to be trained."""

    layers: Layers
    reused: dict[str, str]
    """Category -> the source's row that it begins with, and its name there."""


def build_model(config: Config, categories: list[str]) -> Built:
    """The network with new heads; the caller seeds the global generator, which draws what is not loaded.

    Raises:
        ConfigError: for an unknown model, weights that cannot be had or do not fit, a size that the model cannot take, more unfrozen
            stages than it has, or categories that cannot be reused.
        MissingExtraError: if a package that is needed is not installed.
    """
    source = load_source(config.model, config.weights, config.size)
    model, heads = source.model, source.heads
    old = [model.get_submodule(path) for path in heads]
    outputs = len(old[0].get_parameter("weight"))
    if config.reuse != "none" and not source.trained:
        raise ConfigError(
            "finetune: reuse needs the head of a trained classifier, and weights has none. Set weights or reuse."
        )
    rows = find_rows(config.reuse, categories, source.categories, outputs)
    for path, layer in zip(heads, old, strict=True):
        copy_rows(
            replace_head(model, path, len(categories)),
            layer,
            {categories.index(name): row for name, row in rows.items()},
        )
    for size in {config.size, *config.input_sizes}:
        check_size(model, config.model, size)
    layers = Layers(
        model,
        find_stages(model, config.model, config.size),
        [path for path in heads if not path.startswith(auxiliary(config.model))] + list(auxiliary(config.model)),
        config.head_lr,
        config.stage_lr,
        config.freeze_norm,
    )
    check_phases(config.schedule_of_phases(), layers.stages, config.model)
    names = source.categories or []
    return Built(layers, {name: f"{row} {names[row]}" if names else str(row) for name, row in rows.items()})


def build_network(config: Config, classes: int) -> tuple[nn.Module, tuple[int, int]]:
    """The untrained network and the height and width of its input; see `augsuite.protocols.BuildNetwork`."""
    plain = msgspec.structs.replace(config, weights="none", reuse="none")
    return build_model(plain, [str(row) for row in range(classes)]).layers.model, (config.size, config.size)


# Training


def train(
    config: Config,
    train: Feed,
    val: Feed,
    *,
    seed: int,
    folder: Path,
    log: Callable[[int, int, Mapping[str, float]], None],
) -> RunRecord:
    """Train one classifier; see `augsuite.protocols.Train`.

    Raises:
        ConfigError: if the settings do not suit this machine, or the loss stops being a number.
    """
    with Loop(config, train, val, name="finetune", seed=seed, folder=folder, log=log, metric="top1") as loop:
        layers, reused = build_model(config, train.data.categories.names.tolist())
        if loop.main:
            write_reused(folder / "reused.json", reused)
        scores: NDArray[np.float32] | None = None
        metrics: dict[str, float] = {}
        for phase in config.schedule_of_phases():
            loop.prepare(layers.model, layers.thaw(phase, config.weight_decay), phase.epochs)
            for epoch in loop.epochs():
                layers.set_mode(phase)
                for batch in loop.batches(epoch, (config.size, config.size)):
                    if (loop.together if config.sync_batch_norm else len(batch)) == 1:
                        layers.rest_norms()  # no batch of an epoch is larger than one before it
                    targets = torch.from_numpy(batch.targets).to(loop.device, non_blocking=True)
                    with loop.autocast():
                        outputs = outputs_of(loop.model(loop.images(batch)))
                    labelled = max(1, loop.total(int((batch.targets.sum(axis=1) > 0).sum())))
                    loss = loss_of(outputs, targets, config) / labelled
                    loop.step(loss, batch, labelled)
                metrics = {}
                if loop.evaluates(epoch):
                    scores = classify(loop.trained, loop, config)
                    metrics = measure(val.data, scores)
                loop.tell(epoch, metrics)
        if loop.reverted:
            scores = classify(loop.trained, loop, config)
            metrics = measure(val.data, scores)
        if loop.main and scores is not None:  # a learning-rate range test has none
            write_labels(folder / "predictions.csv", val.data, scores)
        loop.save()
        return loop.record(metrics)


# The loss


def loss_of(outputs: tuple[Tensor, ...], targets: Tensor, config: Config) -> Tensor:
    """Cross entropy with class targets, summed over the images that have any.

    Args:
        outputs: `(B, C)` logits of the network, then those of its auxiliary classifiers.
        targets: `(B, C)` float32; soft where images were mixed, a row of zeros where an image has no label.
        config: says how much is smoothed, and what auxiliary losses weigh.

    Returns:
        A scalar, float32.

    Sources: label smoothing: Szegedy et al. 2016, section 7, arXiv:1512.00567; auxiliary classifiers and their weight: Szegedy et al.
    2015, section 5, arXiv:1409.4842.
    """
    labelled = targets.sum(dim=1) > 0
    losses = [
        (
            F.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=config.label_smoothing)
            * labelled
        ).sum()
        for logits in outputs
    ]
    return losses[0] + config.aux_weight * sum(losses[1:], start=losses[0].new_zeros(()))


# Evaluation


@torch.inference_mode()
def classify(model: nn.Module, loop: Loop, config: Config) -> NDArray[np.float32]:
    """`(I, C)` probabilities of all validation images, in float32 whatever the training's precision: scores must not be tied."""
    model.eval()
    parts = [
        probabilities(model, loop.images(batch), config.flip_test).cpu().numpy()
        for batch in loop.validation(64, (config.size, config.size))
    ]
    scores: NDArray[np.float32] = np.concatenate(loop.gather(parts))
    if not np.isfinite(scores).all():  # the last step can do it, after a finite loss
        raise ConfigError(f"finetune: the network's scores are not numbers. Lower lr (now {config.lr:g}).")
    return scores


def measure(data: Dataset, scores: NDArray[np.float32]) -> dict[str, float]:
    """Accuracy, as `evaluate_labels` names it, and `ece`, the expected calibration error (less is better); in percent."""
    metrics = evaluate_labels(data, scores)
    found = calibration(data, scores)
    return metrics if found is None else {**metrics, "ece": found.error}


def probabilities(model: nn.Module, images: Tensor, flip_test: bool) -> Tensor:
    """`(B, C)` class probabilities; with `flip_test` the mean of those of an image and of its mirror image."""
    result: Tensor = model(images).softmax(dim=1)
    return (result + model(images.flip(3)).softmax(dim=1)) / 2 if flip_test else result


def write_reused(path: Path, reused: Mapping[str, str]) -> None:
    """Write which rows of the head began as rows of the source's; no file where none did."""
    if not reused:
        path.unlink(missing_ok=True)
        return
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(reused), indent=2) + b"\n")
    partial.replace(path)
