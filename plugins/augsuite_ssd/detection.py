"""From what a network says of its anchors to the boxes that it found."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torchvision
from torch import Tensor

from augsuite_ssd.anchors import decode
from augsuite_ssd.settings import Config

CANDIDATES = 400
"""Boxes of one category in one image that enter non-maximum suppression."""
REPORTED = 100
"""Boxes of an image that leave it; COCO's evaluation counts no more."""


class Found(NamedTuple):
    """Boxes of a batch, image by image, the surest of each first."""

    images: Tensor  # (D,) int64 rows of the batch
    labels: Tensor  # (D,) int64 category rows
    boxes: Tensor  # (D, 4) float32 XYXY as fractions of the input
    scores: Tensor  # (D,) float32


def find(logits: Tensor, offsets: Tensor, anchors: Tensor, config: Config, *, mirrored: bool = False) -> Found:
    """Find the boxes of a batch.

    Args:
        logits: `(B, A, 1 + C)`, background first.
        offsets: `(B, A, 4)`.
        anchors: `(A, 4)` XYXY as fractions of the input.
        config: says how duplicates are suppressed.
        mirrored: the second half of the batch are the images of the first, mirrored; both together find the boxes.
    """
    scores, boxes = logits.softmax(dim=2)[:, :, 1:], decode(offsets, anchors).clamp(0, 1)
    if mirrored:
        images = len(scores) // 2
        turned = boxes[images:][:, :, [2, 1, 0, 3]]
        turned[:, :, [0, 2]] = 1 - turned[:, :, [0, 2]]
        scores, boxes = torch.cat([scores[:images], scores[images:]], dim=1), torch.cat([boxes[:images], turned], dim=1)
    images, count, classes = scores.shape
    best, chosen = (
        scores.transpose(1, 2).flatten(0, 1).topk(min(CANDIDATES, count), dim=1)
    )  # a row for image and category
    rows = torch.nonzero(best[:, 0] >= config.min_score).flatten()
    best, own = best[rows], boxes[(rows // classes)[:, None], chosen[rows]]
    if config.nms == "hard":
        group, place = torch.nonzero(best >= config.min_score, as_tuple=True)
        kept = torchvision.ops.batched_nms(own[group, place], best[group, place], rows[group], config.nms_iou)
        group, place = group[kept], place[kept]
    else:
        sigma = config.nms_sigma if config.nms == "gaussian" else 0.0
        best = soften(own, best, config.min_score, config.nms_iou, sigma)
        group, place = torch.nonzero(best >= config.min_score, as_tuple=True)
        order = best[group, place].argsort(descending=True, stable=True)
        group, place = group[order], place[order]
    image = rows[group] // classes
    order = image.argsort(stable=True)
    image, group, place = image[order], group[order], place[order]
    rank = torch.arange(len(image), device=image.device) - torch.searchsorted(image, image)
    few = rank < REPORTED
    group, place = group[few], place[few]
    return Found(image[few], rows[group] % classes, own[group, place], best[group, place])


def soften(boxes: Tensor, scores: Tensor, least: float, threshold: float, sigma: float = 0.0) -> Tensor:
    """Soft non-maximum suppression: a box loses score, not its place, for overlapping a surer one.

    The surest box of a group is taken, the others lose, the surest of what is left is taken, and so on.

    Args:
        boxes: `(G, K, 4)` XYXY; each group is one category of one image.
        scores: `(G, K)`.
        least: a box whose score falls below it is dropped.
        threshold: IoU from which a score is multiplied by `1 - IoU`; where `sigma` is 0.
        sigma: above 0, every score is multiplied by `exp(-IoU ** 2 / sigma)`.

    Returns:
        `(G, K)` the scores, -1 of what was dropped.

    Source: Bodla et al. 2017, Soft-NMS, section 3, arXiv:1704.04503.
    """
    scores = scores.clone()
    final = torch.full_like(scores, -1.0)
    low, high = boxes[:, :, :2], boxes[:, :, 2:]
    area = (high - low).prod(dim=2)
    group = torch.arange(len(boxes), device=boxes.device)
    for _ in range(boxes.shape[1]):
        value, pick = scores.max(dim=1)
        taken = value >= least
        if not taken.any():
            break
        final[group[taken], pick[taken]] = value[taken]
        scores[group, pick] = -1.0
        extent = torch.minimum(high, high[group, pick][:, None]) - torch.maximum(low, low[group, pick][:, None])
        shared = extent.clamp(min=0).prod(dim=2)
        iou = shared / (area + area[group, pick][:, None] - shared).clamp(min=1e-12)
        kept = torch.exp(-(iou**2) / sigma) if sigma else torch.where(iou >= threshold, 1 - iou, 1.0)
        scores = torch.where(scores < 0, scores, scores * kept)
    return final
