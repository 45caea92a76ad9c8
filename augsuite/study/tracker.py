"""The trackers of a run, told the same; and the one that needs nothing: one JSON line per step, in the run's own folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from augsuite import registry
from augsuite.dataset.images import Image
from augsuite.protocols import TakesImages, TakesRun, Tracker
from augsuite.spec import TrackerSpec


class Trackers:
    """What takes the curves of one run; a context manager.

    A tracker that fails once it is open, because its server went away, is left out from there on, with a warning: hours of training
    are worth more than a curve.
    """

    def __init__(self, specs: Sequence[TrackerSpec], folder: Path, run: Mapping[str, Any]) -> None:
        """Open all, or none.

        Args:
            specs: the trackers.
            folder: of the run.
            run: what it was asked for.

        Raises:
            ConfigError: if one cannot be reached.
            MissingExtraError: if its package is not installed.
        """
        opens = [(spec.name, registry.load(spec.open, f"tracker {spec.name}", spec.extra)) for spec in specs]
        self._sinks: dict[str, Tracker] = {}
        try:
            for name, open_tracker in opens:
                self._sinks[name] = open_tracker(folder)
        except BaseException:
            self._close()
            raise
        self._tell(TakesRun, lambda sink: sink.start(run))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Pass on the values of a step."""
        plain = {name: float(value) for name, value in values.items()}
        self._tell(Tracker, lambda sink: sink.log(step, plain))

    def image(self, name: str, image: Image, step: int) -> None:
        """Pass on a `(H, W, 3)` uint8 picture to those that take pictures."""
        self._tell(TakesImages, lambda sink: sink.image(name, image, step))

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Pass on the metrics of the run, which is complete."""
        self._tell(TakesRun, lambda sink: sink.finish(metrics))

    def _tell(self, kind: type, say: Callable[[Any], None]) -> None:
        for name, sink in list(self._sinks.items()):
            if kind is not Tracker and not isinstance(sink, kind):
                continue
            try:
                say(sink)
            except Exception as error:  # noqa: BLE001 - each service has errors of its own
                del self._sinks[name]
                warnings.warn(
                    f"tracker {name} is left out from here on: {registry.one_line(error)}", RuntimeWarning, stacklevel=2
                )

    def _close(self) -> None:
        self._tell(Tracker, lambda sink: sink.close())


class FilesTracker:
    """Appends `{"step": 3, "loss": 1.25}` lines to a file; each line is on disk before `log` returns."""

    def __init__(self, path: Path) -> None:
        """Start the file anew: a run that starts again starts its curves again."""
        self._file = path.open("wb", buffering=0)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line."""
        self._file.write(msgspec.json.encode({"step": step, **values}) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_files(folder: Path) -> FilesTracker:
    """Open `metrics.jsonl` in a run's folder."""
    return FilesTracker(folder / "metrics.jsonl")
