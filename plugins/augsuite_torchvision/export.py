"""A policy as a pipeline of torchvision.transforms.v2: the steps that mean the same there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import torch
from torchvision.transforms import v2

from augsuite.augment import Policy, Step
from augsuite.augment.exporting import Call, RefusedError, Values, translate
from augsuite.augment.pipelines import Exported
from augsuite.augment.transforms import instance


def export(policy: Policy) -> Exported:
    """Make a live `v2.Compose`; its text is Python that makes it again."""
    calls, unknown = translate(policy, _calls, {"antialias": True})
    if any(name in _CUTTING for name, _ in _flat(calls)):
        calls.append(("ClampBoundingBoxes", {}))
    notes = []
    if policy.min_visible_frac or policy.min_size:
        notes.append(
            "boxes are cut to the image and none is dropped; v2.SanitizeBoundingBoxes drops by size, and nothing there by "
            "visible share"
        )
    lines = "".join(f"        {_written(call)},\n" for call in calls)
    imports = "import torch\n" * ("torch." in lines) + "from torchvision.transforms import v2\n\n"
    text = imports + (f"pipeline = v2.Compose(\n    [\n{lines}    ]\n)\n" if calls else "pipeline = v2.Identity()\n")
    pipeline = v2.Compose([_made(call) for call in calls]) if calls else v2.Identity()
    return Exported(pipeline, text, unknown, notes)


_CUTTING = {"CenterCrop", "RandomResizedCrop", "RandomRotation", "RandomAffine"}


def _flat(calls: list[Call]) -> list[Call]:
    return [
        inner
        for name, values in calls
        for inner in (values["transforms"] if name == "RandomApply" else [(name, values)])
    ]


def _made(call: Call) -> Any:
    name, values = call
    if name == "RandomApply":
        values = {**values, "transforms": [_made(inner) for inner in values["transforms"]]}
    return getattr(v2, name)(**values)


def _written(call: Call) -> str:
    name, values = call
    if name == "RandomApply":
        return f"v2.RandomApply([{', '.join(map(_written, values['transforms']))}], p={values['p']!r})"
    return f"v2.{name}({', '.join(f'{key}={_value(value)}' for key, value in values.items())})"


def _value(value: Any) -> str:
    return f"v2.InterpolationMode.{value.name}" if isinstance(value, v2.InterpolationMode) else repr(value)


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
}

_CHANCE = {"RandomHorizontalFlip", "RandomVerticalFlip", "RandomZoomOut", "RandomGrayscale"}

_WHY = {
    "crop": "RandomResizedCrop needs a resize right after it",
    "iou_crop": "RandomIoUCrop draws its options otherwise and keeps the boxes whose centre it cuts off",
    "letterbox": "there is no fit into a size with bars",
    "photometric": "RandomPhotometricDistort blends contrast with the mean grey, and permutes channels",
    "mixup": "MixUp works on batches and leaves boxes as they are",
}
