"""The bundled policies, each after the paper or the code that it cites. The size of the result is the trainer's, where it says none."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import PolicySpec

_HFLIP = {"do": "hflip", "p": 0.5}


@hookimpl
def augsuite_policies() -> Iterator[PolicySpec]:
    """For classifying and for detecting."""
    yield PolicySpec("none", "no augmentation", ())
    yield PolicySpec("flip", "mirror every second image", (_HFLIP,))
    yield PolicySpec(
        "d2l",
        "mirror, crop, colour jitter",
        (
            _HFLIP,
            {"do": "crop", "area_frac": [0.08, 1.0], "ratio": [0.75, 4 / 3]},
            {
                "do": "color_jitter",
                "brightness": [0.5, 1.5],
                "contrast": [0.5, 1.5],
                "saturation": [0.5, 1.5],
                "hue_deg": [-180.0, 180.0],
            },
        ),
        "Zhang et al., Dive into Deep Learning, sections 14.1 (mirror, colour) and 14.2 (crop), d2l.ai",
    )
    yield PolicySpec(
        "ssd",
        "colour, zoom out, crop around objects, mirror",
        (
            {"do": "photometric"},
            {"do": "expand", "p": 0.5},
            {"do": "iou_crop"},
            _HFLIP,
        ),
        "Liu et al. 2016, SSD, section 2.2 and 3.6, arXiv:1512.02325; order of github.com/weiliu89/caffe, ssd_pascal.py",
    )
    yield PolicySpec(
        "ssdlite",
        "crop around objects, mirror",
        ({"do": "iou_crop"}, _HFLIP),
        "torchvision, references/detection/presets.py, ssdlite",
    )
    yield PolicySpec(
        "yolo",
        "mosaic of four, scale and shift, the middle 640, colour, mirror",
        (
            # Twice the result, since a scale of 0.5 shows all of it; and so a shift is half as large a share of it.
            {"do": "mosaic", "size": [1280, 1280]},
            {
                "do": "affine",
                "rotate_deg": 0.0,
                "translate_frac": [0.05, 0.05],
                "scale": [0.5, 1.5],
                "shear_deg": 0.0,
                "fill": [114, 114, 114],
            },
            {"do": "center_crop", "size": [640, 640], "fill": [114, 114, 114]},
            {"do": "hsv"},
            _HFLIP,
        ),
        "Bochkovskiy et al. 2020, YOLOv4, section 3.4, arXiv:2004.10934; values and order of github.com/ultralytics/ultralytics, "
        "cfg/default.yaml and data/augment.py",
    )
    yield PolicySpec(
        "imagenet",
        "crop to 224, colour jitter, light, mirror",
        (
            {"do": "crop", "area_frac": [0.08, 1.0], "ratio": [0.75, 4 / 3]},
            {"do": "resize", "size": [224, 224]},
            {"do": "color_jitter", "hue_deg": [0.0, 0.0]},
            {"do": "pca_lighting", "std": 0.1},
            _HFLIP,
        ),
        "Szegedy et al. 2015, section 6, arXiv:1409.4842; Krizhevsky et al. 2012, section 4.1; values and order of "
        "github.com/facebookarchive/fb.resnet.torch, datasets/imagenet.lua",
    )
    yield PolicySpec(
        "trivialaugment",
        "crop to 224, mirror, one random operation",
        (
            {"do": "crop", "area_frac": [0.08, 1.0], "ratio": [0.75, 4 / 3]},
            {"do": "resize", "size": [224, 224]},
            _HFLIP,
            {"do": "trivialaugment"},
        ),
        "Müller and Hutter 2021, TrivialAugment, section 4.1, arXiv:2103.10158",
    )
