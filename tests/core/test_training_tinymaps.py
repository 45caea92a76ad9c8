"""Maps smaller than a stride, on a CPU that trains in bfloat16, judged by float32."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import Tensor, nn

from augsuite.training.machine import placed
from augsuite.training.settings import Settings


def gradient(layer: nn.Module, images: Tensor, precision: str) -> Tensor:
    """Of the weights; memory that nobody sets holds no numbers."""
    weight = layer.get_parameter("weight")
    junk = [torch.full((weight.numel(),), float("nan"), dtype=kind) for kind in (torch.float32, torch.bfloat16) * 4]
    del junk
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        output = layer(images)
    (found,) = torch.autograd.grad(output.float().square().mean(), weight)
    return found


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [((1, 1), 3, 2, 1), ((3, 3), 7, 4, 3), ((8, 1), 3, 2, 1), ((1, 8), 5, 2, 2)],
)
def test_gradients_are_those_of_float32(size, kernel, stride, padding):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(64, 64, kernel, stride=stride, padding=padding, bias=False))
    judge = copy.deepcopy(network)
    placed(network, Settings(precision="bf16"), torch.device("cpu"))
    images = torch.randn(4, 64, *size).contiguous(memory_format=torch.channels_last)
    wanted = gradient(judge[0], images, "fp32")
    torch.testing.assert_close(
        gradient(network[0], images, "bf16"), wanted, rtol=0.05, atol=0.02 * float(wanted.abs().max())
    )


def test_a_resnet_at_16_pixels_learns_from_numbers():
    """The first step of its last stage, which halves a map of one position."""
    torch.manual_seed(0)
    block = torchvision.models.resnet18(weights=None).layer4[0]
    placed(block, Settings(precision="bf16"), torch.device("cpu"))
    assert gradient(block.conv1, torch.randn(4, 256, 1, 1), "bf16").isfinite().all()


def test_all_else_stays_in_bfloat16():
    layer = nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False)
    images = torch.randn(2, 8, 9, 9)
    judge = copy.deepcopy(layer)
    placed(layer, Settings(precision="bf16"), torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(images), judge(images))
        assert layer(images[:, :, :1, :1]).dtype == torch.bfloat16
    assert torch.equal(layer(images[:, :, :1, :1]), judge(images[:, :, :1, :1]))
