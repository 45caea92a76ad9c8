"""Declares the trainer `finetune`."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TrainerSpec


@hookimpl
def augsuite_trainers() -> Iterator[TrainerSpec]:
    """A torchvision classifier with a new head."""
    yield TrainerSpec(
        name="finetune",
        summary="torchvision classifier with a new head",
        task="classification",
        metric="top1",
        config=Ref("augsuite_finetune.trainer:Config"),
        train=Ref("augsuite_finetune.trainer:train"),
    )
