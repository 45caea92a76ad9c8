"""A detector on any classifier of torchvision: its maps of some strides, then layers that halve further."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torchvision.models.detection.ssd import SSDHead
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from augsuite.errors import ConfigError
from augsuite_ssd.anchors import anchor_shapes
from augsuite_ssd.detector import Detector, Facts, dry_run, feature_maps, place_by_shapes
from augsuite_ssd.settings import Config
from augsuite_ssd.weights import backbone_state, load_part

SIDE = 320
SIZES = ((0.1, 0.141), (0.2, 0.272), (0.37, 0.447), (0.54, 0.619), (0.71, 0.79), (0.88, 0.961))
RATIOS = (1.0, 2.0, 0.5)
EXTRA_CHANNELS = (512, 256, 256, 128)
"""Of the layers after the backbone, as SSDLite has them; the last number holds for any that follow."""


class Pyramid(nn.Module):
    """Feature maps of a classifier, and those of the layers after it."""

    def __init__(self, body: nn.Module, channels: Sequence[int], extra: int) -> None:
        """Draw the initial weights of `extra` layers from the global generator."""
        super().__init__()
        self.body = body
        wanted = [EXTRA_CHANNELS[min(row, len(EXTRA_CHANNELS) - 1)] for row in range(extra)]
        self.extra = nn.ModuleList(
            Halve(inputs, outputs) for inputs, outputs in zip([channels[-1], *wanted], wanted, strict=False)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """From `(B, 3, H, W)` to the feature maps, finest first."""
        maps = feature_maps(self.body, images)
        for layer in self.extra:
            maps.append(layer(maps[-1]))
        return maps


class Halve(nn.Module):
    """A 1x1 and a 3x3 convolution, each with batch norm and ReLU; the second halves the side of the map, rounded up."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Draw the initial weights from the global generator."""
        super().__init__()
        inner = outputs // 2
        self.squeeze = nn.Conv2d(inputs, inner, 1, bias=False)
        self.squeezed = nn.BatchNorm2d(inner)
        self.halve = nn.Conv2d(inner, outputs, 3, 2, padding=1, bias=False)
        self.halved = nn.BatchNorm2d(outputs)

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, outputs, ceil(H / 2), ceil(W / 2))`."""
        inner = F.relu(self.squeezed(self.squeeze(images)))
        # Of one position either stride makes one. With 2, PyTorch 2.15 leaves parts of the gradient of the weights unset on a CPU in bf16.
        stride = 1 if inner.shape[2:] == (1, 1) else 2
        return F.relu(self.halved(F.conv2d(inner, self.halve.weight, stride=stride, padding=1)))


def on_classifier(config: Config, classes: int, *, load: bool = True) -> Detector:
    """A detector on the classifier `config.model`, whose weights are `config.backbone_weights`.

    There are as many feature maps as `config.sizes` has lists, six by default: those of the classifier at `config.strides`, the last
    one of each stride, then those of layers of ours.

    Raises:
        ConfigError: for a classifier that has no such maps, or weights that do not fit.
    """
    name = config.model
    options = {"init_weights": False, "aux_logits": False} if name in {"googlenet", "inception_v3"} else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # torchvision's own, of initial weights to come
        classifier = torchvision.models.get_model(name, weights=None, **options)
    body = extract(classifier, config.strides, name)
    if load and config.backbone_weights != "none":
        published = torchvision.models.get_model_weights(name)["DEFAULT"]
        load_part(body, backbone_state(config.backbone_weights, published, name), "", name)
    sizes = config.sizes or SIZES
    if len(sizes) < len(config.strides):
        raise ConfigError(
            f"ssd: {len(config.strides)} strides need sizes of as many scales at least, and got {len(sizes)}."
        )
    backbone = Pyramid(body, [each.shape[1] for each in dry_run(body, SIDE, SIDE)], len(sizes) - len(config.strides))
    shapes = anchor_shapes(sizes, config.ratios or RATIOS, config.given_shapes)
    channels = [each.shape[1] for each in dry_run(backbone, SIDE, SIDE)]
    head = SSDHead(channels, [len(each) for each in shapes], classes)
    return Detector(backbone, head, Facts(SIDE, place_by_shapes(shapes)))


def extract(classifier: nn.Module, strides: Sequence[int], name: str) -> nn.Module:
    """The part of a classifier that gives its last feature map of each stride; the names in its state dict stay.

    Raises:
        ConfigError: if it has no map of some stride, or cannot be traced.
    """
    try:
        training, evaluation = get_graph_node_names(classifier)
        nodes = list(dict.fromkeys(node for node in evaluation if node in set(training)))
        with torch.inference_mode():
            outputs = create_feature_extractor(classifier, nodes).eval()(torch.zeros(1, 3, SIDE, SIDE))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"ssd: {name} cannot be a backbone ({reason}). Choose another, such as resnet18.") from error
    halvings = {node: halved for node, value in outputs.items() if (halved := _halvings(value)) is not None}
    chosen: dict[str, str] = {}
    for stride in strides:
        fitting = [node for node, halved in halvings.items() if 2**halved == stride]
        if not fitting:
            raise ConfigError(
                f"ssd: {name} has no feature map of stride {stride}. Set strides, or choose another model."
            )
        chosen[fitting[-1]] = str(stride)
    body: nn.Module = create_feature_extractor(classifier, chosen)
    return body


def _halvings(value: object) -> int | None:
    """How often the side of a feature map was halved; None of what is no `(1, C, H, H)`. Layers without padding lose some pixels."""
    if not isinstance(value, Tensor) or value.ndim != 4 or value.shape[0] != 1 or value.shape[2] != value.shape[3]:
        return None
    return round(math.log2(SIDE / value.shape[2]))
