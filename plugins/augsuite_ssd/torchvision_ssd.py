"""The single-shot detectors of torchvision, put together here so that training and studies are ours, and the weights theirs."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import torch
import torchvision
from torch import nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSDFeatureExtractorVGG, SSDHead
from torchvision.models.detection.ssdlite import SSDLiteFeatureExtractorMobileNet, SSDLiteHead
from torchvision.models.vgg import cfgs, make_layers

from augsuite_ssd.anchors import Array, anchor_shapes
from augsuite_ssd.detector import Detector, Facts, Grids, Place, dry_run, place_by_shapes
from augsuite_ssd.settings import Config
from augsuite_ssd.weights import backbone_state, load_part

VGG_CHANNELS = (512, 1024, 512, 256, 256, 256, 256)
VGG_MEAN, VGG_STD = (0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)
LITE_MEAN = LITE_STD = (0.5, 0.5, 0.5)
RATIOS = (1.0, 2.0, 0.5)


def ssd300_vgg16(config: Config, classes: int, *, load: bool = True) -> Detector:
    """SSD300 on VGG16, 8,732 anchors at 300 px.

    Source: Liu et al. 2016, SSD, section 3, arXiv:1512.02325, with the scales of torchvision.
    """
    generator = DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
        steps=[8, 16, 32, 64, 100, 300],
    )
    return _vgg(config, classes, generator, 300, load)


def ssd512_vgg16(config: Config, classes: int, *, load: bool = True) -> Detector:
    """SSD512 on VGG16, 24,564 anchors at 512 px; nobody publishes weights of it for torchvision.

    torchvision has its layers (`highres`), but does not halve the maps from conv10_2 on (sides 8, 6, 4, 1), as it must not for SSD300;
    they are made to (8, 4, 2, 1), as the paper has it. No name and no shape in the state dict changes.

    Source: Liu et al. 2016, SSD, section 3.3, with the scales and layers of its published code for COCO.
    """
    generator = DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2]],
        scales=[0.04, 0.1, 0.26, 0.42, 0.58, 0.74, 0.9, 1.06],
        steps=[8, 16, 32, 64, 128, 256, 512],
    )
    return _vgg(config, classes, generator, 512, load)


def _vgg(config: Config, classes: int, generator: DefaultBoxGenerator, side: int, load: bool) -> Detector:
    layers = make_layers(cfgs["D"])  # without the classifier after them, most of the 138 M parameters
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    if load and config.backbone_weights != "none":
        published = torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES
        load_part(layers, backbone_state(config.backbone_weights, published, "vgg16"), "features.", "vgg16")
    backbone = SSDFeatureExtractorVGG(layers, highres=side == 512)
    if side == 512:
        for block in backbone.extra[3:]:
            block[2].padding = (1, 1)
        for block in backbone.extra[3:5]:
            block[2].stride = (2, 2)
    place, counts = _anchors(config, generator)
    head = SSDHead(list(VGG_CHANNELS[: len(counts)]), counts, classes)
    return Detector(backbone, head, Facts(side, place, VGG_MEAN, VGG_STD))


def ssdlite320_mobilenet_v3_large(config: Config, classes: int, *, load: bool = True) -> Detector:
    """SSDLite on MobileNetV3-Large, 3,234 anchors at 320 px.

    With weights of an ImageNet classifier its last blocks have their full width, else half of it, as torchvision does.

    Source: Howard et al. 2019, Searching for MobileNetV3, section 6.3, arXiv:1905.02244.
    """
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
    pretrained = config.backbone_weights != "none"
    mobilenet = torchvision.models.mobilenet_v3_large(weights=None, norm_layer=norm, reduced_tail=not pretrained)
    features = mobilenet.features
    if pretrained and load:
        published = torchvision.models.MobileNet_V3_Large_Weights.IMAGENET1K_V1
        state = backbone_state(config.backbone_weights, published, "mobilenet_v3_large")
        load_part(features, state, "features.", "mobilenet_v3_large")
    elif not pretrained:
        for layer in features.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.03)
    last_halving = max(row for row, block in enumerate(features) if _halves(block))
    backbone = SSDLiteFeatureExtractorMobileNet(features, last_halving, norm)
    generator = DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    place, counts = _anchors(config, generator)
    head = SSDLiteHead([each.shape[1] for each in dry_run(backbone, 320, 320)], counts, classes, norm)
    return Detector(backbone, head, Facts(320, place, LITE_MEAN, LITE_STD))


def _halves(block: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d) and layer.stride == (2, 2) for layer in block.modules())


def _anchors(config: Config, generator: DefaultBoxGenerator) -> tuple[Place, list[int]]:
    """Where the anchors are and how many of each position: torchvision's, or ours where the settings name sizes, ratios or shapes."""
    if not (config.sizes or config.ratios or config.given_shapes):
        return _place_by_generator(generator), generator.num_anchors_per_location()
    scales = generator.scales
    own = [(low, (low * high) ** 0.5) for low, high in pairwise(scales)]
    shapes = anchor_shapes(config.sizes_for(own), config.ratios or RATIOS, config.given_shapes)
    return place_by_shapes(shapes), [len(each) for each in shapes]


def _place_by_generator(generator: DefaultBoxGenerator) -> Place:
    def place(grids: Grids, size: tuple[int, int]) -> Array:
        height, width = size
        maps = [torch.empty(1, 1, *grid) for grid in grids]
        boxes = generator(ImageList(torch.empty(1, 3, height, width), [size]), maps)[0]
        return np.asarray((boxes / torch.tensor([width, height, width, height])).numpy())

    return place
