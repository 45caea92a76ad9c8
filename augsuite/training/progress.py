"""How far a training is, as plain values that a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        phase: which `prepare`, from 0.
        epoch: the one that comes next, or is being worked on, from 0.
        batch: batches of it that are done.
        step: steps of the optimizer in this phase.
        loss_sum: of the epoch so far, over images.
        lr: learning rate of the last step, of the first parameter group.
        images: that went through the network, over all processes.
        seconds: wall time of training, without evaluation.
        cpu_seconds: CPU time of this process in that time.
        wait_seconds: part of the wall time in which training waited for a batch.
        history: `epoch` (from 1) and `values` of each epoch that was told.
        best: the best metric so far, where early stopping watches one.
        stale: evaluations since.
        stopped: whether training ends before all epochs are done.
    """

    phase: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    lr: float = 0.0
    images: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    wait_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float | None = None
    stale: int = 0
    stopped: bool = False
