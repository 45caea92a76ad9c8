"""Policies as pipelines of torchvision.transforms.v2."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import PipelineSpec, Ref


@hookimpl
def augsuite_pipelines() -> Iterator[PipelineSpec]:
    """To torchvision only: its transforms hold functions and tensors, which no policy can."""
    yield PipelineSpec(
        name="torchvision",
        summary="torchvision.transforms.v2: a Compose, as Python",
        export=Ref("augsuite_torchvision.export:export"),
    )
