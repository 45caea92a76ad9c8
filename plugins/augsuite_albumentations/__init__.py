"""albumentations' pixel transforms as steps of a policy, by the name `albumentations.<Name>`.

The names stand here as data, so that listing them imports nothing; a test holds them against the installed package.
"""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import PipelineSpec, Ref, TransformSpec

SUMMARIES = {
    "AdditiveNoise": "noise of a chosen distribution",
    "AdvancedBlur": "generalised Gaussian blur with a random kernel",
    "AutoContrast": "stretch the range of values",
    "Blur": "box blur",
    "CLAHE": "contrast-limited adaptive histogram equalisation",
    "ChannelDropout": "drop channels",
    "ChannelShuffle": "rearrange the channels",
    "ChromaticAberration": "colour fringes of a lens",
    "ColorJitter": "brightness, contrast, saturation and hue",
    "Defocus": "blur of a lens out of focus",
    "Downscale": "scale down and up again",
    "Emboss": "emboss and overlay",
    "Equalize": "equalise the histogram",
    "FancyPCA": "shift colours along their principal components",
    "GaussNoise": "Gaussian noise",
    "GaussianBlur": "Gaussian blur",
    "GlassBlur": "view through structured glass",
    "HEStain": "vary the H&E stain of a histology image",
    "HueSaturationValue": "shift hue, saturation and value",
    "ISONoise": "noise of a camera's sensor",
    "Illumination": "uneven illumination",
    "ImageCompression": "artefacts of JPEG or WebP",
    "InvertImg": "negative",
    "MedianBlur": "median blur",
    "MotionBlur": "blur along a direction",
    "MultiplicativeNoise": "multiply by noise",
    "PlanckianJitter": "change the colour temperature of the light",
    "PlasmaBrightnessContrast": "brightness and contrast along a plasma fractal",
    "PlasmaShadow": "shadow in the shape of a plasma fractal",
    "Posterize": "fewer bits for each channel",
    "RGBShift": "shift each channel",
    "RandomBrightnessContrast": "brightness and contrast",
    "RandomFog": "fog",
    "RandomGamma": "gamma correction",
    "RandomGravel": "gravel",
    "RandomRain": "rain",
    "RandomShadow": "shadows",
    "RandomSnow": "snow",
    "RandomSunFlare": "sun flare",
    "RandomToneCurve": "bend the tone curve",
    "RingingOvershoot": "ringing at edges, by a 2D sinc filter",
    "SaltAndPepper": "salt and pepper noise",
    "Sharpen": "sharpen and overlay",
    "ShotNoise": "photon noise",
    "Solarize": "invert what is brighter than a threshold",
    "Spatter": "rain or mud on the lens",
    "Superpixels": "replace regions by their mean colour",
    "ToGray": "grey, on three channels",
    "ToSepia": "sepia",
    "UnsharpMask": "sharpen by unsharp masking",
    "ZoomBlur": "blur of zooming while exposing",
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


@hookimpl
def augsuite_pipelines() -> Iterator[PipelineSpec]:
    """Pipelines of albumentations, live or saved."""
    yield PipelineSpec(
        name="albumentations",
        summary="albumentations 2.0.8: Compose, live or as its to_dict and save have it",
        marks=frozenset({"__version__", "transform"}),
        load=Ref("augsuite_albumentations.load:load"),
        export=Ref("augsuite_albumentations.export:export"),
    )
