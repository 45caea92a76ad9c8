"""Geometric transforms."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TransformSpec

_TORCHVISION = "torchvision.transforms.v2"
_ALBUMENTATIONS = "albumentations"


@hookimpl
def augsuite_transforms() -> Iterator[TransformSpec]:
    """What moves pixels and boxes; and the normalisation of a batch."""
    for name, summary, target, source in (
        ("hflip", "mirror left and right", "flips:HFlip", ""),
        ("vflip", "mirror top and bottom", "flips:VFlip", ""),
        ("rot90", "turn by quarters", "flips:Rot90", "numpy.rot90"),
        ("transpose", "mirror about the diagonal", "flips:Transpose", ""),
        ("crop", "cut out a random part", "crops:Crop", "Szegedy et al. 2015, section 6, arXiv:1409.4842"),
        ("center_crop", "cut a size out of the centre", "crops:CenterCrop", f"{_TORCHVISION}.CenterCrop"),
        (
            "safe_crop",
            "cut out a part that holds every box whole",
            "crops:SafeCrop",
            f"{_ALBUMENTATIONS}.BBoxSafeRandomCrop",
        ),
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
        ("pad", "make the canvas large enough", "canvas:Pad", f"{_ALBUMENTATIONS}.PadIfNeeded"),
        ("resize", "stretch to a size", "canvas:Resize", ""),
        (
            "resize_short",
            "bring the shorter side to a length, keeping the shape",
            "scaling:ResizeShort",
            f"{_TORCHVISION}.RandomShortestSize",
        ),
        ("resize_long", "bring the longer side to a length, keeping the shape", "scaling:ResizeLong", ""),
        (
            "scale_jitter",
            "a random scale, cut or filled to a size",
            "scaling:ScaleJitter",
            "Ghiasi et al. 2021, section 3, arXiv:2012.07177",
        ),
        (
            "letterbox",
            "fit into a size, keeping the shape",
            "canvas:Letterbox",
            "github.com/ultralytics/yolov5, letterbox",
        ),
        ("rotate", "turn about the centre", "affine:Rotate", f"{_TORCHVISION}.RandomRotation"),
        ("shear", "shear about the centre", "affine:Shear", f"{_TORCHVISION}.RandomAffine"),
        ("translate", "shift by whole pixels", "affine:Translate", f"{_TORCHVISION}.RandomAffine"),
        ("affine", "turn, shift, scale and shear", "affine:Affine", f"{_TORCHVISION}.RandomAffine"),
        ("perspective", "look from another place", "bends:Perspective", f"{_TORCHVISION}.RandomPerspective"),
        (
            "elastic",
            "displace smoothly, as a rubber sheet",
            "bends:Elastic",
            "Simard et al. 2003, section 2, doi:10.1109/ICDAR.2003.1227801",
        ),
        (
            "grid_distortion",
            "displace the corners of a grid",
            "bends:GridDistortion",
            f"{_ALBUMENTATIONS}.GridDistortion",
        ),
    ):
        yield TransformSpec(name, summary, "geometric", Ref(f"augsuite_geometry.{target}"), source)
    yield TransformSpec(
        "normalize",
        "subtract a mean and divide by a deviation, a batch at a time",
        "batch",
        Ref("augsuite_geometry.normalize:Normalize"),
        f"{_TORCHVISION}.Normalize",
    )
