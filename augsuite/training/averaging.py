"""An average of the weights over the steps, which usually does better than the last ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of a network's parameters and buffers.

    The decay rises to its value, so that the first weights, which are random, are soon forgotten: at step t it is at most
    (1 + t) / (10 + t). Whole-number buffers (the counters of batch norm) are copied.

    Source: the warm-up is that of TensorFlow's `ExponentialMovingAverage` with `num_updates`.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begin with a copy of the network.

        Args:
            network: on its device.
            decay: in (0, 1).
        """
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for mine, its in zip(tensors_of(self.network), tensors_of(network), strict=True):
            if mine.is_floating_point():
                mine.lerp_(its, 1 - decay)
            else:
                mine.copy_(its)

    def state_dict(self) -> dict[str, Any]:
        """The average and how many steps it took in."""
        return {"network": self.network.state_dict(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from another's state."""
        self.network.load_state_dict(state["network"])
        self._steps = int(state["steps"])


def tensors_of(network: nn.Module) -> list[Tensor]:
    """All parameters, then all buffers."""
    return [*network.parameters(), *network.buffers()]
