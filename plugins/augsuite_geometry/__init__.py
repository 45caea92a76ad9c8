"""Geometric transforms."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TransformSpec

_TORCHVISION = "torchvision.transforms.v2"


@hookimpl
def augsuite_transforms() -> Iterator[TransformSpec]:
    """What moves pixels and boxes; and the normalisation of a batch."""
    for name, summary, target, source in (
        ("hflip", "mirror left and right", "flips:HFlip", ""),
        ("vflip", "mirror top and bottom", "flips:VFlip", ""),
        ("crop", "cut out a random part", "crops:Crop", "Szegedy et al. 2015, section 6, arXiv:1409.4842"),
        (
            "iou_crop",
            "cut out a part that overlaps an object",
            "crops:IouCrop",
            "Liu et al. 2016, section 2.2, arXiv:1512.02325",
        ),
        (
            "expand",
            "place the image on a larger canvas",
            "canvas:Expand",
            "Liu et al. 2016, section 3.6, arXiv:1512.02325",
        ),
        ("resize", "stretch to a size", "canvas:Resize", ""),
        (
            "letterbox",
            "fit into a size, keeping the shape",
            "canvas:Letterbox",
            "github.com/ultralytics/yolov5, letterbox",
        ),
        ("rotate", "turn about the centre", "affine:Rotate", f"{_TORCHVISION}.RandomRotation"),
        ("affine", "turn, shift, scale and shear", "affine:Affine", f"{_TORCHVISION}.RandomAffine"),
    ):
        yield TransformSpec(name, summary, "geometric", Ref(f"augsuite_geometry.{target}"), source)
    yield TransformSpec(
        "normalize",
        "subtract a mean and divide by a deviation, a batch at a time",
        "batch",
        Ref("augsuite_geometry.normalize:Normalize"),
        f"{_TORCHVISION}.Normalize",
    )

