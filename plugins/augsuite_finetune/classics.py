"""Two networks that made history, written out to be read: LeNet-5 and AlexNet."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class LeNet(nn.Module):
    """LeNet-5 in the form in which it is taught today: ReLU, max pooling, cross entropy, and colour images.

    With `size=32`, `channels=1` and 10 classes it has the 61,706 weights of the fully connected variant. What differs from 1998: there the
    pooling layers had weights, the third convolution looked at a choice of the maps before it, and the outputs were radial basis
    functions of squashed sums.

    Source: LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition, section II.B.
    """

    def __init__(self, classes: int = 10, size: int = 32, channels: int = 3) -> None:
        """Draw the initial weights.

        Args:
            classes: number of outputs.
            size: side of the square images in pixels, from 16.
            channels: of the images.
        """
        super().__init__()
        side = ((size - 4) // 2 - 4) // 2
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * side * side, 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """`(B, channels, size, size)` to `(B, classes)` logits."""
        logits: Tensor = self.classifier(self.features(images).flatten(1))
        return logits


class AlexNet(nn.Module):
    """AlexNet of 2012: two groups, as it was cut over two GPUs, local response normalisation, overlapping pooling, dropout.

    With 1,000 classes it has 60,965,224 weights, the "60 million" of the paper. torchvision's `alexnet` is the narrower one of 2014
    (Krizhevsky, One weird trick, arXiv:1404.5997), without groups and normalisation: what `widths=(64, 192, 384, 256, 256)`,
    `groups=1` and `response_norm=False` give. The paper's images of 224 pixels are taken with a border of 2, which its
    feature maps of 55 need.

    Source: Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep convolutional neural networks, section 3.
    """

    def __init__(
        self,
        classes: int = 1000,
        widths: Sequence[int] = (96, 256, 384, 384, 256),
        groups: int = 2,
        response_norm: bool = True,
    ) -> None:
        """Draw the initial weights.

        Args:
            classes: number of outputs.
            widths: channels of the five convolutions.
            groups: into which the second, fourth and fifth convolution are cut.
            response_norm: normalise over neighbouring channels after the first two convolutions.
        """
        super().__init__()
        first, second, third, fourth, fifth = widths

        def norm() -> list[nn.Module]:  # section 3.3; the paper's k = 2, n = 5, alpha = 1e-4 a channel, beta = 0.75
            return [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if response_norm else []

        self.features = nn.Sequential(
            nn.Conv2d(3, first, 11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            *norm(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(first, second, 5, padding=2, groups=groups),
            nn.ReLU(inplace=True),
            *norm(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(second, third, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(third, fourth, 3, padding=1, groups=groups),
            nn.ReLU(inplace=True),
            nn.Conv2d(fourth, fifth, 3, padding=1, groups=groups),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2),
        )
        self.pool = nn.AdaptiveAvgPool2d(6)  # changes nothing at 224; lets other sizes in
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(fifth * 36, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """`(B, 3, H, W)`, from 63 pixels, to `(B, classes)` logits."""
        logits: Tensor = self.classifier(self.pool(self.features(images)).flatten(1))
        return logits
