"""Colour transforms: SSD's photometric distortion, colour jitter, and its parts one by one."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TransformSpec

_TORCHVISION = "torchvision.transforms.v2.functional.adjust_{}"


@hookimpl
def augsuite_transforms() -> Iterator[TransformSpec]:
    """The transforms of this plugin."""
    yield TransformSpec(
        name="photometric",
        summary="SSD's photometric distortion: brightness, contrast, saturation and hue, each half of the time",
        kind="pixel",
        params=Ref("augsuite_color.photometric:Photometric"),
        source="Liu et al. 2016, SSD, section 3.2, arXiv:1512.02325, and the Caffe code it names (src/caffe/util/im_transforms.cpp)",
    )
    yield TransformSpec(
        name="color_jitter",
        summary="brightness, contrast, saturation and hue in a random order",
        kind="pixel",
        params=Ref("augsuite_color.jitter:ColorJitter"),
        source="torchvision.transforms.v2.ColorJitter",
    )
    for name, summary in (
        ("brightness", "multiply all values by a random factor"),
        ("contrast", "pull values towards the image's mean grey, or push them away from it"),
        ("saturation", "blend each pixel with its own grey"),
        ("hue", "turn the hue of every pixel by one random angle"),
    ):
        yield TransformSpec(
            name=name,
            summary=summary,
            kind="pixel",
            params=Ref(f"augsuite_color.jitter:{name.capitalize()}"),
            source=_TORCHVISION.format(name),
        )
