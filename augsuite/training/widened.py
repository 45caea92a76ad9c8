"""Convolutions that stay in float32 where a CPU trains in bfloat16.

Depthwise ones: oneDNN, which computes them, has no fast gradient of a depthwise convolution in bfloat16 for many strides and kernels. One
layer of SSDLite320 takes a seventh of a training step, and all of them half; in float32 they take a tenth, so a step of SSDLite320 is 1.5
times as fast, though the tensors are converted there and back.

Strided ones, of maps that are smaller than the stride: PyTorch 2.15 (oneDNN) leaves parts of the gradient of the weights unset, and whatever
was in memory is learned from, often unnoticed. A ResNet meets this at 16 pixels, where its last stage halves a map of one position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Depthwise(nn.Conv2d):
    """A convolution that computes in float32 within bfloat16's autocast, and gives what that expects."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As any convolution."""
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            result = super().forward(input.float())
        return result.to(torch.get_autocast_dtype("cpu"))


class Strided(Depthwise):
    """A convolution that does so for maps that are smaller than its stride."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As any convolution."""
        small = any(side < step for side, step in zip(input.shape[-2:], self.stride, strict=True))
        return super().forward(input) if small else nn.Conv2d.forward(self, input)


def widen(network: nn.Module) -> None:
    """Let such convolutions of a network compute in float32; again changes nothing.

    Args:
        network: on the CPU. Its parameters, their names and its modules stay the same objects.
    """
    for layer in network.modules():
        if type(layer) is not nn.Conv2d:
            continue
        # As torch's own parametrizations do: whoever holds the layer, or hooked something to it, keeps it.
        if layer.groups == layer.in_channels > 1:
            layer.__class__ = Depthwise
        elif max(layer.stride) > 1:
            layer.__class__ = Strided
