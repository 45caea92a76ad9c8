"""The training loops of others that `bench/train.py` measures: from the bytes of a JPEG file to a step of the optimizer.

`reference` does what torchvision's references/detection do (train.py, engine.py, presets.py) with a detector of torchvision; `course` what
Dive into Deep Learning does in section 14.7 with a TinySSD, fed by the same preset. Nothing is tuned against them, and nothing that they
do not do is done for them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler
from torchvision import tv_tensors
from torchvision.ops import box_convert, box_iou
from torchvision.transforms import v2

LAST = 20
"""Losses over which the reference's log is smoothed."""

Case = tuple[Path, np.ndarray, np.ndarray]
"""Image file, `(N, 4)` XYXY boxes inside it in pixels, `(N,)` labels from 1."""


class Images(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Images with boxes, through a preset."""

    def __init__(self, cases: Sequence[Case], preset: v2.Compose) -> None:
        """Remember; files are read when asked for."""
        self.cases, self.preset = cases, preset

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, row: int) -> tuple[Tensor, dict[str, Tensor]]:
        path, boxes, labels = self.cases[row]
        image = PIL.Image.open(path).convert("RGB")
        target = {
            "boxes": tv_tensors.BoundingBoxes(
                torch.as_tensor(boxes, dtype=torch.float32), format="XYXY", canvas_size=(image.height, image.width)
            ),
            "labels": torch.as_tensor(labels),
        }
        found: tuple[Tensor, dict[str, Tensor]] = self.preset(image, target)
        return found


def preset(name: str, size: int = 0) -> v2.Compose:
    """`DetectionPresetTrain` of references/detection/presets.py, on Pillow images with the transforms of v2.

    Args:
        name: `ssd` or `ssdlite`.
        size: what the images are resized to; 0 leaves it to the model, as torchvision's do.
    """
    color = [v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=[123.0, 117.0, 104.0])] if name == "ssd" else []
    resize = [v2.Resize((size, size))] if size else []
    geometry = [v2.RandomIoUCrop(), v2.RandomHorizontalFlip(), *resize]
    floats = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    return v2.Compose([*color, *geometry, *floats, v2.SanitizeBoundingBoxes(), v2.ToPureTensor()])


def loader(cases: Sequence[Case], chain: v2.Compose, batch: int, workers: int) -> DataLoader[Any]:
    """The reference's, but that its workers live on from one epoch to the next, as ours do."""
    images = Images(cases, chain)
    return DataLoader(
        images,
        batch_sampler=BatchSampler(RandomSampler(images), batch, drop_last=True),
        num_workers=workers,
        collate_fn=together,
        persistent_workers=workers > 0,
        multiprocessing_context="forkserver" if workers else None,
    )


def together(samples: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Any, ...]:
    """Images and targets, each as a tuple."""
    return tuple(zip(*samples, strict=True))


Losses = Callable[[list[Tensor], list[dict[str, Tensor]]], dict[str, Tensor]]


def train_one_epoch(
    losses_of: Losses,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Any],
    device: torch.device,
    precision: torch.dtype,
    steps: int,
) -> None:
    """The first epoch of the reference's engine.py, warm-up and log included.

    Args:
        losses_of: the model, in training.
        optimizer: of its parameters.
        batches: images and targets.
        device: where to compute.
        precision: of autocast; float32 for none.
        steps: batches.
    """
    meters: dict[str, deque[float]] = {}
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 1000, total_iters=max(1, min(1000, steps - 1)))
    for images, targets in batches:
        given = [image.to(device) for image in images]
        wanted = [{name: value.to(device) for name, value in target.items()} for target in targets]
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            losses = losses_of(given, wanted)
            loss = torch.stack(list(losses.values())).sum()
        value = loss.item()
        if not math.isfinite(value):
            raise SystemExit(f"the loss of the peer is {value}")
        optimizer.zero_grad()
        backward(loss)
        optimize(optimizer)
        warmup.step()
        for name, one in {"loss": loss, **losses}.items():
            meters.setdefault(name, deque(maxlen=LAST)).append(one.item())


def backward(loss: Tensor) -> None:
    """A function, so that it can be timed."""
    loss.backward()


def optimize(optimizer: torch.optim.Optimizer) -> None:
    """Another one."""
    optimizer.step()


# The course


class Course:
    """A network with the matching and the loss of the course: whole tables of all anchors, image by image."""

    def __init__(self, network: nn.Module, anchors: Tensor) -> None:
        """Keep.

        Args:
            network: gives logits and offsets of all anchors.
            anchors: `(A, 4)` XYXY as fractions of the image.
        """
        self.network, self.anchors = network, anchors

    def __call__(self, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Both losses."""
        batch = torch.stack(images)
        logits, offsets = self.network(batch)
        with torch.no_grad():
            wanted = all_targets(self.anchors, targets, batch.shape[-1])
        return course_losses(logits, offsets, *wanted)


def all_targets(anchors: Tensor, targets: Sequence[dict[str, Tensor]], side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets `(B, A, 4)`, their mask, and labels `(B, A)`, one image after the other."""
    tables = [image_targets(anchors, target["boxes"] / side, target["labels"]) for target in targets]
    offsets, masks, labels = (torch.stack(parts) for parts in zip(*tables, strict=True))
    return offsets, masks, labels


def image_targets(anchors: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What section 14.4 wants of each anchor of one image."""
    assigned = assign(anchors, boxes)
    matched = torch.nonzero(assigned >= 0).flatten()
    mask = (assigned >= 0).float()[:, None].repeat(1, 4)
    classes = torch.zeros(len(anchors), dtype=torch.long, device=anchors.device)
    own = torch.zeros_like(anchors)
    classes[matched] = labels[assigned[matched]]
    own[matched] = boxes[assigned[matched]]
    middle, truth = box_convert(anchors, "xyxy", "cxcywh"), box_convert(own, "xyxy", "cxcywh")
    shift = 10 * (truth[:, :2] - middle[:, :2]) / middle[:, 2:]
    growth = 5 * torch.log(1e-6 + truth[:, 2:] / middle[:, 2:])
    return torch.cat([shift, growth], dim=1) * mask, mask, classes


def assign(anchors: Tensor, boxes: Tensor, threshold: float = 0.5) -> Tensor:
    """`(A,)` row of the box of each anchor, or -1: first by threshold, then the largest entry of the matrix again and again."""
    overlaps = box_iou(anchors, boxes)
    assigned = torch.full((len(anchors),), -1, dtype=torch.long, device=anchors.device)
    if not len(boxes):
        return assigned
    best, which = overlaps.max(dim=1)
    near = best >= threshold
    assigned[near] = which[near]
    for _ in range(len(boxes)):
        place = int(overlaps.argmax())
        anchor, box = divmod(place, len(boxes))
        assigned[anchor] = box
        overlaps[:, box] = -1
        overlaps[anchor] = -1
    return assigned


def course_losses(logits: Tensor, offsets: Tensor, wanted: Tensor, mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Cross entropy of all anchors, L1 of the matched ones."""
    classes = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    boxes = F.l1_loss(offsets * mask, wanted * mask)
    return {"classes": classes.mean(), "boxes": boxes}
