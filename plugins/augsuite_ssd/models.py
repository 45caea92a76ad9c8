"""The networks by name."""

from __future__ import annotations

from pathlib import Path

import torchvision
from torch import nn
from torchvision.models.detection import SSD300_VGG16_Weights, SSDLite320_MobileNet_V3_Large_Weights

from augsuite.errors import ConfigError, nearest
from augsuite_ssd import backbone, tinyssd, torchvision_ssd
from augsuite_ssd.detector import Detector, expect_background
from augsuite_ssd.settings import Config
from augsuite_ssd.weights import download, load_detector, read_state

SMALL = {"tinyssd_fine": tinyssd.fine, "tinyssd": tinyssd.book}
LARGE = {
    "ssd300_vgg16": torchvision_ssd.ssd300_vgg16,
    "ssd512_vgg16": torchvision_ssd.ssd512_vgg16,
    "ssdlite320_mobilenet_v3_large": torchvision_ssd.ssdlite320_mobilenet_v3_large,
}
PUBLISHED = {
    "ssd300_vgg16": SSD300_VGG16_Weights.DEFAULT,
    "ssdlite320_mobilenet_v3_large": SSDLite320_MobileNet_V3_Large_Weights.DEFAULT,
}


def make_detector(config: Config, categories: int, *, load: bool = True) -> Detector:
    """The network that the settings name; the caller seeds the global generator, which draws what is not loaded.

    Args:
        config: the settings, with `shapes` resolved.
        categories: how many there are, without the background.
        load: whether to load the weights that the settings name; without them the network has the same layers.

    Raises:
        ConfigError: for an unknown model, weights that cannot be had or do not fit, or settings that do not suit the model,
            such as a size that it cannot take.
    """
    if config.model in SMALL:
        if config.backbone_weights != "none":
            raise ConfigError(f"ssd: {config.model} has no classifier underneath. Set backbone_weights to none.")
        detector = SMALL[config.model](config, categories + 1)
    elif config.model in LARGE:
        detector = LARGE[config.model](config, categories + 1, load=load)
    else:
        known = torchvision.models.list_models(module=torchvision.models)
        if config.model not in known:
            raise ConfigError(f"ssd: unknown model {config.model!r}. {nearest(config.model, [*SMALL, *LARGE, *known])}")
        detector = backbone.on_classifier(config, categories + 1, load=load)
    for size in config.input_sizes or (side_of(config, detector),):
        try:
            detector.anchors(size, size)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"ssd: {config.model} cannot take images of {size} px ({reason}). Set size or input_sizes."
            ) from error
    if config.class_loss == "focal":
        expect_background(detector, categories + 1)
    if load and config.weights != "none":
        _load(detector, config)
    return detector


def side_of(config: Config, detector: Detector) -> int:
    """Side of the network's square input in pixels."""
    return config.size or detector.facts.side


def _load(detector: nn.Module, config: Config) -> None:
    if config.weights != "default":
        state = read_state(Path(config.weights))
    elif config.model in PUBLISHED:
        state = download(PUBLISHED[config.model], config.model)
    else:
        raise ConfigError(
            f"ssd: nobody publishes weights of the detector {config.model}. "
            f"Set weights to none or the path of a state dict, or model to one of {', '.join(PUBLISHED)}."
        )
    load_detector(detector, state, config.model)
