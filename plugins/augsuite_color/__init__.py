"""Pixel transforms: colour, levels, detail; and erasing."""

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
    for name, summary, target, source in (
        (
            "hsv",
            "hue, saturation and value",
            "jitter:Hsv",
            "github.com/ultralytics/ultralytics, data/augment.py, RandomHSV",
        ),
        ("grayscale", "take the colour away", "levels:Grayscale", "ITU-R BT.601"),
        ("posterize", "keep the highest bits of each value", "levels:Posterize", "Pillow, ImageOps.posterize"),
        ("solarize", "invert what is bright", "levels:Solarize", "Pillow, ImageOps.solarize"),
        ("gamma", "raise all values to a random power", "levels:Gamma", _TORCHVISION.format("gamma")),
        (
            "pca_lighting",
            "add a colour along ImageNet's principal components",
            "levels:PcaLighting",
            "Krizhevsky et al. 2012, section 4.1",
        ),
        ("autocontrast", "stretch each channel to 0..255", "levels:Autocontrast", "Pillow, ImageOps.autocontrast"),
        ("equalize", "even out the histogram of each channel", "levels:Equalize", "Pillow, ImageOps.equalize"),
        (
            "sharpness",
            "blend with a smooth version, or away from it",
            "detail:Sharpness",
            _TORCHVISION.format("sharpness"),
        ),
        ("blur", "Gaussian blur", "detail:Blur", "torchvision.transforms.v2.GaussianBlur"),
        ("gaussian_noise", "add normal noise", "detail:GaussianNoise", "torchvision.transforms.v2.GaussianNoise"),
        ("jpeg_quality", "compress as JPEG and read again", "detail:JpegQuality", "torchvision.transforms.v2.JPEG"),
    ):
        yield TransformSpec(name, summary, "pixel", Ref(f"augsuite_color.{target}"), source)
    for name, summary, target, source in (
        (
            "random_erasing",
            "hide one rectangle of random area and shape",
            "RandomErasing",
            "Zhong et al. 2020, arXiv:1708.04896",
        ),
        ("cutout", "hide one square", "Cutout", "DeVries and Taylor 2017, arXiv:1708.04552"),
        ("coarse_dropout", "hide several rectangles", "CoarseDropout", "albumentations 2.0.8, CoarseDropout"),
    ):
        yield TransformSpec(name, summary, "erase", Ref(f"augsuite_color.erase:{target}"), source)
