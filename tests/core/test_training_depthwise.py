"""Depthwise convolutions on a CPU that trains in bfloat16, judged by float32 and float64."""

from __future__ import annotations

import copy

import torch
import torchvision
from torch import Tensor, nn

from augsuite.training.depthwise import Depthwise, widen
from augsuite.training.machine import placed
from augsuite.training.settings import Settings

CPU = torch.device("cpu")


def layer() -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(6, 6, 5, stride=2, padding=2, groups=6, bias=False)


def run(convolution: nn.Conv2d, images: Tensor) -> tuple[Tensor, Tensor]:
    """Output and gradient of the weights."""
    with torch.autocast("cpu", torch.bfloat16):
        output = convolution(images)
    output.float().square().sum().backward()
    assert convolution.weight.grad is not None
    return output.detach(), convolution.weight.grad


def test_it_computes_in_float32_and_gives_bfloat16() -> None:
    wide = nn.Sequential(layer())
    widen(wide)
    images = torch.randn(2, 6, 9, 9)
    output, gradient = run(wide[0], images)
    exact = layer().double()(images.double())
    assert output.dtype == torch.bfloat16
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(output, exact.to(torch.bfloat16), rtol=2**-8, atol=0)
    # Of the gradient, only the output that goes into it is rounded.
    judge = layer().double()
    (judge(images.double()) * 2 * output.double()).sum().backward()
    torch.testing.assert_close(gradient.double(), judge.weight.grad, rtol=1e-5, atol=1e-5 * float(gradient.abs().max()))
    # In bfloat16 alone the weights are rounded as well.
    rounded = (run(layer(), images)[1].double() - judge.weight.grad).abs().max()
    assert (gradient.double() - judge.weight.grad).abs().max() < rounded / 10


def test_only_depthwise_convolutions_change() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(1, 4, 1)
    )
    parts, names = list(network.modules()), list(network.state_dict())
    hooked: list[str] = []
    network[1].register_forward_hook(lambda *_: hooked.append("seen"))
    widen(network)
    widen(network)
    assert [type(part) for part in network] == [nn.Conv2d, Depthwise, nn.Conv2d, nn.Conv2d]
    assert all(mine is its for mine, its in zip(network.modules(), parts, strict=True))
    assert list(network.state_dict()) == names
    network[1](torch.zeros(1, 8, 3, 3))
    assert hooked == ["seen"]
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin[1].weight.zero_()
    assert network[1].weight.any()


def test_outside_autocast_nothing_changes() -> None:
    wide, images = layer(), torch.randn(2, 6, 9, 9)
    plain = copy.deepcopy(wide)
    widen(wide)
    assert isinstance(wide, Depthwise)
    assert torch.equal(wide(images), plain(images))
    assert wide.double()(images.double()).dtype == torch.float64


def test_settings_decide() -> None:
    def wide(precision: str) -> int:
        network = torchvision.models.mobilenet_v2(weights=None)
        placed(network, Settings(precision=precision), CPU)  # type: ignore[arg-type]  # two of its literals
        return sum(isinstance(part, Depthwise) for part in network.modules())

    assert wide("bf16") == 17  # of its paper: one in each of 17 blocks
    assert wide("fp32") == 0
