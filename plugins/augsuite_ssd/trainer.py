"""A single-shot detector, read from top to bottom: settings, network, targets, loss, training, detection.

TinySSD of Dive into Deep Learning, section 14.7, after Liu et al. 2016, SSD, arXiv:1512.02325. Small enough to train from
scratch in half a minute on one core; the same file trains on a GPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import torch
import torchvision
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from augsuite.augment import Batch, Feed
from augsuite.boxes import bounds, corner_points
from augsuite.errors import ConfigError
from augsuite.evaluation import Detections, evaluate_detections, write_results
from augsuite.protocols import RunRecord
from augsuite_ssd.anchors import anchor_shapes, decode, encode, make_anchors, match, mine_negatives, overlaps

Count = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Fraction = Annotated[float, Meta(gt=0, le=2)]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the trainer `ssd`.

    Attributes:
        size: side of the square input in pixels.
        epochs: passes over the training images.
        batch_size: images in a step.
        lr: learning rate at its highest.
        weight_decay: of the weights, not of biases and batch norm.
        optimizer: `sgd` (momentum 0.9) or `adam` (AdamW).
        schedule: of the learning rate after the warm-up: `constant`, or `cosine` down to 0.
        warmup_epochs: over which the learning rate rises from 0.
        sizes: of the anchors at each of the five scales, finest first, as fractions of the image.
        ratios: width over height of the anchors.
        shapes: width and height of anchors as fractions of the image, such as `augsuite anchors` suggests; each goes to the scale that
            has the nearest of `sizes`, and replaces what that scale would have had from `sizes` and `ratios`.
        width: channels of the four coarse scales; those before have an eighth, a quarter and a half.
        match_iou: overlap from which an anchor belongs to a box.
        negatives: background anchors in the loss for each matched one.
        box_weight: of the box loss beside the class loss.
        nms_iou: overlap from which the less sure of two boxes of one class is dropped.
        min_score: below it, a detection is not reported.
        evaluate_every: epochs between evaluations; 0 evaluates at the end only.
        device: `auto` takes the GPU where there is one.
        precision: of the network's arithmetic; `fp16` needs a GPU.
        channels_last: memory layout; faster almost everywhere.
        threads: of PyTorch on the CPU; 0 leaves the number as it is.
        deterministic: on a GPU, the same seed gives the same weights, at some cost. On a CPU it always does.
    """

    size: Annotated[int, Meta(ge=64, le=2048, multiple_of=32)] = 128
    epochs: Count = 40
    batch_size: Count = 8
    lr: Rate = 4e-3
    weight_decay: Annotated[float, Meta(ge=0)] = 5e-4
    optimizer: Literal["sgd", "adam"] = "adam"
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[float, Meta(ge=0)] = 1.0
    sizes: tuple[
        tuple[Fraction, ...], tuple[Fraction, ...], tuple[Fraction, ...], tuple[Fraction, ...], tuple[Fraction, ...]
    ] = (
        (0.07, 0.12, 0.18),
        (0.25, 0.35),
        (0.45, 0.55),
        (0.65, 0.75),
        (0.85, 0.95),
    )
    ratios: Annotated[tuple[Annotated[float, Meta(gt=0.05, lt=20)], ...], Meta(min_length=1)] = (1.0, 2.0, 0.5)
    shapes: tuple[tuple[Fraction, Fraction], ...] = ()
    width: Annotated[int, Meta(ge=8, le=1024, multiple_of=8)] = 128
    match_iou: Share = 0.5
    negatives: Annotated[float, Meta(ge=0)] = 3.0
    box_weight: Annotated[float, Meta(ge=0)] = 1.0
    nms_iou: Share = 0.45
    min_score: Share = 0.01
    evaluate_every: Annotated[int, Meta(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    channels_last: bool = True
    threads: Annotated[int, Meta(ge=0)] = 0
    deterministic: bool = False


# The network


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Half the size, then two convolutions."""
    return nn.Sequential(nn.MaxPool2d(2), convolution(inputs, outputs), convolution(outputs, outputs))


class GlobalMax(nn.Module):
    """The largest value of each channel; unlike adaptive pooling, its gradient is deterministic on a GPU."""

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C, 1, 1)`."""
        return images.amax(dim=(2, 3), keepdim=True)


class Detector(nn.Module):
    """Five feature maps, each a quarter of the one before, each with a class and a box head."""

    def __init__(self, config: Config, classes: int) -> None:
        """Draw the initial weights from the global generator; the caller seeds it."""
        super().__init__()
        self.classes = classes
        width = config.width
        stem = nn.Sequential(convolution(3, width // 8, stride=2), convolution(width // 8, width // 4))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(stem, block(width // 4, width // 2)),
                block(width // 2, width),
                block(width, width),
                block(width, width),
                GlobalMax(),
            ]
        )
        channels = [width // 2, width, width, width, width]
        counts = [len(shapes) for shapes in anchor_shapes(config.sizes, config.ratios, config.shapes)]
        self.class_heads = nn.ModuleList(
            nn.Conv2d(c, n * (classes + 1), 3, padding=1) for c, n in zip(channels, counts, strict=True)
        )
        self.box_heads = nn.ModuleList(nn.Conv2d(c, n * 4, 3, padding=1) for c, n in zip(channels, counts, strict=True))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, A, 1 + classes)` logits, background first, and `(B, A, 4)` offsets, float32, in the order of the anchors."""
        logits, offsets = [], []
        for stage, class_head, box_head in zip(self.stages, self.class_heads, self.box_heads, strict=True):
            images = stage(images)
            logits.append(class_head(images).permute(0, 2, 3, 1).reshape(len(images), -1, self.classes + 1))
            offsets.append(box_head(images).permute(0, 2, 3, 1).reshape(len(images), -1, 4))
        return torch.cat(logits, dim=1).float(), torch.cat(offsets, dim=1).float()


def anchors_of(config: Config) -> np.ndarray:
    """`(A, 4)` the anchors of the network's five feature maps, in the order of its outputs."""
    sides = [config.size // 4, config.size // 8, config.size // 16, config.size // 32, 1]
    shapes = anchor_shapes(config.sizes, config.ratios, config.shapes)
    return make_anchors([(side, side) for side in sides], shapes)


# Targets and loss


class Targets(NamedTuple):
    """What the network should say about each anchor."""

    labels: Tensor  # (B, A) int64; 0 is background, category row + 1 otherwise
    offsets: Tensor  # (B, A, 4) float32; zero for background
    weights: Tensor  # (B, A) float32; of the matched box, 1 for background


def make_targets(batch: Batch, anchors: np.ndarray, config: Config) -> Targets:
    """Match the boxes of a batch with the anchors."""
    labels = np.zeros((len(batch), len(anchors)), np.int64)
    offsets = np.zeros((len(batch), len(anchors), 4), np.float32)
    weights = np.ones((len(batch), len(anchors)), np.float32)
    for image in range(len(batch)):
        boxes = (batch.boxes[image] / config.size).astype(np.float32)
        assigned = match(overlaps(boxes, anchors), config.match_iou)
        matched = np.flatnonzero(assigned >= 0)
        rows = assigned[matched]
        labels[image, matched] = batch.labels[image][rows] + 1
        offsets[image, matched] = encode(boxes[rows], anchors[matched])
        weights[image, matched] = batch.weights[image][rows]
    return Targets(torch.from_numpy(labels), torch.from_numpy(offsets), torch.from_numpy(weights))


def detection_loss(logits: Tensor, offsets: Tensor, targets: Targets, config: Config) -> Tensor:
    """Cross entropy over the matched anchors and the hardest of the others, plus smooth L1 over the matched ones.

    Both are summed and divided by the number of matched anchors in the batch; a box counts with its weight.
    """
    positive = targets.labels > 0
    matched = positive.sum().clamp(min=1)
    class_loss = F.cross_entropy(logits.transpose(1, 2), targets.labels, reduction="none")
    counted = positive | mine_negatives(class_loss, positive, config.negatives)
    class_loss = (class_loss * targets.weights * counted).sum()
    box_loss = F.smooth_l1_loss(offsets, targets.offsets, reduction="none").sum(dim=2)
    box_loss = (box_loss * targets.weights * positive).sum()
    return (class_loss + config.box_weight * box_loss) / matched


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
    """Train one detector; see `augsuite.protocols.Train`.

    Raises:
        ConfigError: if the settings do not suit this machine, or the loss stops being a number.
    """
    device = pick_device(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Detector(config, len(train.data.categories))
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=layout)
    anchors = anchors_of(config)
    optimizer = make_optimizer(model, config)
    steps = -(-len(train) // config.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps, config))
    scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")

    seconds = cpu_seconds = 0.0
    images = 0
    metrics: dict[str, float] = {}
    detections: Detections | None = None
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=not config.deterministic, deterministic=config.deterministic
    ):
        for epoch in range(config.epochs):
            wall, cpu = time.perf_counter(), time.process_time()
            total = 0.0
            model.train()
            for batch in train.batches(epoch, config.batch_size, (config.size, config.size)):
                targets = Targets(
                    *(part.to(device, non_blocking=True) for part in make_targets(batch, anchors, config))
                )
                with torch.autocast(device.type, PRECISIONS[config.precision], enabled=config.precision != "fp32"):
                    logits, offsets = model(normalize(batch, train, device))
                loss = detection_loss(logits, offsets, targets, config)
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
                    f"ssd: the loss is not a number after epoch {epoch + 1}. Lower lr (now {config.lr:g})."
                )
            last = epoch + 1 == config.epochs
            if last or (config.evaluate_every and (epoch + 1) % config.evaluate_every == 0):
                detections = detect(model, val, config)
                metrics = evaluate_detections(val.data, detections)
                values |= metrics
            log(epoch + 1, config.epochs, values)

    save(folder / "model.pt", model, config, train)
    if detections is not None:
        write_results(folder / "predictions.json", val.data, detections)
    parameters = sum(part.numel() for part in model.parameters() if part.requires_grad)
    return RunRecord(metrics=metrics, images=images, seconds=seconds, cpu_seconds=cpu_seconds, parameters=parameters)


PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(config: Config) -> torch.device:
    """The device that the settings ask for."""
    found = torch.cuda.is_available()
    if config.device == "cuda" and not found:
        raise ConfigError("ssd: device is cuda, and PyTorch finds no GPU. Set device to cpu or auto.")
    device = torch.device("cuda" if found and config.device != "cpu" else "cpu")
    if config.precision == "fp16" and device.type == "cpu":
        raise ConfigError("ssd: precision fp16 needs a GPU. Set precision to bf16 or fp32.")
    return device


def normalize(batch: Batch, feed: Feed, device: torch.device) -> Tensor:
    """`(B, 3, H, W)` float32 on the device, of uint8 images that travel there as they are."""
    images = torch.from_numpy(batch.images).to(device, non_blocking=True).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) * 255 for values in (feed.mean, feed.std))
    return images.sub_(mean).div_(std)


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """The optimizer; biases and batch norm do not decay."""
    decay = [part for part in model.parameters() if part.ndim > 1]
    plain = [part for part in model.parameters() if part.ndim == 1]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if config.optimizer == "adam":
        return torch.optim.AdamW(groups, lr=config.lr)
    return torch.optim.SGD(groups, lr=config.lr, momentum=0.9)


def rate_at(step: int, steps: int, config: Config) -> float:
    """Share of the learning rate at a step, of `steps` in an epoch."""
    warmup = config.warmup_epochs * steps
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if config.schedule == "constant":
        return rise
    done = max(0.0, step - warmup) / max(1.0, config.epochs * steps - warmup)
    return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def save(path: Path, model: Detector, config: Config, feed: Feed) -> None:
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


# Detection

CANDIDATES = 400
"""Boxes of an image that enter non-maximum suppression."""
REPORTED = 100
"""Boxes of an image that leave it; COCO's evaluation counts no more."""


@torch.inference_mode()
def detect(model: Detector, feed: Feed, config: Config) -> Detections:
    """Find the boxes of all images of a feed, in float32 whatever the training's precision: equal scores would be tied."""
    model.eval()
    device = next(model.parameters()).device
    anchors = torch.from_numpy(anchors_of(config)).to(device)
    found = []
    for batch in feed.batches(0, 32, (config.size, config.size), shuffle=False):
        logits, offsets = model(normalize(batch, feed, device))
        if (
            not logits.isfinite().all()
        ):  # the last step can do it, after a finite loss; it would pass for finding nothing
            raise ConfigError(f"ssd: the network's scores are not numbers. Lower lr (now {config.lr:g}).")
        found.append(detect_batch(batch, logits, offsets, anchors, config))
    return Detections(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def detect_batch(
    batch: Batch, logits: Tensor, offsets: Tensor, anchors: Tensor, config: Config
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Image rows, category rows, XYXY boxes in pixels of the original images, and scores."""
    scores = logits.softmax(dim=2)[:, :, 1:]
    classes = scores.shape[2]
    best, chosen = scores.flatten(1).topk(min(CANDIDATES, scores[0].numel()), dim=1)
    image, place = torch.nonzero(best >= config.min_score, as_tuple=True)
    score, chosen = best[image, place], chosen[image, place]
    category, anchor = chosen % classes, chosen // classes
    boxes = decode(offsets[image, anchor], anchors[anchor]).clamp(0, 1) * config.size
    kept = torchvision.ops.batched_nms(boxes, score, image * classes + category, config.nms_iou)  # surest first
    kept = kept[image[kept].argsort(stable=True)]
    image = image[kept]
    rank = torch.arange(len(kept), device=kept.device) - torch.searchsorted(image, image)
    kept = kept[rank < REPORTED]
    where = image[rank < REPORTED].cpu().numpy()
    inverse = np.linalg.inv(batch.matrices)[where]
    corners = corner_points(boxes[kept].double().cpu().numpy())
    points = corners @ inverse[:, :2, :2].transpose(0, 2, 1) + inverse[:, None, :2, 2]
    return batch.image_rows[where], category[kept].cpu().numpy(), bounds(points), score[kept].double().cpu().numpy()
