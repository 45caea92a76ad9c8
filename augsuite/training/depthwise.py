"""Depthwise convolutions in float32, where a CPU trains in bfloat16.

oneDNN, which computes them, has no fast gradient of a depthwise convolution in bfloat16 for many strides and kernels: one layer of SSDLite320
takes a seventh of a training step, and all of them half. In float32 they take a tenth, so a step of SSDLite320 is 1.5 times as fast,
though the tensors are converted there and back; and nothing is rounded that bfloat16 would keep.
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


def widen(network: nn.Module) -> None:
    """Let the depthwise convolutions of a network compute in float32; again changes nothing.

    Args:
        network: on the CPU. Its parameters, their names and its modules stay the same objects.
    """
    for layer in network.modules():
        if type(layer) is nn.Conv2d and layer.groups == layer.in_channels > 1:
            # As torch's own parametrizations do: whoever holds the layer, or hooked something to it, keeps it.
            layer.__class__ = Depthwise
