"""Declares the trainer `ssd`."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TrainerSpec


@hookimpl
def augsuite_trainers() -> Iterator[TrainerSpec]:
    """A single-shot detector, small enough for a CPU."""
    yield TrainerSpec(
        name="ssd",
        summary="multi-scale single-shot detector from scratch, about 1 M parameters",
        task="detection",
        metric="AP",
        config=Ref("augsuite_ssd.trainer:Config"),
        train=Ref("augsuite_ssd.trainer:train"),
    )
