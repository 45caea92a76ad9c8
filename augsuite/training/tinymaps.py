"""Strided convolutions of maps that are smaller than their stride, where a CPU trains in bfloat16.

There PyTorch 2.15 (oneDNN) leaves parts of the gradient of the weights unset: whatever was in memory is learned from, often unnoticed. A
ResNet meets this at 16 pixels, where its last stage halves a map of one position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Strided(nn.Conv2d):
    """A convolution that computes such maps in float32 within bfloat16's autocast, and gives what that expects."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """As any convolution."""
        small = any(side < step for side, step in zip(input.shape[-2:], self.stride, strict=True))
        if not small or not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            result = super().forward(input.float())
        return result.to(torch.get_autocast_dtype("cpu"))


def mend(network: nn.Module) -> None:
    """Let the strided convolutions of a network compute tiny maps in float32; again changes nothing.

    Args:
        network: on the CPU. Its parameters, their names and its modules stay the same objects.
    """
    for layer in network.modules():
        if type(layer) is nn.Conv2d and max(layer.stride) > 1:
            layer.__class__ = Strided
