"""Batch norm over the images of all processes; torch's own runs on GPUs only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass
class Presence:
    """Whether the images that this process has of a batch count; where a batch has too few for all, some borrow one."""

    counts: bool = True


class _Sum(torch.autograd.Function):
    """The sum over the processes; so is its gradient."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        result = value.clone()
        dist.all_reduce(result)
        return result

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        result = gradient.contiguous().clone()
        dist.all_reduce(result)
        return result


class SyncBatchNorm(nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - what torch's own derives from
    """Batch norm whose mean and variance are those of the whole batch, however unequally it is shared out.

    Each process's count, mean and variance are exchanged once, and combined as Chan et al. 1979 do, which loses no digits.
    """

    def __init__(self, old: nn.modules.batchnorm._BatchNorm, presence: Presence) -> None:
        """Take the place of a layer, with its own parameters and buffers."""
        super().__init__(old.num_features, old.eps, old.momentum, old.affine, old.track_running_stats)
        self.weight, self.bias = old.weight, old.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(old, name))
        self.train(old.training)
        self.presence = presence

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        if input.ndim < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.ndim}")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """`(B, C, ...)` to the same."""
        self._check_input_dim(input)
        if not (self.training or self.running_mean is None):
            result: Tensor = super().forward(input)
            return result
        channels = self.num_features
        values = input.float()
        over = [axis for axis in range(values.ndim) if axis != 1]
        variance, mean = torch.var_mean(values, dim=over, correction=0)
        own = torch.zeros(dist.get_world_size(), 2 * channels + 1, device=values.device)
        count = values.numel() / channels if self.presence.counts else 0.0
        row = torch.cat([mean, variance, mean.new_tensor([count])])
        rank = torch.tensor([dist.get_rank()], device=values.device)
        counts, means, variances = self._split(_Sum.apply(own.index_copy(0, rank, row[None])))
        total = counts.sum()
        mean = (counts * means).sum(dim=0) / total
        variance = (counts * (variances + (means - mean) ** 2)).sum(dim=0) / total
        self._track(mean.detach(), variance.detach() * total / (total - 1).clamp(min=1))
        shape = [1, channels] + [1] * (values.ndim - 2)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight.float()
        result = (values - mean.view(shape)) * scale.view(shape)
        if self.bias is not None:
            result = result + self.bias.float().view(shape)
        return result.to(input.dtype)

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        channels = self.num_features
        return rows[:, -1:].detach(), rows[:, :channels], rows[:, channels:-1]

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def synchronised(network: nn.Module, presence: Presence) -> nn.Module:
    """Put `SyncBatchNorm` in the place of every batch norm; parameters, buffers and their names stay.

    Args:
        network: changed in place, unless it is a batch norm itself.
        presence: tells the layers whether this process's images count.
    """
    if isinstance(network, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return SyncBatchNorm(network, presence)
    for name, child in network.named_children():
        setattr(network, name, synchronised(child, presence))
    return network
