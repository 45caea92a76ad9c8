"""Declares the trainer `ssd`."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TrainerSpec


@hookimpl
def augsuite_trainers() -> Iterator[TrainerSpec]:
    """Single-shot detectors, from one that a CPU trains in half a minute to those of torchvision."""
    yield TrainerSpec(
        name="ssd",
        summary="single-shot detector: TinySSD from scratch, SSD300, SSD512, SSDLite320, or on any classifier",
        task="detection",
        metric="AP",
        config=Ref("augsuite_ssd.settings:Config"),
        train=Ref("augsuite_ssd.trainer:train"),
        predictor=Ref("augsuite_ssd.predictor:load_predictor"),
        network=Ref("augsuite_ssd.predictor:build_network"),
    )
