"""How a study is shown while it runs: bars and a table that fills where a person looks, lines where a log is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from augsuite.dataset.parallel import Retried
from augsuite.study.scheduler import Outcome
from augsuite.study.store import Run, State, Store

_LOOK_S = 0.5
_HEARTBEAT_S = 30.0
_ROWS = 15  # of the table: more would leave no room for the bars


class Watch:
    """Shows a study on stderr; reads how far its runs are from their folders, wherever they are trained.

    Use it as a context manager, and tell it of every outcome.

    Attributes:
        retried: runs that were tried again, since their process or machine had died.
    """

    def __init__(self, state: State, store: Store) -> None:
        """Prepare the display of a study."""
        self.retried: list[Retried] = []
        self._state, self._store = state, store
        self._open: dict[str, str] = {}
        self._total, self._ended, self._trained = 0, 0, 0
        self._began = time.time()
        self._parts: dict[str, float] = {}
        self._partial = Partial(state)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="augsuite-watch", daemon=True)
        console = Console(stderr=True, highlight=False)
        self._bars: Progress | None = None
        self._live: Live | None = None
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[said]}", markup=False),
                TimeElapsedColumn(),
                console=console,
            )
            self._study = self._bars.add_task(f"study {state.study}", total=0, said="")
            self._live = Live(get_renderable=self._shown, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}
        self.expect(state.runs)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._live is not None:
            self._live.stop()

    def expect(self, runs: Sequence[Run]) -> None:
        """Take further runs into account."""
        with self._lock:
            self._open.update({run.digest: f"{run.arm} seed {run.seed}" for run in reversed(runs)})
            self._total += len(runs)
            if self._bars is not None:
                self._bars.update(self._study, total=self._total)
            self._update()

    def tell(self, outcome: Outcome) -> None:
        """Show how a run ended."""
        run = outcome.run
        with self._lock:
            self._ended += 1
            self._trained += not outcome.found
            self._open.pop(run.digest, None)
            self._parts.pop(run.digest, None)
            self._partial.take(outcome)
            task = self._tasks.pop(run.digest, None)
            if self._bars is not None and task is not None:
                self._bars.remove_task(task)
            width = len(str(self._total))
            line = f"[{self._ended:{width}}/{self._total}] {run.arm} seed {run.seed}: "
            if outcome.record is not None:
                value = outcome.record.metrics.get(self._state.metric)
                line += f"{self._state.metric} {value:.1f}" if value is not None else f"no {self._state.metric}"
                line += "   found" if outcome.found else f"   {outcome.record.seconds:.0f} s"
            elif outcome.found:
                line += f"failed before: {outcome.error}   (--retry-failed tries it again)"
            else:
                line += f"failed: {outcome.error}"
            left = self._left()
            self._say(line + (f"   {left}" if left and self._bars is None else ""))
            self._update()

    def tell_again(self, run: Run, error: str) -> None:
        """Show that a run is tried again, and keep it in `retried`."""
        self.retried.append(Retried(f"{run.arm} seed {run.seed}", error))
        with self._lock:
            self._say(f"tried again: {run.arm} seed {run.seed}: {error}")

    def _shown(self) -> Group:
        parts = [] if self._bars is None else [self._bars]
        return Group(self._partial.table(), *parts)

    def _follow(self) -> None:
        """Look at the folders of the runs until the study ends."""
        spoke = time.monotonic()
        while not self._stop.wait(_LOOK_S):
            with self._lock:
                running = {}
                for digest, name in self._open.items():
                    progress = self._store.progress(digest, self._began)
                    if progress is not None:
                        self._parts[digest] = progress.done
                        said = f"epoch {progress.epoch}/{progress.epochs}  {_values(progress.values)}"
                        running[digest] = (name, said)
                if self._bars is not None:
                    self._draw(running)
                elif running and time.monotonic() - spoke > _HEARTBEAT_S:
                    spoke = time.monotonic()
                    self._say("; ".join(f"{name} {said}" for name, said in running.values()) + f"   {self._left()}")

    def _draw(self, running: Mapping[str, tuple[str, str]]) -> None:
        if self._bars is None:
            return
        for digest, (name, said) in running.items():
            if digest not in self._tasks:
                self._tasks[digest] = self._bars.add_task(f"  {name}", total=1.0, said=said)
            self._bars.update(self._tasks[digest], completed=self._parts[digest], said=said)
        self._update()

    def _update(self) -> None:
        if self._bars is not None:
            said = f"{self._ended}/{self._total} runs   {self._left()}"
            self._bars.update(self._study, completed=self._ended + sum(self._parts.values()), said=said)

    def _left(self) -> str:
        """How long the rest takes, at the pace so far."""
        done = self._trained + sum(self._parts.values())
        rest = self._total - self._ended - sum(self._parts.values())
        if done < 0.2 or rest <= 0:  # too early to say
            return ""
        seconds = (time.time() - self._began) / done * rest
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"

    def _say(self, line: str) -> None:
        if self._bars is not None:
            self._bars.console.print(line, markup=False, highlight=False)
        else:
            click.echo(line, err=True)


def _values(values: Mapping[str, float | None]) -> str:
    return "  ".join(f"{name} {'nan' if value is None else f'{value:.3g}'}" for name, value in list(values.items())[:4])


class Partial:
    """The table of a study that is not finished: means and paired differences so far, which say nothing yet about chance."""

    def __init__(self, state: State) -> None:
        """Start without results."""
        self._metric, self._reference = state.metric, state.reference
        self._values: dict[str, dict[int, float]] = {name: {} for name in state.arms}
        self._failed = dict.fromkeys(state.arms, 0)

    def take(self, outcome: Outcome) -> None:
        """Take how a run ended."""
        run, record = outcome.run, outcome.record
        if record is None:
            self._failed[run.arm] += 1
        elif self._metric in record.metrics:
            self._values[run.arm][run.seed] = record.metrics[self._metric]

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Arm, mean, difference, number of seeds, failures; the largest differences first where there are many."""
        reference = self._values[self._reference]
        lines = []
        for arm, values in self._values.items():
            pairs = [value - reference[seed] for seed, value in values.items() if seed in reference]
            effect = sum(pairs) / len(pairs) if pairs and arm != self._reference else None
            mean = f"{sum(values.values()) / len(values):.1f}" if values else "-"
            failed = f"{self._failed[arm]} failed" if self._failed[arm] else ""
            said = "" if effect is None else f"{effect:+.1f}"
            lines.append((abs(effect or 0.0), (arm, mean, said, str(len(values)), failed)))
        if len(lines) > _ROWS:
            lines.sort(key=lambda line: -line[0])
        return [line for _, line in lines]

    def table(self) -> Table:
        """The same, to be shown."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("arm")
        for heading in (self._metric, "so far", "seeds"):
            table.add_column(heading, justify="right")
        table.add_column("")
        rows = self.rows()
        for row in rows[:_ROWS]:
            table.add_row(*map(Text, row))  # a name may hold what would be markup
        if len(rows) > _ROWS:
            table.add_row(f"and {len(rows) - _ROWS} more")
        return table
