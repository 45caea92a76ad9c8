"""A policy as a pipeline of torchvision.transforms.v2: the steps that mean the same there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import torch
from torchvision.transforms import v2

from augsuite.augment import Policy, Step
from augsuite.augment.exporting import Call, Option, RefusedError, Values, flat, translate
from augsuite.augment.pipelines import Exported
from augsuite.augment.transforms import instance


def export(policy: Policy) -> Exported:
    """Make a live `v2.Compose`; its text is Python that makes it again."""
    calls, unknown = translate(policy, _calls, _one_of, {"antialias": True})
    names = {name for name, _ in flat(calls)}
    if names & _CUTTING:
        calls.append(("ClampBoundingBoxes", {}))
    notes = []
    if policy.min_visible_frac or policy.min_size:
        notes.append(
            "boxes are cut to the image and none is dropped; v2.SanitizeBoundingBoxes drops by size, and nothing there by "
            "visible share"
        )
    if names & _NO_BOXES:
        notes.append(f"{' and '.join(sorted(names & _NO_BOXES))} refuse boxes there: for classifying alone")
    if "RandomErasing" in names:
        notes.append("RandomErasing leaves boxes as they are, however much of one it hides")
    lines = "".join(f"        {_written(call)},\n" for call in calls)
    imports = "import torch\n" * ("torch." in lines) + "from torchvision.transforms import v2\n\n"
    text = imports + (f"pipeline = v2.Compose(\n    [\n{lines}    ]\n)\n" if calls else "pipeline = v2.Identity()\n")
    pipeline = v2.Compose([_made(call) for call in calls]) if calls else v2.Identity()
    return Exported(pipeline, text, unknown, notes)


_CUTTING = {"CenterCrop", "RandomPerspective", "RandomResizedCrop", "RandomRotation", "RandomAffine"}


def _made(call: Call) -> Any:
    name, values = call
    if "transforms" in values:
        values = {**values, "transforms": list(map(_made, values["transforms"]))}
    return getattr(v2, name)(**values)


def _written(call: Call) -> str:
    name, values = call
    return f"v2.{name}({', '.join(f'{key}={_value(key, value)}' for key, value in values.items())})"


def _value(key: str, value: Any) -> str:
    if key == "transforms":
        return f"[{', '.join(map(_written, value))}]"
    return f"v2.InterpolationMode.{value.name}" if isinstance(value, v2.InterpolationMode) else repr(value)


def _one_of(options: Sequence[Option], chance: float) -> Call:
    chosen: list[Call] = []
    for option in options:
        if len(option.calls) == 1:
            chosen += option.calls
        else:
            chosen.append(("Compose", {"transforms": option.calls}) if option.calls else ("Identity", {}))
    choice: Call = ("RandomChoice", {"transforms": chosen, "p": [option.weight for option in options]})
    return choice if chance == 1 else ("RandomApply", {"transforms": [choice], "p": chance})


def _calls(step: Step) -> list[Call]:
    if step.do not in _EQUAL:
        raise RefusedError(_WHY.get(step.do, "there is none"))
    calls = _EQUAL[step.do](msgspec.to_builtins(instance(step.do, step.params)))
    if step.p == 1 and calls[0][0] not in _CHANCE:
        return calls
    if len(calls) == 1 and calls[0][0] in _CHANCE:
        return [(calls[0][0], {**calls[0][1], "p": step.p})]
    if step.do == "normalize":
        raise RefusedError(f"it changes the type of the image, and with p {step.p:g} only of some")
    return [("RandomApply", {"transforms": calls, "p": step.p})]


def _affine(values: Values) -> list[Call]:
    return [
        (
            "RandomAffine",
            {
                "degrees": values["rotate_deg"],
                "translate": tuple(values["translate_frac"]),
                "scale": tuple(values["scale"]),
                "shear": values["shear_deg"],
                "interpolation": v2.InterpolationMode.BILINEAR,
                "fill": list(values["fill"]),
            },
        )
    ]


def _center_crop(values: Values) -> list[Call]:
    if any(values["fill"]):
        raise RefusedError("CenterCrop fills with black")
    return [("CenterCrop", {"size": values["size"][::-1]})]


def _jitter(**ranges: Any) -> list[Call]:
    hue = ranges.pop("hue_deg", None)
    given: dict[str, Any] = {key: tuple(value) for key, value in ranges.items()}
    if hue is not None:
        given["hue"] = tuple(value / 360 for value in hue)
    return [("ColorJitter", given)]


def _normalize(values: Values) -> list[Call]:
    return [
        ("ToDtype", {"dtype": torch.float32, "scale": True}),
        ("Normalize", {"mean": list(values["mean"]), "std": list(values["std"])}),
    ]


def _space(name: str, values: Values, **further: Any) -> list[Call]:
    if values["without"]:
        raise RefusedError(f"{name} has all operations; with `without: []` it would be the same")
    return [
        (
            name,
            {
                **further,
                "num_magnitude_bins": 31,
                "interpolation": v2.InterpolationMode.BILINEAR,
                "fill": list(values["fill"]),
            },
        )
    ]


def _randaugment(values: Values) -> list[Call]:
    magnitude = values["magnitude"]
    if magnitude != int(magnitude):
        raise RefusedError(f"magnitude {magnitude:g}, and RandAugment takes whole ones")
    return _space("RandAugment", values, num_ops=values["ops"], magnitude=int(magnitude))


def _erasing(values: Values) -> list[Call]:
    if values["fill"] is None:
        raise RefusedError(
            "RandomErasing fills with normal noise, which bytes cannot hold; with a colour it would be the same"
        )
    return [
        (
            "RandomErasing",
            {"scale": tuple(values["area_frac"]), "ratio": tuple(values["ratio"]), "value": list(values["fill"])},
        )
    ]


_EQUAL: Mapping[str, Callable[[Values], list[Call]]] = {
    "hflip": lambda _: [("RandomHorizontalFlip", {})],
    "vflip": lambda _: [("RandomVerticalFlip", {})],
    "resize": lambda values: [("Resize", {"size": values["size"][::-1], "antialias": True})],
    "expand": lambda values: [
        ("RandomZoomOut", {"fill": list(values["fill"]), "side_range": (1.0, values["max_ratio"])})
    ],
    "rotate": lambda values: [
        (
            "RandomRotation",
            {
                "degrees": values["max_deg"],
                "interpolation": v2.InterpolationMode.BILINEAR,
                "fill": list(values["fill"]),
            },
        )
    ],
    "affine": _affine,
    "grayscale": lambda _: [("RandomGrayscale", {})],
    "center_crop": _center_crop,
    "color_jitter": lambda values: _jitter(**values),
    "brightness": lambda values: _jitter(brightness=values["factor"]),
    "contrast": lambda values: _jitter(contrast=values["factor"]),
    "saturation": lambda values: _jitter(saturation=values["factor"]),
    "hue": lambda values: _jitter(hue_deg=values["hue_deg"]),
    "normalize": _normalize,
    "perspective": lambda values: [
        (
            "RandomPerspective",
            {
                "distortion_scale": 2 * values["shift_frac"],
                "interpolation": v2.InterpolationMode.BILINEAR,
                "fill": list(values["fill"]),
            },
        )
    ],
    "randaugment": _randaugment,
    "trivialaugment": lambda values: _space("TrivialAugmentWide", values),
    "random_erasing": _erasing,
}

_CHANCE = {
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "RandomZoomOut",
    "RandomGrayscale",
    "RandomErasing",
    "RandomPerspective",
}

_NO_BOXES = {"RandAugment", "TrivialAugmentWide"}

_WHY = {
    "augmix": "AugMix draws magnitudes among whole levels, and here they are any in between",
    "coarse_dropout": "RandomErasing erases one rectangle, by area and shape",
    "elastic": "ElasticTransform displaces every pixel by filtered noise, and here it is a spline",
    "crop": "RandomResizedCrop needs a resize right after it",
    "iou_crop": "RandomIoUCrop draws its options otherwise and keeps the boxes whose centre it cuts off",
    "letterbox": "there is no fit into a size with bars",
    "photometric": "RandomPhotometricDistort blends contrast with the mean grey, and permutes channels",
    "mixup": "MixUp works on batches and leaves boxes as they are",
}
