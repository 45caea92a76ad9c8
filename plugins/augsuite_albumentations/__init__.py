"""albumentations' pixel transforms as steps of a policy, by the name `albumentations.<Name>`.

The names stand here as data, so that listing them imports nothing; a test holds them against the installed package.
"""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TransformSpec

SUMMARIES = {
    "AdditiveNoise": "Noise of a chosen distribution",
    "AdvancedBlur": "Generalised Gaussian blur with a random kernel",
    "AutoContrast": "Stretch the range of values",
    "Blur": "Box blur",
    "CLAHE": "Contrast-limited adaptive histogram equalisation",
    "ChannelDropout": "Drop channels",
    "ChannelShuffle": "Rearrange the channels",
    "ChromaticAberration": "Colour fringes of a lens",
    "ColorJitter": "Brightness, contrast, saturation and hue",
    "Defocus": "Blur of a lens out of focus",
    "Downscale": "Scale down and up again",
    "Emboss": "Emboss and overlay",
    "Equalize": "Equalise the histogram",
    "FancyPCA": "Shift colours along their principal components",
    "GaussNoise": "Gaussian noise",
    "GaussianBlur": "Gaussian blur",
    "GlassBlur": "View through structured glass",
    "HEStain": "Vary the H&E stain of a histology image",
    "HueSaturationValue": "Shift hue, saturation and value",
    "ISONoise": "Noise of a camera's sensor",
    "Illumination": "Uneven illumination",
    "ImageCompression": "Artefacts of JPEG or WebP",
    "InvertImg": "Negative",
    "MedianBlur": "Median blur",
    "MotionBlur": "Blur along a direction",
    "MultiplicativeNoise": "Multiply by noise",
    "PlanckianJitter": "Change the colour temperature of the light",
    "PlasmaBrightnessContrast": "Brightness and contrast along a plasma fractal",
    "PlasmaShadow": "Shadow in the shape of a plasma fractal",
    "Posterize": "Fewer bits for each channel",
    "RGBShift": "Shift each channel",
    "RandomBrightnessContrast": "Brightness and contrast",
    "RandomFog": "Fog",
    "RandomGamma": "Gamma correction",
    "RandomGravel": "Gravel",
    "RandomRain": "Rain",
    "RandomShadow": "Shadows",
    "RandomSnow": "Snow",
    "RandomSunFlare": "Sun flare",
    "RandomToneCurve": "Bend the tone curve",
    "RingingOvershoot": "Ringing at edges, by a 2D sinc filter",
    "SaltAndPepper": "Salt and pepper noise",
    "Sharpen": "Sharpen and overlay",
    "ShotNoise": "Photon noise",
    "Solarize": "Invert what is brighter than a threshold",
    "Spatter": "Rain or mud on the lens",
    "Superpixels": "Replace regions by their mean colour",
    "ToGray": "Grey, on three channels",
    "ToSepia": "Sepia",
    "UnsharpMask": "Sharpen by unsharp masking",
    "ZoomBlur": "Blur of zooming while exposing",
}

_REFERENCE = "it needs reference images, and a policy holds parameters only"
_FLOAT = "it works on float images, and a pixel step works on uint8; use the step normalize for float batches"
UNAVAILABLE = {
    "FDA": _REFERENCE,
    "FromFloat": _FLOAT,
    "HistogramMatching": _REFERENCE,
    "Normalize": _FLOAT,
    "PixelDistributionAdaptation": _REFERENCE,
    "TextImage": "it needs a text for each image, and a policy holds parameters only",
    "ToFloat": _FLOAT,
    "ToRGB": "it works on grey images, and a sample's image is RGB already",
}


@hookimpl
def augsuite_transforms() -> Iterator[TransformSpec]:
    """Every pixel transform of albumentations 2.0.8; those that no policy can use say why."""
    for name in sorted(SUMMARIES | UNAVAILABLE):
        reason = UNAVAILABLE.get(name, "")
        yield TransformSpec(
            name=f"albumentations.{name}",
            summary=f"not available: {reason}" if reason else SUMMARIES[name],
            kind="pixel",
            params=Ref(f"augsuite_albumentations.pixel:{name}"),
            source=f"albumentations 2.0.8, {name}",
            unavailable=reason,
        )
