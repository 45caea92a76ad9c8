"""What it costs to be wrong: of classes with hard negatives or focal, of boxes by offsets or by overlap.

Few anchors are matched (some hundreds of many thousands), so targets are lists of matched anchors, not tables of all: a step then
spends its time in the network.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from augsuite_ssd.anchors import decode


class Targets(NamedTuple):
    """What the network should say: P matched anchors of a batch; all others are background, or do not count."""

    images: Tensor  # (P,) int64 rows of the batch
    anchors: Tensor  # (P,) int64 rows of the anchors
    labels: Tensor  # (P,) int64; category row + 1, for 0 is background
    offsets: Tensor  # (P, 4) float32
    weights: Tensor  # (P,) float32 in [0, 1], of the matched box
    ignored: Tensor  # (Q, 2) int64 rows of image and anchor: unmatched, and not background either

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        return Targets(*(part.to(device, non_blocking=True) for part in self))


def background(logits: Tensor, targets: Targets) -> Tensor:
    """`(B, A)` bool: anchors that are neither matched nor ignored."""
    free = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
    free[targets.images, targets.anchors] = False
    free[targets.ignored[:, 0], targets.ignored[:, 1]] = False
    return free


def class_loss(logits: Tensor, targets: Targets, negatives: float, smoothing: float = 0.0) -> Tensor:
    """Sum of the cross entropy over the matched anchors, each with its weight, and over the hardest of the background.

    Args:
        logits: `(B, A, 1 + C)`, background first.
        targets: of the batch.
        negatives: background anchors that count for each matched one; see `mine_negatives`.
        smoothing: share of each target that is spread over all classes, background among them.

    Returns:
        A scalar.
    """
    with torch.no_grad():  # only the chosen need a gradient
        odds = (
            (logits[:, :, 1:] - logits[:, :, :1]).exp_().sum(dim=2)
        )  # against background: they order anchors as its cost does
        matched = torch.bincount(targets.images, minlength=len(logits))
        images, anchors = mine_negatives(odds.masked_fill_(~background(logits, targets), -1.0), matched, negatives)
    found = F.cross_entropy(
        logits[targets.images, targets.anchors], targets.labels, reduction="none", label_smoothing=smoothing
    )
    missed = F.cross_entropy(
        logits[images, anchors], torch.zeros_like(images), reduction="sum", label_smoothing=smoothing
    )
    return (found * targets.weights).sum() + missed


def mine_negatives(cost: Tensor, matched: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Choose the background anchors that count: in each image the costliest, `ratio` times as many as are matched.

    An image without any matched anchor gives as many as one with a single one.

    Args:
        cost: `(B, A)`, or what grows with it; below 0 where an anchor is no background.
        matched: `(B,)` number of matched anchors.
        ratio: negatives per matched anchor.

    Returns:
        `(M,)` rows of images and `(M,)` rows of anchors.

    Source: Liu et al. 2016, SSD, section 2.2, hard negative mining.
    """
    wanted = (matched.clamp(min=1) * ratio).round().long()
    values, anchors = cost.topk(min(int(wanted.max()), cost.shape[1]), dim=1)
    ranks = torch.arange(values.shape[1], device=cost.device)
    images, places = torch.nonzero((ranks < wanted[:, None]) & ~(values < 0), as_tuple=True)
    return images, anchors[images, places]


def focal_loss(logits: Tensor, targets: Targets, gamma: float, alpha: float, smoothing: float = 0.0) -> Tensor:
    """Sum of the focal loss over all anchors but the ignored: `(1 - p) ** gamma` times the cross entropy.

    This is the softmax form, in which background is a class of its own; p is the probability of the true class. For a single
    category it equals the sigmoid form on the difference of the two logits.

    Args:
        logits: `(B, A, 1 + C)`, background first.
        targets: of the batch; a matched anchor counts with its weight.
        gamma: 0 leaves the cross entropy.
        alpha: weight of the matched anchors; the background has `1 - alpha`.
        smoothing: as for `class_loss`.

    Returns:
        A scalar.

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection, section 3, arXiv:1708.02002.
    """
    labels = torch.zeros(logits.shape[:2], dtype=torch.int64, device=logits.device)
    labels[targets.images, targets.anchors] = targets.labels
    weights = background(logits, targets) * (1 - alpha)
    weights[targets.images, targets.anchors] = targets.weights * alpha
    logs = logits.log_softmax(dim=2)
    own = logs.gather(2, labels[:, :, None]).squeeze(2)
    cost = -(1 - smoothing) * own - smoothing * logs.mean(dim=2)
    return (weights * (-own.expm1()).clamp(min=1e-9) ** gamma * cost).sum()


def offset_loss(offsets: Tensor, targets: Targets) -> Tensor:
    """Sum of smooth L1 of `(B, A, 4)` offsets over the matched anchors, each with its weight.

    Source: Liu et al. 2016, SSD, section 2.2; Girshick 2015, Fast R-CNN, equation 3.
    """
    loss = F.smooth_l1_loss(offsets[targets.images, targets.anchors], targets.offsets, reduction="none")
    return (loss.sum(dim=1) * targets.weights).sum()


def giou_loss(offsets: Tensor, targets: Targets, anchors: Tensor) -> Tensor:
    """Sum of one minus the generalised IoU of the boxes that `(B, A, 4)` offsets mean, over the matched anchors with their weight.

    Source: Rezatofighi et al. 2019, Generalized Intersection over Union, algorithm 1, arXiv:1902.09630.
    """
    own = anchors[targets.anchors]
    first, second = decode(offsets[targets.images, targets.anchors], own), decode(targets.offsets, own)
    shared = (torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])).clamp(min=0)
    hull = torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])
    overlap, whole = shared[:, 0] * shared[:, 1], hull[:, 0] * hull[:, 1]
    sides = first[:, 2:] - first[:, :2], second[:, 2:] - second[:, :2]
    union = sides[0][:, 0] * sides[0][:, 1] + sides[1][:, 0] * sides[1][:, 1] - overlap
    giou = overlap / union.clamp(min=1e-12) - (whole - union) / whole.clamp(min=1e-12)
    return ((1 - giou) * targets.weights).sum()
