"""The settings of the trainer `ssd`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from augsuite.errors import ConfigError
from augsuite.training.settings import Count, Rate, RateOrNone, Settings

# Not from the modules that use it: they import torch, and whoever only checks settings needs none.
Shape = tuple[float, float]
"""Width and height of an anchor, as fractions of the image."""

Fraction = Annotated[float, Meta(gt=0, le=2)]
Ratio = Annotated[float, Meta(gt=0.05, lt=20)]
Share = Annotated[float, Meta(ge=0, le=1)]
Weight = Annotated[float, Meta(ge=0)]
Scale = Annotated[tuple[Fraction, ...], Meta(min_length=1)]


class Config(Settings, frozen=True, kw_only=True):
    """Settings of the trainer `ssd`, beside those of `augsuite.training.Settings`.

    Attributes:
        model: `tinyssd_fine` (finest map of stride 4), `tinyssd` (as the book draws it), `ssd300_vgg16`, `ssd512_vgg16`,
            `ssdlite320_mobilenet_v3_large`, or any classifier of torchvision, on whose maps a detector is put.
        weights: of the whole detector: `none`, `default` (what torchvision publishes for COCO) or the path of a state dict. Heads of
            another number of categories or anchors start anew.
        backbone_weights: of the classifier underneath: `none`, `default` (what torchvision publishes for ImageNet) or a path.
        size: side of the square input in pixels; 0 takes the one that the model was made for: 128, 256, 300, 512 and 320 in the order
            above, 320 for a classifier.
        strides: at which feature maps are taken from a classifier; layers that halve further follow.
        sizes: of the anchors at each scale, finest first, as fractions of the image; none takes those of the model.
        ratios: width over height of the anchors; none takes those of the model. n sizes and m ratios give n + m - 1 anchors.
        shapes: width and height of anchors as fractions of the image, such as `augsuite anchors` suggests; each goes to the scale that
            has the nearest of `sizes`, and replaces what that scale would have had from `sizes` and `ratios`. `auto`: as
            `augsuite anchors -k 9` suggests for the training images.
        width: of `tinyssd_fine`: channels of its four coarse scales; those before have an eighth, a quarter and a half.
        match_iou: overlap from which an anchor belongs to a box.
        class_loss: `negatives` (cross entropy over the matched anchors and the hardest of the others) or `focal` (over all).
        negatives: background anchors in the loss for each matched one.
        focal_gamma: how much less an anchor counts the surer it is.
        focal_alpha: weight of the matched anchors beside `1 - focal_alpha` of the background.
        label_smoothing: share of each class target that is spread over all classes.
        box_loss: `smooth_l1` of the offsets, or `giou` of the boxes.
        box_weight: of the box loss beside the class loss.
        nms: how duplicates are suppressed, category by category: `hard`, or soft: `linear`, `gaussian`.
        nms_iou: overlap from which the less sure of two boxes is dropped (`hard`) or loses score (`linear`).
        nms_sigma: width of `gaussian`, under which every overlap costs score.
        min_score: below it, a detection is not reported.
    """

    epochs: Count = 40
    batch_size: Count = 8
    lr: Rate = 4e-3
    optimizer: Literal["sgd", "adam"] = "adam"
    warmup_epochs: RateOrNone = 1.0
    model: str = "tinyssd_fine"
    weights: str = "none"
    backbone_weights: str = "none"
    size: Annotated[int, Meta(ge=0, le=2048)] = 0
    strides: Annotated[tuple[Literal[4, 8, 16, 32], ...], Meta(min_length=1)] = (8, 16, 32)
    sizes: tuple[Scale, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    shapes: tuple[tuple[Fraction, Fraction], ...] | Literal["auto"] = ()
    width: Annotated[int, Meta(ge=8, le=1024, multiple_of=8)] = 128
    match_iou: Share = 0.5
    class_loss: Literal["negatives", "focal"] = "negatives"
    negatives: Weight = 3.0
    focal_gamma: Annotated[float, Meta(ge=0, le=10)] = 2.0
    focal_alpha: Share = 0.25
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    box_loss: Literal["smooth_l1", "giou"] = "smooth_l1"
    box_weight: Weight = 1.0
    nms: Literal["hard", "linear", "gaussian"] = "hard"
    nms_iou: Share = 0.45
    nms_sigma: Annotated[float, Meta(gt=0)] = 0.5
    min_score: Share = 0.01

    @property
    def given_shapes(self) -> Sequence[Shape]:
        """The shapes, once `auto` is resolved."""
        if self.shapes == "auto":
            raise ConfigError(
                "ssd: shapes auto are those of training images, and there are none here. Name the shapes."
            )
        return self.shapes

    def sizes_for(self, own: Sequence[Sequence[float]]) -> Sequence[Sequence[float]]:
        """The sizes of the anchors, where `own` are those of the model.

        Raises:
            ConfigError: if they are for another number of scales.
        """
        if self.sizes and len(self.sizes) != len(own):
            raise ConfigError(f"ssd: sizes: {self.model} has {len(own)} scales, got sizes of {len(self.sizes)}.")
        return self.sizes or own
