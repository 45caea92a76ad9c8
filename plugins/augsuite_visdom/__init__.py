"""Declares the tracker `visdom`."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TrackerSpec


@hookimpl
def augsuite_trackers() -> Iterator[TrackerSpec]:
    """Curves in Visdom."""
    yield TrackerSpec(
        "visdom", "windows of a Visdom server", Ref("augsuite_visdom.tracker:open_visdom"), extra="visdom"
    )
