"""A torchvision classifier with a new head, read from top to bottom: settings, network, training, evaluation.

The recipe of Dive into Deep Learning, section 14.2: every weight of a network trained elsewhere, a new last layer, and a higher
learning rate for that layer. The same file trains on a CPU and on a GPU.
"""

from __future__ import annotations

import csv
import math
import pickle
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import torch
import torchvision
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from augsuite.augment import Batch, Feed
from augsuite.dataset import Dataset
from augsuite.errors import ConfigError, nearest
from augsuite.evaluation import evaluate_labels
from augsuite.protocols import RunRecord

Count = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0)]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the trainer `finetune`.

    Attributes:
        model: any classifier of torchvision by name, such as `resnet18`.
        weights: where its weights come from: `default` downloads those that torchvision publishes, `none` starts from scratch,
            anything else is the path of a state dict; a head of another size in it is left out.
        size: side of the square input in pixels.
        epochs: passes over the training images.
        batch_size: images in a step.
        lr: learning rate of the network at its highest.
        head_lr: of the new head, as a multiple of `lr`.
        weight_decay: of the weights, not of biases and normalisation.
        optimizer: `sgd` (momentum 0.9) or `adam` (AdamW).
        schedule: of the learning rate after the warm-up: `constant`, or `cosine` down to 0.
        warmup_epochs: over which the learning rate rises from 0.
        freeze: train the head only.
        label_smoothing: share of each target that is spread over all classes.
        evaluate_every: epochs between evaluations; 0 evaluates at the end only.
        device: `auto` takes the GPU where there is one.
        precision: of the network's arithmetic; `fp16` needs a GPU.
        channels_last: memory layout; faster almost everywhere.
        threads: of PyTorch on the CPU; 0 leaves the number as it is.
        deterministic: on a GPU, the same seed gives the same weights, at some cost. On a CPU it always does.
    """

    model: str = "resnet18"
    weights: str = "default"
    size: Annotated[int, Meta(ge=16, le=1024)] = 96
    epochs: Count = 5
    batch_size: Count = 32
    lr: Rate = 1e-3
    head_lr: Rate = 10.0
    weight_decay: Annotated[float, Meta(ge=0)] = 5e-4
    optimizer: Literal["sgd", "adam"] = "sgd"
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[float, Meta(ge=0)] = 0.5
    freeze: bool = False
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    evaluate_every: Annotated[int, Meta(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    channels_last: bool = True
    threads: Annotated[int, Meta(ge=0)] = 0
    deterministic: bool = False


# The network

UNFIT = frozenset({"googlenet", "inception_v3"})
"""They return auxiliary outputs while training, for which there is no loss here."""


def build_model(config: Config, classes: int) -> tuple[nn.Module, nn.Module]:
    """The network and its new head; the caller seeds the global generator, which draws what is not loaded.

    Raises:
        ConfigError: for an unknown model, weights that cannot be had or do not fit, or a size that the model cannot take.
    """
    known = [name for name in torchvision.models.list_models(module=torchvision.models) if name not in UNFIT]
    if config.model not in known:
        raise ConfigError(f"finetune: unknown model {config.model!r}. {nearest(config.model, known)}")
    if config.weights == "default":
        model = download(config.model)
    else:
        model = torchvision.models.get_model(config.model, weights=None)
        if config.weights != "none":
            load_weights(model, Path(config.weights), find_head(model))
    head = replace_head(model, find_head(model), classes)
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, config.size, config.size))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"finetune: {config.model} cannot take images of {config.size} px ({reason}). Set size."
        ) from error
    return model, head


def find_head(model: nn.Module) -> str:
    """The dotted name of the layer that gives the class scores: the last linear or convolutional one."""
    layers: list[str] = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return layers[-1]


def replace_head(model: nn.Module, name: str, classes: int) -> nn.Module:
    """Put a fresh layer of the same kind with `classes` outputs in place of the head; its bias starts at 0."""
    old = model.get_submodule(name)
    if isinstance(old, nn.Linear):
        head: nn.Linear | nn.Conv2d = nn.Linear(old.in_features, classes)
    else:
        kernel = (int(old.kernel_size[0]), int(old.kernel_size[1]))  # type: ignore[index]
        head = nn.Conv2d(int(old.in_channels), classes, kernel)  # type: ignore[arg-type]
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)  # type: ignore[arg-type]  # both kinds are made with a bias
    model.set_submodule(name, head)
    return head


def download(name: str) -> nn.Module:
    """The model with the weights that torchvision publishes, from PyTorch's cache where they are there already."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # PyTorch sets none, and a network that drops packets would hang
    try:
        model: nn.Module = torchvision.models.get_model(name, weights="DEFAULT", progress=False)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"finetune: the published weights of {name} cannot be downloaded ({reason}). "
            "Set weights to the path of a state dict, or to none."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return model


def load_weights(model: nn.Module, path: Path, head: str) -> None:
    """Load a state dict into a model, leaving out a head of another size."""
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(
            f"finetune: weights: {path}: no such file. Write default, none or the path of a state dict."
        ) from None
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise ConfigError(
            f"finetune: weights: {path} is no state dict of tensors that PyTorch can load safely."
        ) from error
    state = (
        state.get("state", state) if isinstance(state, Mapping) else state
    )  # our own model.pt keeps it under "state"
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"finetune: weights: {path} holds no state dict. Save model.state_dict().")
    own = model.state_dict()
    missing = {name for name in own if name not in state and not name.startswith(f"{head}.")}
    unknown = set(state) - set(own)
    wrong = {name for name in set(own) & set(state) if own[name].shape != state[name].shape}
    for problem, names in (
        ("lacks", missing),
        ("has, and the model has not,", unknown),
        ("has in another shape", {name for name in wrong if not name.startswith(f"{head}.")}),
    ):
        if names:
            raise ConfigError(f"finetune: weights: {path} {problem} {min(names)!r}. Is it of another model?")
    model.load_state_dict({name: value for name, value in state.items() if name not in wrong}, strict=False)


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
    device = pick_device(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    with torch.random.fork_rng(devices=None if device.type == "cuda" else []):
        torch.manual_seed(seed)  # also of dropout, below
        model, head = build_model(config, len(train.data.categories))
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        model = model.to(device).to(memory_format=layout)
        optimizer = make_optimizer(model, head, config)
        steps = -(-len(train) // config.batch_size)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps, config))
        scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")

        seconds = cpu_seconds = 0.0
        images = 0
        metrics: dict[str, float] = {}
        scores = np.zeros((len(val), len(val.data.categories)), np.float32)
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=not config.deterministic, deterministic=config.deterministic
        ):
            for epoch in range(config.epochs):
                wall, cpu = time.perf_counter(), time.process_time()
                total = 0.0
                for batch in train.batches(epoch, config.batch_size, (config.size, config.size)):
                    # A frozen network keeps the statistics of its batch norm, too; a last batch of one image has none.
                    model.train(not config.freeze and len(batch) > 1)
                    head.train()
                    targets = torch.from_numpy(batch.targets).to(device, non_blocking=True)
                    with torch.autocast(device.type, PRECISIONS[config.precision], enabled=config.precision != "fp32"):
                        logits = model(normalize(batch, train, device))
                    loss = label_loss(logits.float(), targets, config.label_smoothing)
                    optimizer.zero_grad(set_to_none=True)
                    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # PyTorch's own gap
                    scaler.step(optimizer)
                    scaler.update()
                    scheduler.step()
                    total += loss.item() * len(batch)
                    images += len(batch)
                seconds += time.perf_counter() - wall
                cpu_seconds += time.process_time() - cpu
                values: dict[str, float] = {"loss": total / len(train), "lr": float(scheduler.get_last_lr()[0])}
                if not math.isfinite(values["loss"]):
                    raise ConfigError(
                        f"finetune: the loss is not a number after epoch {epoch + 1}. Lower lr (now {config.lr:g})."
                    )
                last = epoch + 1 == config.epochs
                if last or (config.evaluate_every and (epoch + 1) % config.evaluate_every == 0):
                    scores = classify(model, val, config)
                    metrics = evaluate_labels(val.data, scores)
                    values |= metrics
                log(epoch + 1, config.epochs, values)

    save(folder / "model.pt", model, config, train)
    write_predictions(folder / "predictions.csv", val.data, scores)
    parameters = sum(part.numel() for part in model.parameters() if part.requires_grad)
    return RunRecord(metrics=metrics, images=images, seconds=seconds, cpu_seconds=cpu_seconds, parameters=parameters)


PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(config: Config) -> torch.device:
    """The device that the settings ask for."""
    found = torch.cuda.is_available()
    if config.device == "cuda" and not found:
        raise ConfigError("finetune: device is cuda, and PyTorch finds no GPU. Set device to cpu or auto.")
    device = torch.device("cuda" if found and config.device != "cpu" else "cpu")
    if config.precision == "fp16" and device.type == "cpu":
        raise ConfigError("finetune: precision fp16 needs a GPU. Set precision to bf16 or fp32.")
    return device


def normalize(batch: Batch, feed: Feed, device: torch.device) -> Tensor:
    """`(B, 3, H, W)` float32 on the device, of uint8 images that travel there as they are."""
    images = torch.from_numpy(batch.images).to(device, non_blocking=True).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) * 255 for values in (feed.mean, feed.std))
    return images.sub_(mean).div_(std)


def label_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Cross entropy with `(B, C)` class targets, mean over the images that have any."""
    labelled = targets.sum(dim=1) > 0
    loss = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    return (loss * labelled).sum() / labelled.sum().clamp(min=1)


def make_optimizer(model: nn.Module, head: nn.Module, config: Config) -> torch.optim.Optimizer:
    """The optimizer: the head learns faster; biases and normalisation do not decay."""
    own = set(head.parameters())
    groups = []
    for part in model.parameters():
        if part not in own:
            part.requires_grad_(not config.freeze)
        if part.requires_grad:
            lr = config.lr * (config.head_lr if part in own else 1.0)
            groups.append({"params": [part], "lr": lr, "weight_decay": config.weight_decay if part.ndim > 1 else 0.0})
    return torch.optim.AdamW(groups) if config.optimizer == "adam" else torch.optim.SGD(groups, momentum=0.9)


def rate_at(step: int, steps: int, config: Config) -> float:
    """Share of the learning rate at a step, of `steps` in an epoch."""
    warmup = config.warmup_epochs * steps
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if config.schedule == "constant":
        return rise
    done = max(0.0, step - warmup) / max(1.0, config.epochs * steps - warmup)
    return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def save(path: Path, model: nn.Module, config: Config, feed: Feed) -> None:
    """Write weights and what is needed to use them; `torch.load(weights_only=True)` reads it."""
    partial = path.with_name(f".{path.name}.partial")
    content: dict[str, Any] = {
        "config": msgspec.to_builtins(config),
        "categories": feed.data.categories.names.tolist(),
        "mean": list(feed.mean),
        "std": list(feed.std),
        "state": model.state_dict(),
    }
    torch.save(content, partial)
    partial.replace(path)


# Evaluation


@torch.inference_mode()
def classify(model: nn.Module, feed: Feed, config: Config) -> NDArray[np.float32]:
    """`(I, C)` probabilities of all images of a feed, in float32 whatever the training's precision."""
    model.eval()
    device = next(model.parameters()).device
    batches = feed.batches(0, 64, (config.size, config.size), shuffle=False)
    parts = [model(normalize(batch, feed, device)).softmax(dim=1).cpu().numpy() for batch in batches]
    scores: NDArray[np.float32] = np.concatenate(parts)
    if not np.isfinite(scores).all():  # the last step can do it, after a finite loss
        raise ConfigError(f"finetune: the network's scores are not numbers. Lower lr (now {config.lr:g}).")
    return scores


def write_predictions(path: Path, data: Dataset, scores: NDArray[np.float32]) -> None:
    """Write the surest category of each image as CSV: `image,predicted,score`."""
    partial = path.with_name(f".{path.name}.partial")
    best = scores.argmax(axis=1)
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "predicted", "score"])
        for row, name in enumerate(data.images.names):
            writer.writerow([name, data.categories.names[best[row]], f"{scores[row, best[row]]:.6f}"])
    partial.replace(path)
