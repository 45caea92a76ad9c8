"""Transforms that combine samples."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TransformSpec


@hookimpl
def augsuite_transforms() -> Iterator[TransformSpec]:
    """For image labels and for boxes."""
    yield TransformSpec(
        name="mixup",
        summary="blend two images; labels are shared out, boxes of both stay with a weight",
        kind="mix",
        params=Ref("augsuite_mix.mixup:Mixup"),
        source="Zhang et al. 2018, arXiv:1710.09412; for boxes Zhang et al. 2019, section 3.1, arXiv:1902.04103",
    )
    yield TransformSpec(
        name="mosaic",
        summary="lay several images side by side in a grid on one canvas",
        kind="mix",
        params=Ref("augsuite_mix.mosaic:Mosaic"),
        source="Bochkovskiy et al. 2020, section 3.4, arXiv:2004.10934; github.com/ultralytics/ultralytics, data/augment.py",
    )
    yield TransformSpec(
        name="cutmix",
        summary="paste a rectangle of another image; labels are shared out by area, boxes judged by what is seen",
        kind="mix",
        params=Ref("augsuite_mix.cutmix:Cutmix"),
        source="Yun et al. 2019, section 3.1, arXiv:1905.04899",
    )
    yield TransformSpec(
        name="copy_paste",
        summary="paste objects of another image along their masks; hidden objects are judged by what is left",
        kind="mix",
        params=Ref("augsuite_mix.copy_paste:CopyPaste"),
        source="Ghiasi et al. 2021, section 3, arXiv:2012.07177",
    )
