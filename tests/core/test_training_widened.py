"""Depthwise convolutions, and strided ones of tiny maps, on a CPU that trains in bfloat16, judged by float32 and float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import Tensor, nn

from augsuite.training.machine import placed
from augsuite.training.settings import Settings
from augsuite.training.widened import Depthwise, widen

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
        return sum(type(part) is Depthwise for part in network.modules())

    assert wide("bf16") == 17  # of its paper: one in each of 17 blocks
    assert wide("fp32") == 0


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
