"""Two small networks, to train from scratch on one core."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from augsuite_ssd.anchors import anchor_shapes
from augsuite_ssd.detector import Detector, Facts, Heads, place_by_shapes
from augsuite_ssd.settings import Config

BOOK_SIZES = ((0.2, 0.272), (0.37, 0.447), (0.54, 0.619), (0.71, 0.79), (0.88, 0.961))
FINE_SIZES = ((0.07, 0.12, 0.18), (0.25, 0.35), (0.45, 0.55), (0.65, 0.75), (0.85, 0.95))
RATIOS = (1.0, 2.0, 0.5)


class Stages(nn.ModuleList):
    """One after the other; the output of each is a feature map."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """From `(B, 3, H, W)` to the feature maps, finest first."""
        maps: list[Tensor] = []
        for stage in self:
            images = stage(images)
            maps.append(images)
        return maps


class GlobalMax(nn.Module):
    """The largest value of each channel; unlike adaptive pooling, its gradient is deterministic on a GPU."""

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C, 1, 1)`."""
        return images.amax(dim=(2, 3), keepdim=True)


def book(config: Config, classes: int) -> Detector:
    """TinySSD as the book draws it: 5,444 anchors at 256 px.

    Source: Zhang et al., Dive into Deep Learning, section 14.7.1.
    """

    def halve(inputs: int, outputs: int) -> nn.Sequential:
        first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        return nn.Sequential(
            *(first, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)),
            *(second, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)),
            nn.MaxPool2d(2),
        )

    base = nn.Sequential(halve(3, 16), halve(16, 32), halve(32, 64))
    stages = Stages([base, halve(64, 128), halve(128, 128), halve(128, 128), GlobalMax()])
    return _detector(stages, (64, 128, 128, 128, 128), BOOK_SIZES, 256, config, classes)


def fine(config: Config, classes: int) -> Detector:
    """TinySSD with a finest map of stride 4: faster, and it finds small objects.

    The first convolution has stride 2, and each head looks at a map before it is halved.
    """

    def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
        layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.MaxPool2d(2), convolution(inputs, outputs), convolution(outputs, outputs))

    width = config.width
    stem = nn.Sequential(convolution(3, width // 8, stride=2), convolution(width // 8, width // 4))
    base = nn.Sequential(stem, block(width // 4, width // 2))
    stages = Stages([base, block(width // 2, width), block(width, width), block(width, width), GlobalMax()])
    return _detector(stages, (width // 2, width, width, width, width), FINE_SIZES, 128, config, classes)


def _detector(
    stages: Stages,
    channels: Sequence[int],
    sizes: Sequence[Sequence[float]],
    side: int,
    config: Config,
    classes: int,
) -> Detector:
    shapes = anchor_shapes(config.sizes_for(sizes), config.ratios or RATIOS, config.given_shapes)
    heads = Heads(channels, [len(each) for each in shapes], classes)
    return Detector(stages, heads, Facts(side, place_by_shapes(shapes)))
