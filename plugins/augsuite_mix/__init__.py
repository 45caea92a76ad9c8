"""Transforms that combine samples."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TransformSpec


@hookimpl
def augsuite_transforms() -> Iterator[TransformSpec]:
    """Mixup, for image labels and for boxes."""
    yield TransformSpec(
        name="mixup",
        summary="blend two images; labels are shared out, boxes of both stay with a weight",
        kind="mix",
        params=Ref("augsuite_mix.mixup:Mixup"),
        source="Zhang et al. 2018, arXiv:1710.09412; for boxes Zhang et al. 2019, section 3.1, arXiv:1902.04103",
    )
