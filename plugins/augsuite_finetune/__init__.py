"""Declares the trainer `finetune`."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TrainerSpec


@hookimpl
def augsuite_trainers() -> Iterator[TrainerSpec]:
    """A classifier with a new head."""
    yield TrainerSpec(
        name="finetune",
        summary="classifier of torchvision or timm with a new head, in phases",
        task="classification",
        metric="top1",
        config=Ref("augsuite_finetune.settings:Config"),
        train=Ref("augsuite_finetune.trainer:train"),
        predictor=Ref("augsuite_finetune.predictor:load_predictor"),
        network=Ref("augsuite_finetune.trainer:build_network"),
    )
