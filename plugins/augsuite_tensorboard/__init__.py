"""Declares the tracker `tensorboard`."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TrackerSpec


@hookimpl
def augsuite_trackers() -> Iterator[TrackerSpec]:
    """Curves in TensorBoard."""
    yield TrackerSpec(
        "tensorboard",
        "event files in the run's folder, for TensorBoard",
        Ref("augsuite_tensorboard.tracker:open_tensorboard"),
        extra="tensorboard",
    )
