"""A policy as a pipeline of albumentations: the steps that mean the same there."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from augsuite.augment import Policy, Step
from augsuite.augment.exporting import Call, Option, RefusedError, Values, flat, translate
from augsuite.augment.pipelines import Exported
from augsuite.augment.steps import transforms_of
from augsuite.augment.transforms import declaration, instance
from augsuite_albumentations import pixel

albumentations = pixel.albumentations  # type: ignore[attr-defined]  # imported there, with its look for updates turned off


def export(policy: Policy) -> Exported:
    """Make a live `Compose` whose boxes are corners in pixels and whose labels are called `labels`."""
    calls, unknown = translate(policy, lambda step: [_call(step)], _one_of)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Got processor for bboxes, but no transform"
        )  # colours alone: boxes pass through
        pipeline = albumentations.Compose(
            list(map(_made, calls)),
            bbox_params=albumentations.BboxParams(
                format="pascal_voc",
                label_fields=["labels"],
                min_visibility=policy.min_visible_frac,
                min_width=policy.min_size,
                min_height=policy.min_size,
            ),
        )
    notes = []
    if sum(_moves(step) for step in policy.steps) > 1 and policy.min_visible_frac:
        notes.append("min_visible_frac is judged there at each step, against the step before")
    names = {name for name, _ in flat(calls)}
    if "CenterCrop" in names:
        notes.append("where the margin of center_crop is odd, it lies one pixel further left and up there")
    if "CoarseDropout" in names:
        notes.append(
            "holes of coarse_dropout are half a pixel smaller there, and boxes are cut to whole pixels, and where a whole side is hidden"
        )
    return Exported(pipeline, json.dumps(pipeline.to_dict(), indent=2) + "\n", unknown, notes)


def _moves(step: Step) -> int:
    """How many geometric transforms a step may stand for."""
    names = transforms_of([step])
    return sum(declaration(name).kind == "geometric" for name in names)


def _made(call: Call) -> Any:
    name, values = call
    if "transforms" in values:
        values = {**values, "transforms": list(map(_made, values["transforms"]))}
    return getattr(albumentations, name)(**values)


def _one_of(options: Sequence[Option], chance: float) -> Call:
    """There the p of an option is its weight, and once it is chosen it happens."""
    most = max(option.weight for option in options)
    chosen: list[Call] = []
    for option in options:
        weight = option.weight / most
        if len(option.calls) == 1 and option.calls[0][1].get("p", 1.0) == 1.0:
            name, values = option.calls[0]
            chosen.append((name, {**values, "p": weight}))
        else:
            chosen.append(("Sequential", {"transforms": option.calls, "p": weight}))
    return "OneOf", {"transforms": chosen, "p": chance}


def _call(step: Step) -> Call:
    if step.do.startswith("albumentations."):
        return step.do.partition(".")[2], {**_tuples(step.params), "p": step.p}
    if step.do not in _EQUAL:
        raise RefusedError(_WHY.get(step.do, "there is none"))
    values = msgspec.to_builtins(instance(step.do, step.params))
    name, translated = _EQUAL[step.do](values)
    if name == "Normalize" and step.p == 1:
        return name, translated
    return name, {**translated, "p": step.p}


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _either_way(largest: float) -> tuple[float, float]:
    return -largest, largest


def _affine(values: Values) -> Call:
    if values["rotate_deg"] and values["shear_deg"]:
        raise RefusedError("it shears before it turns, and Affine turns before it shears; use two steps")
    across, down = values["translate_frac"]
    scale = tuple(values["scale"])
    return "Affine", {
        "scale": {"x": scale, "y": scale},
        "keep_ratio": True,
        "translate_percent": {"x": _either_way(across), "y": _either_way(down)},
        "rotate": _either_way(values["rotate_deg"]),
        "shear": {"x": _either_way(values["shear_deg"]), "y": (0.0, 0.0)},
        "fill": tuple(values["fill"]),
    }


def _resize(values: Values) -> Call:
    width, height = values["size"]
    return "Resize", {"width": width, "height": height}


def _jitter(**ranges: Any) -> Call:
    hue = ranges.pop("hue_deg", (0.0, 0.0))
    parts = {"brightness": (1.0, 1.0), "contrast": (1.0, 1.0), "saturation": (1.0, 1.0)}
    return "ColorJitter", {**parts, **_tuples(ranges), "hue": tuple(value / 360 for value in hue)}


def _center_crop(values: Values) -> Call:
    width, height = values["size"]
    return "CenterCrop", {"width": width, "height": height, "pad_if_needed": True, "fill": tuple(values["fill"])}


def _rot90(values: Values) -> Call:
    if sorted(values["turns"]) != [0, 1, 2, 3]:
        raise RefusedError("RandomRotate90 draws among all quarter turns")
    return "RandomRotate90", {}


def _side(name: str, values: Values) -> Call:
    if values.get("most") is not None:
        raise RefusedError(f"{name} has no limit for the longer side; with `most: null` it would be the same")
    return name, {"max_size": list(values["sizes"])}


def _pad(values: Values) -> Call:
    (width, height), multiple = values["least"], values["multiple"]
    sides: dict[str, Any] = {"min_width": width, "min_height": height}
    if multiple != 1:
        if (width, height) != (1, 1):
            raise RefusedError("PadIfNeeded takes a least size or a multiple, not both")
        sides = {"min_width": None, "min_height": None, "pad_width_divisor": multiple, "pad_height_divisor": multiple}
    place = {"center": "center", "corner": "top_left", "random": "random"}[values["place"]]
    return "PadIfNeeded", {**sides, "position": place, "fill": tuple(values["fill"])}


def _coarse_dropout(values: Values) -> Call:
    heights, widths = tuple(values["height_frac"]), tuple(values["width_frac"])
    if max(*heights, *widths) >= 1:
        raise RefusedError("CoarseDropout takes a share of 1 for one pixel")
    fill = values["fill"]
    return "CoarseDropout", {
        "num_holes_range": tuple(values["holes"]),
        "hole_height_range": heights,
        "hole_width_range": widths,
        "fill": "random" if fill is None else tuple(fill),
    }


_EQUAL: Mapping[str, Callable[[Values], Call]] = {
    "transpose": lambda _: ("Transpose", {}),
    "rot90": _rot90,
    "center_crop": _center_crop,
    "resize_long": lambda values: _side("LongestMaxSize", values),
    "resize_short": lambda values: _side("SmallestMaxSize", values),
    "pad": _pad,
    "grayscale": lambda _: ("ToGray", {}),
    "hflip": lambda _: ("HorizontalFlip", {}),
    "vflip": lambda _: ("VerticalFlip", {}),
    "resize": _resize,
    "rotate": lambda values: ("Rotate", {"limit": _either_way(values["max_deg"]), "fill": tuple(values["fill"])}),
    "affine": _affine,
    "color_jitter": lambda values: _jitter(**values),
    "brightness": lambda values: _jitter(brightness=values["factor"]),
    "contrast": lambda values: _jitter(contrast=values["factor"]),
    "saturation": lambda values: _jitter(saturation=values["factor"]),
    "hue": lambda values: _jitter(hue_deg=values["hue_deg"]),
    "coarse_dropout": _coarse_dropout,
    "normalize": lambda values: ("Normalize", {"mean": tuple(values["mean"]), "std": tuple(values["std"])}),
}

_SPACE = "its operations are not all there"
_WHY = {
    "randaugment": _SPACE,
    "trivialaugment": _SPACE,
    "augmix": _SPACE,
    "random_erasing": "Erasing draws width / height uniformly, not in the logarithm",
    "perspective": "Perspective enlarges a part, and here the corners move inwards",
    "elastic": "ElasticTransform displaces every pixel by filtered noise, and here it is a spline",
    "grid_distortion": "GridDistortion shifts whole lines of its grid",
    "crop": "RandomResizedCrop needs a resize right after it",
    "expand": "there is no zooming out to a random place",
    "iou_crop": "there is no crop by the overlap with a box",
    "letterbox": "LongestMaxSize and PadIfNeeded round otherwise",
    "photometric": "there is no transform with that order of its parts",
    "mixup": "there is no blend of two images with weights for boxes",
}
