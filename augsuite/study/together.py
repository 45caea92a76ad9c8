"""One training run in several processes that an engine starts; what they show is shown here."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from augsuite import registry
from augsuite.augment import Policy
from augsuite.dataset import Dataset
from augsuite.engines.choice import find
from augsuite.engines.together import RunTogether, Tell
from augsuite.errors import ConfigError
from augsuite.protocols import RunRecord, TakesPulse
from augsuite.study.session import train_once

_PULSE_S = 0.5


class Watcher(TakesPulse, Protocol):
    """Is shown a run: its epochs, what happens in between, and lines for a person."""

    def __call__(self, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        """Take an epoch that is done, from 1."""


@dataclass(frozen=True)
class Training:
    """A run, as `augsuite.study.session.train_once` takes it, that travels to other processes."""

    trainer: str
    config: Mapping[str, Any]
    train: Dataset
    val: Dataset
    policy: Policy
    seed: int
    folder: Path
    trackers: Sequence[str]
    workers: int
    draw: int

    @property
    def folders(self) -> tuple[str, ...]:
        """See `augsuite.engines.together.RunTogether`."""
        roots = (self.train.root, self.val.root)
        return tuple(dict.fromkeys(os.fspath(root) for root in roots if os.path.isdir(root)))  # noqa: PTH112 - may be a URL

    def __call__(self, tell: Tell) -> RunRecord:
        """Train, as one of the processes."""
        return train_once(
            self.trainer, self.config, self.train, self.val, self.policy, self.seed, self.folder, self.trackers,
            progress=_Told(tell), workers=self.workers, draw=self.draw,
        )  # fmt: skip


def check_engine(engine: str, processes: int) -> RunTogether:
    """What trains in several processes of an engine.

    Raises:
        ConfigError: if there is no such engine, or it cannot do that.
        MissingExtraError: if the packages that it needs are not installed.
    """
    spec = find(engine)
    if spec.train is None:
        able = ", ".join(name for name, other in registry.default().engines().items() if other.train) or "none"
        raise ConfigError(
            f"the engine {engine} does not train in several processes (able: {able}). On one machine: torchrun "
            f"--nproc-per-node {processes} -m augsuite train ..."
        )
    return registry.load(spec.train, f"engine {engine}", spec.extra)


def train_together(run: Training, engine: str, processes: int, watcher: Watcher) -> RunRecord:
    """Train one run in several processes of an engine.

    Args:
        run: what to train; its folder and data must be where all machines see them.
        engine: its name.
        processes: how many.
        watcher: shown what the first of them shows.

    Returns:
        What `record.json` holds, in the run's folder.

    Raises:
        ConfigError: if the engine cannot do that, or has no room for so many.
        AugsuiteError: whatever `train_once` raises; or if processes are lost again and again.
    """
    start = check_engine(engine, processes)

    def hears(message: Any) -> None:
        kind, *values = ("say", message) if isinstance(message, str) else message
        (watcher if kind == "epoch" else getattr(watcher, kind))(*values)

    gpus = run.config.get("device", "auto") != "cpu"
    record: RunRecord = start(run, processes, gpus=gpus, scratch=run.folder, hears=hears)
    return record


class _Told:
    """Sends what a run shows to whoever started it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._last = 0.0

    def __call__(self, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        self._tell(("epoch", epoch, epochs, dict(values)))

    def pulse(self, epoch: int, epochs: int, done: float, values: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - self._last >= _PULSE_S:
            self._last = now
            self._tell(("pulse", epoch, epochs, done, dict(values)))

    def say(self, line: str) -> None:
        self._tell(("say", line))
