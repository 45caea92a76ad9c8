"""What whoever watches a run is told; of several processes the first speaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from augsuite.protocols import TakesPulse
from augsuite.training.progress import Progress

Log = Callable[[int, int, Mapping[str, float]], None]

_PULSE_S = 0.25


class Teller:
    """Passes on what happens."""

    def __init__(self, log: Log, epochs: int, *, speaks: bool) -> None:
        """Speak or be silent.

        Args:
            log: takes epochs, and more where it is a `TakesPulse`.
            epochs: in all.
            speaks: whether this process does.
        """
        self._log = log if speaks else None
        self._watcher = log if speaks and isinstance(log, TakesPulse) else None
        self._epochs = epochs
        self._pulsed = time.monotonic()

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """An epoch, from 1, is done."""
        if self._log is not None:
            self._log(epoch, self._epochs, values)

    def history(self, done: Progress) -> None:
        """What was told before a run went on, again: whoever listens now may not have heard it."""
        for entry in done.history:
            self.epoch(entry["epoch"], entry["values"])

    def pulse(self, done: Progress, frac: float, loss: float, speed: Mapping[str, float]) -> None:
        """A share of an epoch is done; passed on a few times a second."""
        if self._watcher is not None and time.monotonic() - self._pulsed > _PULSE_S:
            self._pulsed = time.monotonic()
            self._watcher.pulse(done.epoch + 1, self._epochs, frac, {"loss": loss, "lr": done.lr, **speed})

    def say(self, line: str) -> None:
        """Something that whoever watches should know."""
        if self._watcher is not None:
            self._watcher.say(line)
