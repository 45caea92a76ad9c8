"""Geometric transforms, and the policies that are made of them."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import PolicySpec, Ref, TransformSpec

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


@hookimpl
def augsuite_policies() -> Iterator[PolicySpec]:
    """The reference, the least, and the one of a paper."""
    yield PolicySpec("none", "no augmentation", ())
    yield PolicySpec("flip", "mirror every second image", ({"do": "hflip", "p": 0.5},))
    yield PolicySpec(
        "ssd",
        "colour, zoom out, crop around objects, mirror",
        (
            {"do": "photometric"},
            {"do": "expand", "p": 0.5},
            {"do": "iou_crop"},
            {"do": "hflip", "p": 0.5},
        ),
        "Liu et al. 2016, SSD, section 2.2 and 3.6, arXiv:1512.02325; order of github.com/weiliu89/caffe, ssd_pascal.py",
    )
