"""The network: a backbone that gives feature maps, and heads that look at each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from augsuite_ssd.anchors import Array, make_anchors
from augsuite_ssd.settings import Shape

Grids = list[tuple[int, int]]
"""Height and width of each feature map."""

Place = Callable[[Grids, tuple[int, int]], Array]
"""Gives the anchors of feature maps of an input of some height and width."""


class Facts(NamedTuple):
    """What belongs to a network beside its weights."""

    side: int  # of the square input that it was made for, in pixels
    place: Place
    mean: tuple[float, float, float] | None = None  # what its published weights expect; None leaves it to the data
    std: tuple[float, float, float] | None = None


class Detector(nn.Module):
    """A single-shot detector.

    The names of its parts are those of torchvision's `SSD`, and so are the names in its state dict.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, facts: Facts) -> None:
        """Join.

        Args:
            backbone: from `(B, 3, H, W)` to the feature maps, as a mapping or in a row, finest first.
            head: from the list of these to `cls_logits` and `bbox_regression`.
            facts: of the network.
        """
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.facts = facts
        self._anchors: dict[tuple[int, int], Array] = {}

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, A, 1 + C)` logits, background first, and `(B, A, 4)` offsets, float32, in the order of the anchors."""
        found = self.head(feature_maps(self.backbone, images))
        return found["cls_logits"].float(), found["bbox_regression"].float()

    def anchors(self, height: int, width: int) -> Array:
        """`(A, 4)` float32 XYXY, as fractions of an image of that size.

        The first call for a size sends a shape through the backbone, to see those of its feature maps.
        """
        if (height, width) not in self._anchors:
            grids = [(each.shape[2], each.shape[3]) for each in dry_run(self.backbone, height, width)]
            self._anchors[height, width] = self.facts.place(grids, (height, width))
        return self._anchors[height, width]


def feature_maps(backbone: nn.Module, images: Tensor) -> list[Tensor]:
    """The feature maps of a backbone, whether it gives them by name or in a row."""
    maps = backbone(images)
    return list(maps.values() if isinstance(maps, Mapping) else maps)


def dry_run(backbone: nn.Module, height: int, width: int) -> list[Tensor]:
    """The feature maps of one image, as tensors with a shape and no values; the backbone stays as it is."""
    training = backbone.training
    shells = {
        name: torch.empty_like(part, device="meta")
        for name, part in [*backbone.named_parameters(), *backbone.named_buffers()]
    }
    with torch.inference_mode(), torch.device("meta"):
        maps = functional_call(backbone.eval(), shells, (torch.empty(1, 3, height, width),))
    backbone.train(training)
    return list(maps.values() if isinstance(maps, Mapping) else maps)


def place_by_shapes(shapes: Sequence[Sequence[Shape]]) -> Place:
    """Anchors of given shapes at the centre of each position."""

    def place(grids: Grids, size: tuple[int, int]) -> Array:
        del size
        return make_anchors(grids, shapes)

    return place


class Heads(nn.Module):
    """A 3x3 convolution for the classes and one for the boxes at each feature map."""

    def __init__(self, channels: Sequence[int], counts: Sequence[int], classes: int) -> None:
        """Draw the initial weights from the global generator.

        Args:
            channels: of each feature map.
            counts: anchors at each position of each feature map.
            classes: with the background.
        """
        super().__init__()
        self.classes = classes
        self.class_heads = nn.ModuleList(
            nn.Conv2d(c, n * classes, 3, padding=1) for c, n in zip(channels, counts, strict=True)
        )
        self.box_heads = nn.ModuleList(nn.Conv2d(c, n * 4, 3, padding=1) for c, n in zip(channels, counts, strict=True))

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """`(B, A, classes)` as `cls_logits` and `(B, A, 4)` as `bbox_regression`."""
        logits, offsets = [], []
        for each, class_head, box_head in zip(maps, self.class_heads, self.box_heads, strict=True):
            logits.append(class_head(each).permute(0, 2, 3, 1).reshape(len(each), -1, self.classes))
            offsets.append(box_head(each).permute(0, 2, 3, 1).reshape(len(each), -1, 4))
        return {"cls_logits": torch.cat(logits, dim=1), "bbox_regression": torch.cat(offsets, dim=1)}


def expect_background(detector: Detector, classes: int, rare: float = 0.01) -> None:
    """Let the first guess of every anchor be background, with a probability of `1 - rare`.

    Focal loss counts all anchors; without this the many of the background would make the first steps large.

    Args:
        detector: its class heads are changed.
        classes: with the background.
        rare: probability that is left to the others.

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection, section 4.1, arXiv:1708.02002.
    """
    odds = np.log((classes - 1) * (1 - rare) / rare)
    where = "class_heads" if isinstance(detector.head, Heads) else "classification_head.module_list"
    for head in detector.head.get_submodule(where).children():
        bias = [layer.bias for layer in head.modules() if isinstance(layer, nn.Conv2d) and layer.bias is not None][-1]
        with torch.no_grad():
            bias.zero_()
            bias.view(-1, classes)[:, 0] = odds
