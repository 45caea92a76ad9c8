"""Declares the tracker `wandb`."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TrackerSpec


@hookimpl
def augsuite_trackers() -> Iterator[TrackerSpec]:
    """Curves in Weights & Biases."""
    yield TrackerSpec(
        "wandb",
        "Weights & Biases, offline unless WANDB_MODE says otherwise",
        Ref("augsuite_wandb.tracker:open_wandb"),
        extra="wandb",
    )
