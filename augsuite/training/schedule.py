"""Learning rate and momentum as functions of the step: nothing to keep in step with, nothing to restore."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

from augsuite.training.settings import Settings

RANGE_LOW, RANGE_HIGH = 1e-6, 10.0
"""Learning rates between which the range test ramps."""
RANGE_STEPS = 100

_RISE = 0.3  # share of a cycle in which the learning rate rises
_START, _END = 25.0, 25e4  # what the highest rate is divided by at both ends of a cycle
_MOMENTA = (0.95, 0.85)  # at both ends of a cycle, and at its highest rate


@dataclass(frozen=True, slots=True)
class Schedule:
    """The learning rate of each step.

    Attributes:
        config: the settings.
        epoch_steps: optimizer steps in an epoch.
        steps: of the whole schedule.
    """

    config: Settings
    epoch_steps: int
    steps: int

    def factor(self, step: int) -> float:
        """What the learning rate of every parameter group is multiplied with at a step, counted from 0.

        Sources: warm-up: Goyal et al. 2017, section 2.2, arXiv:1706.02677; cosine without restarts: Loshchilov and Hutter 2017,
        arXiv:1608.03983; one cycle: Smith and Topin 2018, arXiv:1708.07120; range test: Smith 2017, section 3.3, arXiv:1506.01186.
        """
        config = self.config
        if config.schedule == "range":
            return RANGE_LOW / config.lr * math.pow(RANGE_HIGH / RANGE_LOW, step / (RANGE_STEPS - 1))
        if config.schedule == "onecycle":
            return self._cycle(step, 1 / _START, 1.0, 1 / _END)
        warmup = config.warmup_epochs * self.epoch_steps
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        if config.schedule == "cosine":
            done = max(0.0, step - warmup) / max(1.0, self.steps - warmup)
            return rise * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        if config.schedule == "step":
            # A milestone that is a whole step decays that step, whatever its share rounds to.
            passed = bisect.bisect_right([round(m * self.steps, 6) for m in sorted(config.milestones)], step)
            return rise * math.pow(config.gamma, passed)
        return rise

    def momentum(self, step: int) -> float | None:
        """The momentum at a step (of Adam its first beta); None where it does not change."""
        if self.config.schedule != "onecycle":
            return None
        ends, middle = _MOMENTA
        return self._cycle(step, ends, middle, ends)

    def _cycle(self, step: int, start: float, top: float, end: float) -> float:
        turn = _RISE * self.steps - 1
        last = self.steps - 1
        if step <= turn:
            first, second, done = start, top, step / turn if turn > 0 else 1.0
        else:
            first, second, done = top, end, (min(step, last) - turn) / (last - turn) if last > turn else 1.0
        return second + (first - second) / 2 * (1 + math.cos(math.pi * done))
