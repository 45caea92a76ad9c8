"""How long a training takes, how fast it goes, and how much of that it waits for data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from augsuite.augment import Batch
from augsuite.augment.loading import WaitTimer
from augsuite.training.progress import Progress


class Clock:
    """Adds to the times of a training's progress; evaluation is not in them."""

    def __init__(self, done: Progress) -> None:
        """Keep the times of this progress."""
        self._done = done
        self._timer = WaitTimer()
        self._wall = self._cpu = 0.0
        self._began = (0, 0.0, 0.0)

    def over(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pass the batches of an epoch on, and take the time until each is asked for and until the last is done."""
        done = self._done
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._began = (done.images, done.seconds, done.wait_seconds)
        self._timer = WaitTimer()
        yield from self._timer(batches)
        self.tick()

    def tick(self) -> None:
        """Add the time since the last look."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._done.seconds += wall - self._wall
        self._done.cpu_seconds += cpu - self._cpu
        self._done.wait_seconds += self._timer.waited_s
        self._wall, self._cpu, self._timer.waited_s = wall, cpu, 0.0

    def speed(self) -> dict[str, float]:
        """`images_per_s` and `wait_frac` of the epoch so far, in this process; nothing where that is no time."""
        images, seconds, waited = self._began
        passed = self._done.seconds - seconds
        if passed <= 0 or self._done.images == images:
            return {}
        waiting = (self._done.wait_seconds - waited) / passed
        return {"images_per_s": (self._done.images - images) / passed, "wait_frac": min(1.0, waiting)}
