"""The tracker that needs nothing: one JSON line per step, in the run's own folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


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
