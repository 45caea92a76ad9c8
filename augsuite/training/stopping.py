"""Early stopping: when to end, and which weights to keep."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from augsuite.training.progress import Progress


class Best:
    """Keeps the weights with the best metric, and stops a training that does not get better.

    Source: Prechelt 1998, Early Stopping - But When?
    """

    def __init__(self, patience: int, metric: str) -> None:
        """Watch a metric.

        Args:
            patience: evaluations without a better one after which training stops; 0 watches nothing.
            metric: higher is better; "" for the first that is told.
        """
        self._patience, self._metric = patience, metric
        self.weights: dict[str, Tensor] = {}

    def take(self, metrics: Mapping[str, float], network: nn.Module, done: Progress) -> None:
        """Take the metrics of an evaluation, and stop the progress where it is time; one without a value is no better."""
        if not self._patience or not metrics:
            return
        value = metrics[self._metric or next(iter(metrics))]
        done.stale += 1
        if done.best is None or value > done.best:
            done.best, done.stale = value, 0
            self.weights = {name: part.detach().clone() for name, part in network.state_dict().items()}
        done.stopped = done.stopped or done.stale >= self._patience

    def restore(self, network: nn.Module, done: Progress) -> bool:
        """Put the best weights back where later ones are worse; whether that was so."""
        if not self.weights or not done.stale:
            return False
        network.load_state_dict(self.weights)
        return True

    def load(self, weights: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over the weights that another kept."""
        self.weights = {name: part.to(device) for name, part in weights.items()}
