"""From a loss to new weights: gradient, accumulation, clipping, the optimizer's step, the average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from augsuite.training.averaging import Average
from augsuite.training.machine import make_optimizer
from augsuite.training.schedule import Schedule
from augsuite.training.settings import Settings


class Stepper:
    """The optimizer of one phase of a training, with everything that goes with its steps."""

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[dict[str, Any]],
        config: Settings,
        schedule: Schedule,
        average: Average | None,
    ) -> None:
        """Make the optimizer.

        Args:
            network: on its device.
            groups: parameter groups with `params`, `weight_decay`, and `lr` where it is not that of the settings.
            config: the settings.
            schedule: of the learning rate.
            average: takes in the weights after each step.
        """
        self._network, self._config, self._schedule, self._average = network, config, schedule, average
        self._optimizer = make_optimizer(groups, config)
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._parameters = [part for group in self._optimizer.param_groups for part in group["params"]]
        device = next(network.parameters()).device
        self._scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        # Batches of an accumulated step are weighed as multiples of the first, which keeps losses in the range of one.
        self._first = self._total = 0.0

    def rate(self, step: int) -> float:
        """The learning rate of a step, of a group that has that of the settings."""
        return self._config.lr * self._schedule.factor(step)

    def add(self, loss: Tensor, scale: float, weight: float | Tensor) -> None:
        """Add the gradient of a batch.

        Args:
            loss: scalar.
            scale: what it is multiplied with.
            weight: of the batch among those of an accumulated step.
        """
        if self._config.accumulate > 1:
            own = float(weight)
            self._first = self._first or own
            share = own / self._first if self._first else 0.0  # a batch in which nothing counts has no gradient either
            self._total += share
            scale *= share
        self._scaler.scale(loss if scale == 1 else loss * scale).backward()  # type: ignore[no-untyped-call]  # PyTorch's own gap

    def take(self, step: int) -> tuple[float, Tensor | None]:
        """Change the weights.

        Args:
            step: counted from 0.

        Returns:
            The learning rate of the first group, and the norm of the gradient before clipping; None for fp16, whose scaler expects
            some gradients to be infinite and leaves out their steps.
        """
        config = self._config
        self._scaler.unscale_(self._optimizer)
        gradients = [part.grad for part in self._parameters if part.grad is not None]
        if self._total:
            torch._foreach_div_(gradients, self._total)
        self._first = self._total = 0.0
        norm = torch.nn.utils.get_total_norm(gradients)
        if config.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, config.clip_norm, norm)
        factor, momentum = self._schedule.factor(step), self._schedule.momentum(step)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
            if momentum is not None and "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            elif momentum is not None:
                group["momentum"] = momentum
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update(self._network)
        return float(self._optimizer.param_groups[0]["lr"]), None if config.precision == "fp16" else norm

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's and the scaler's state; valid between steps."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from another's state.

        Raises:
            ValueError: if its parameter groups were others.
        """
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
