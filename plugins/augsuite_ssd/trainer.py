"""A single-shot detector, read from top to bottom: anchors, network, targets, loss, training, evaluation.

After Liu et al. 2016, SSD, arXiv:1512.02325, and Zhang et al., Dive into Deep Learning, section 14.7. The settings are in `settings.py`,
the networks in `models.py`; the smallest trains from scratch in half a minute on one core, and the same file trains on many GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from augsuite.augment import Batch, Feed
from augsuite.boxes import Boxes, bounds, corner_points
from augsuite.dataset import Dataset
from augsuite.dataset.anchors import box_shapes, suggest
from augsuite.errors import ConfigError, DataError
from augsuite.evaluation import Detections, evaluate_detections, write_results
from augsuite.protocols import RunRecord
from augsuite.training import Loop
from augsuite_ssd.detection import Found, find
from augsuite_ssd.detector import Detector
from augsuite_ssd.losses import Targets, class_loss, focal_loss, giou_loss, offset_loss
from augsuite_ssd.matching import Truth, make_targets
from augsuite_ssd.models import SMALL, make_detector, side_of
from augsuite_ssd.settings import Config

__all__ = ["Config", "train"]


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
        ConfigError: if the settings do not suit this machine or each other, or the loss stops being a number.
        DataError: if there are too few boxes to suggest anchors.
    """
    config = with_anchors(config, train.data)
    with Loop(config, train, val, name="ssd", seed=seed, folder=folder, log=log, metric="AP") as loop:
        detector = make_detector(config, len(train.data.categories))
        side = side_of(config, detector)
        if train.policy.normalize is None and detector.facts.mean and detector.facts.std:
            train.mean, train.std = val.mean, val.std = detector.facts.mean, detector.facts.std
        loop.prepare(detector, parameter_groups(detector, config))
        ignored = IgnoredBoxes(train.data)
        metrics: dict[str, float] = {}
        detections: Detections | None = None
        for epoch in loop.epochs():
            for batch in loop.batches(epoch, (side, side)):
                loop.model.train(takes_statistics(batch, loop, config))
                height, width = batch.images.shape[1:3]
                anchors = detector.anchors(height, width)
                targets = make_targets(list(ignored.beside(batch)), (width, height), anchors, config.match_iou)
                targets = targets.to(loop.device)
                with loop.autocast():
                    logits, offsets = loop.model(loop.images(batch))
                matched = max(1, loop.total(len(targets.labels)))  # of all processes
                loss = detection_loss(logits, offsets, targets, anchors, config) / matched
                loop.step(loss, batch, weight=matched)
            if loop.evaluates(epoch):
                detections = detect(loop, side, config)
                metrics = evaluate_detections(val.data, detections) if loop.main else {}
            loop.tell(epoch, metrics)
        if loop.reverted:
            detections = detect(loop, side, config)
            metrics = evaluate_detections(val.data, detections) if loop.main else {}
        if loop.main and detections is not None:  # a learning-rate range test has none
            write_results(folder / "predictions.json", val.data, detections)
        loop.save()
        return loop.record(metrics)


# Before training

SUGGESTED = 9
"""Anchors of `shapes: auto`; on most datasets more add little overlap."""


def with_anchors(config: Config, data: Dataset) -> Config:
    """The settings with the shapes that suit the boxes of a dataset, where they are left to it.

    Raises:
        DataError: if its boxes have fewer shapes than there are to be anchors.
    """
    if config.shapes != "auto":
        return config
    found = suggest(box_shapes(data), [SUGGESTED])
    if not found:
        raise DataError(f"ssd: shapes auto needs boxes of {SUGGESTED} different shapes to train on. Name the shapes.")
    return msgspec.structs.replace(config, shapes=tuple(found[0].shapes))


def takes_statistics(batch: Batch, loop: Loop, config: Config) -> bool:
    """Whether batch norm may learn from a batch: a map of one position has no statistics of one image. TinySSD normalises no such map."""
    together = config.sync_batch_norm and loop.world > 1  # then all processes must do the same
    return len(batch) > 1 or together or config.model in SMALL


def parameter_groups(model: nn.Module, config: Config) -> list[dict[str, object]]:
    """All parameters; biases and batch norm do not decay."""
    decay = [part for part in model.parameters() if part.ndim > 1]
    plain = [part for part in model.parameters() if part.ndim <= 1]
    return [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]


# Targets and loss


class IgnoredBoxes:
    """The boxes of a dataset that are neither object nor background, and so move through no policy."""

    def __init__(self, data: Dataset) -> None:
        """Sort them by image."""
        table = data.annotations
        rows = np.flatnonzero(table.ignore & table.is_box)
        self._boxes = data.boxes()[rows] if len(rows) else np.zeros((0, 4))
        self._of: dict[int, list[int]] = {}
        for at, image in enumerate(table.image_rows[rows].tolist()):
            self._of.setdefault(image, []).append(at)

    def beside(self, batch: Batch) -> Iterator[Truth]:
        """The truth of each image, with its ignored boxes where the policy moved them.

        They follow the matrix of the image itself: those of images that were mixed into it are not known.
        """
        parts = zip(batch.boxes, batch.labels, batch.weights, batch.image_rows, batch.matrices, strict=True)
        for boxes, labels, weights, row, matrix in parts:
            rows = self._of.get(int(row), [])
            yield Truth(boxes, labels, weights, moved(self._boxes[rows], matrix) if rows else np.zeros((0, 4)))


def moved(boxes: Boxes, matrix: np.ndarray) -> Boxes:
    """`(N, 4)` XYXY boxes around what a `(3, 3)` matrix, or `(N, 3, 3)`, makes of `(N, 4)` others."""
    corners = corner_points(boxes)
    points = np.concatenate([corners, np.ones((len(corners), 4, 1))], axis=2) @ np.swapaxes(matrix, -1, -2)
    return bounds(points[:, :, :2] / points[:, :, 2:])


def detection_loss(logits: Tensor, offsets: Tensor, targets: Targets, anchors: np.ndarray, config: Config) -> Tensor:
    """Loss of classes and of boxes, summed over the anchors that count; `losses.py` says how."""
    if config.class_loss == "focal":
        classes = focal_loss(logits, targets, config.focal_gamma, config.focal_alpha, config.label_smoothing)
    else:
        classes = class_loss(logits, targets, config.negatives, config.label_smoothing)
    if config.box_loss == "giou":
        boxes = giou_loss(offsets, targets, torch.from_numpy(anchors).to(offsets.device))
    else:
        boxes = offset_loss(offsets, targets)
    return classes + config.box_weight * boxes


# Evaluation


@torch.inference_mode()
def detect(loop: Loop, side: int, config: Config) -> Detections:
    """Find the boxes of all validation images, in float32 whatever the training's precision: equal scores would be tied.

    Raises:
        ConfigError: if the network's scores are not numbers.
    """
    model = cast("Detector", loop.trained).eval()
    parts = []
    for batch in loop.validation(images_at_once(side), (side, side)):
        found = look(model, loop.images(batch), config)
        rows = found.images.cpu().numpy()
        boxes = to_original(found, batch.matrices, side)
        scores = found.scores.double().cpu().numpy()
        parts.append((batch.image_rows[rows], found.labels.cpu().numpy(), boxes, scores))
    return Detections(*(np.concatenate(each) for each in zip(*loop.gather(parts), strict=True)))


def images_at_once(side: int) -> int:
    """Images in a batch without gradients."""
    return max(1, min(32, 32 * 256**2 // side**2))


def look(model: Detector, images: Tensor, config: Config) -> Found:
    """Find the boxes of a batch of normalised images.

    Raises:
        ConfigError: if the network's scores are not numbers: the last step can do it, after a finite loss.
    """
    inputs = torch.cat([images, images.flip(3)]) if config.flip_test else images
    logits, offsets = model(inputs)
    if not logits.isfinite().all():  # it would pass for finding nothing
        raise ConfigError(f"ssd: the network's scores are not numbers. Lower lr (now {config.lr:g}).")
    anchors = torch.from_numpy(model.anchors(*images.shape[2:])).to(images.device)
    return find(logits, offsets, anchors, config, mirrored=config.flip_test)


def to_original(found: Found, matrices: np.ndarray, side: int) -> Boxes:
    """`(D, 4)` XYXY boxes in pixels of the original images, where `(B, 3, 3)` matrices lead from those to the batch."""
    inverse = np.linalg.inv(matrices)[found.images.cpu().numpy()]
    return moved(found.boxes.double().cpu().numpy() * side, inverse)
