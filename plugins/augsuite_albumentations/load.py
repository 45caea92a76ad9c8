"""A pipeline of albumentations as a policy: geometric transforms become ours where they mean the same, the others stay guests."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from augsuite.augment.pipelines import Loaded
from augsuite.errors import ConfigError
from augsuite_albumentations import SUMMARIES, UNAVAILABLE, pixel
from augsuite_albumentations.pixel import one_line

albumentations = pixel.albumentations  # type: ignore[attr-defined]  # imported there, with its look for updates turned off

Values = Mapping[str, Any]
Steps = list[dict[str, Any]]

_LINEAR = {1: "INTER_LINEAR", 3: "INTER_AREA", 5: "INTER_LINEAR_EXACT"}
_NAMES = {0: "INTER_NEAREST", 2: "INTER_CUBIC", 4: "INTER_LANCZOS4", 6: "INTER_NEAREST_EXACT"}
_BORDERS = {1: "BORDER_REPLICATE", 2: "BORDER_REFLECT", 3: "BORDER_WRAP", 4: "BORDER_REFLECT_101"}
_INLINE = {"Compose", "ReplayCompose", "Sequential"}
_BROKEN = "__error__"
_NOTHING = {"NoOp", "ToTensorV2"}


class RefusedError(Exception):
    """Why one transform has no equivalent."""


def load(given: Any) -> Loaded:
    """Translate a live pipeline or transform, or what `to_dict` and `save` make of one.

    Raises:
        ConfigError: if it is none, or cannot be written as plain values.
    """
    saved = given if isinstance(given, Mapping) else _saved(given)
    root = saved.get("transform")
    if not isinstance(root, Mapping) or "__class_fullname__" not in root:
        raise ConfigError("not a pipeline that albumentations saved: 'transform' holds no '__class_fullname__'.")
    found = _Found()
    if _name(root) in _INLINE:
        steps = found.walk(root.get("transforms") or [], "transforms")
        steps = _together(steps, float(root.get("p", 1.0)), _name(root))
        settings = found.settings(root)
    else:
        steps, settings = found.walk([root], "transform"), {}
    return Loaded(steps, settings, found.unknown, found.notes, found.total)


def _saved(given: Any) -> Mapping[str, Any]:
    """A live pipeline as `to_dict` gives it; a transform that cannot be saved says why in its place."""
    return {"transform": msgspec.json.decode(msgspec.json.encode(_part(given)))}


def _part(given: Any) -> dict[str, Any]:
    try:
        saved: dict[str, Any] = given.to_dict()["transform"]
    except Exception as error:  # noqa: BLE001 - it raises what it likes for a transform that cannot be saved
        part = {"__class_fullname__": type(given).__name__, "p": given.p}
        if not isinstance(given, albumentations.BaseCompose):
            return {**part, _BROKEN: (str(error).splitlines() or [type(error).__name__])[0]}
        boxes = getattr(given, "processors", {}).get("bboxes")
        settings = {"bbox_params": boxes.params.to_dict_private()} if boxes else {}
        return {**part, **settings, "transforms": [_part(one) for one in given.transforms]}
    return saved


def _together(steps: Steps, chance: float, name: str) -> Steps:
    """Steps that one coin is thrown for."""
    if chance == 1 or not steps:
        return steps
    if len(steps) == 1 and "p" not in steps[0]:
        return [{**steps[0], "p": chance}]
    return [{"do": "sub_policies", "policies": {name: steps}, "p": chance}]


def _name(values: Values) -> str:
    return str(values.get("__class_fullname__", "")).rpartition(".")[2]


@dataclass
class _Found:
    """What there is to say so far."""

    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 0

    def walk(self, transforms: Sequence[Values], where: str) -> Steps:
        """Translate transforms; what has no equivalent is left out, and noted down."""
        steps: Steps = []
        for place, values in enumerate(transforms):
            name, at = _name(values), f"{where}[{place}]"
            if name in _INLINE:
                inner = self.walk(values.get("transforms") or [], f"{at}.transforms")
                steps += _together(inner, float(values.get("p", 1.0)), name)
            elif name in _CHOICES:
                steps += self._choice(name, values, at)
            else:
                self.total += 1
                try:
                    steps += self._translated(name, values, f"{at} ({name})")
                except RefusedError as refused:
                    self.unknown.append(f"{at} ({name}): {refused}")
        return steps

    def _choice(self, name: str, values: Values, where: str) -> Steps:
        """`OneOf`, whose options' p are weights; `OneOrOther`, whose p is the weight of the first."""
        inner = values.get("transforms") or []
        chance = float(values.get("p", 0.5))
        weights = [float(each.get("p", 0.5)) for each in inner]
        if name == "OneOrOther":
            weights, chance = [chance, 1 - chance], 1.0
        options = {}
        for place, (one, weight) in enumerate(zip(inner, weights, strict=False)):
            # Once chosen, an option happens; what is inside a chosen sequence keeps its own p.
            steps = self.walk([{**one, "p": 1.0}], f"{where}.transforms[{place}]")
            if weight:
                options[f"{place + 1} {_name(one)}"] = (steps, weight)
        if not options:
            return []
        weighted = {key: weight for key, (_, weight) in options.items()}
        step: dict[str, Any] = {"do": "sub_policies", "policies": {key: steps for key, (steps, _) in options.items()}}
        if len(set(weighted.values())) > 1:
            step["weights"] = weighted
        return [{**step, **({"p": chance} if chance != 1 else {})}]

    def _translated(self, name: str, values: Values, where: str) -> Steps:
        if _BROKEN in values:
            raise RefusedError(f"albumentations cannot save it: {values[_BROKEN].rstrip('.')}")
        if name in _WHY:
            raise RefusedError(_WHY[name])
        if name in _NOTHING:
            if name != "NoOp":
                self.notes.append(f"{where}: left out; a loader makes tensors of what a policy gives")
            return []
        full, own = _parameters(name, values)
        chance = float(values.get("p", full["p"]))
        if name in _EQUAL:
            if name == "CenterCrop":
                self.notes.append(f"{where}: where the margin is odd, it lies one pixel further right and down here")
            interpolation = full.get("interpolation", 1)
            if interpolation not in _LINEAR:
                self.notes.append(f"{where}: resamples linearly, not by {_NAMES.get(interpolation, interpolation)}")
            steps = _EQUAL[name](full)
            return _together(steps, chance, name)
        if name in UNAVAILABLE:
            raise RefusedError(UNAVAILABLE[name])
        if name in SUMMARIES:
            return [{"do": f"albumentations.{name}", **own, **({"p": chance} if chance != 1 else {})}]
        raise RefusedError("there is no such step")

    def settings(self, root: Values) -> dict[str, Any]:
        """What a `Compose` says of boxes, as a policy's settings."""
        for name in ("keypoint_params", "additional_targets"):
            if root.get(name):
                self.notes.append(f"{name}: left out; keypoints and masks belong to a sample here")
        given = root.get("bbox_params")
        if not given:
            return {}
        for name in ("min_area", "max_accept_ratio"):
            if given.get(name):
                self.unknown.append(f"bbox_params: {name} {given[name]:g}, and no rule here is about it")
        width, height = given.get("min_width", 0.0), given.get("min_height", 0.0)
        if width != height:
            self.unknown.append(
                f"bbox_params: min_width {width:g} and min_height {height:g} differ, min_size is one number"
            )
        if given.get("min_visibility"):
            self.notes.append("bbox_params: min_visibility is judged once, against the original area, not at each step")
        return {"min_visible_frac": float(given.get("min_visibility", 0.0)), "min_size": float(max(width, height))}


def _parameters(name: str, values: Values) -> tuple[dict[str, Any], dict[str, Any]]:
    """All parameters of a transform, and those that are not the default ones, as albumentations itself has them.

    Raises:
        RefusedError: if it does not take them.
    """
    kind = getattr(albumentations, name, None)
    if kind is None or not hasattr(kind, "get_transform_init_args"):
        raise RefusedError("albumentations 2.0.8 has no such transform")
    # What some transforms save, they do not take: the settings of the class that they are made of.
    known = inspect.signature(kind.__init__).parameters
    saved = _default(kind)
    surplus = {key for key in saved if key not in known} | {"__class_fullname__", "__name__"}
    given = {key: value for key, value in values.items() if key not in surplus}
    strict = {"strict": True} if "InitSchema" in vars(kind) else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it would warn of an unknown parameter and go on
            warnings.filterwarnings("ignore", "ShiftScaleRotate is a special case")
            full = _plain(kind(**_tuples(given), **strict))
    except Exception as error:  # the guest may raise anything
        raise RefusedError(one_line(error)) from error
    own = {key: value for key, value in full.items() if key not in {"p", *surplus} and value != saved.get(key)}
    return full, own


def _default(kind: type[Any]) -> dict[str, Any]:
    """What is saved of a transform with its defaults; nothing where it has none for something."""
    needed = [
        name
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if name != "self" and parameter.default is parameter.empty
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return {} if needed else _plain(kind())
        except ValueError:  # one of two must be given
            return {}


def _plain(transform: Any) -> dict[str, Any]:
    """What albumentations saves of a transform, as JSON gives it back."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(transform.to_dict()["transform"]))
    return plain


def _tuples(value: Any) -> Any:
    """Lists, which is what JSON has, as the tuples that albumentations checks for."""
    if isinstance(value, Mapping):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


# Transforms that mean the same


def _fill(values: Values) -> list[int]:
    fill = values.get("fill", 0)
    color = list(fill) if isinstance(fill, list | tuple) else [fill] * 3
    if len(color) != 3 or any(value != int(value) for value in color):
        raise RefusedError(f"fill {fill}, and a fill here is three whole numbers")
    return [int(value) for value in color]


def _constant(values: Values) -> None:
    mode = values.get("border_mode", 0)
    if mode:
        raise RefusedError(f"border_mode {_BORDERS.get(mode, mode)}, and what comes from outside has one colour here")


def _either_way(name: str, limits: Sequence[float]) -> float:
    low, high = (float(value) for value in limits)
    if low != -high:
        raise RefusedError(f"{name} from {low:g} to {high:g}, and here it is the same either way")
    return high + 0.0  # of -0.0 it makes 0.0


def _rotate(values: Values) -> Steps:
    _constant(values)
    if values["crop_border"]:
        raise RefusedError("crop_border, and the canvas keeps its size here")
    if values["rotate_method"] != "largest_box":
        raise RefusedError("rotate_method ellipse; say `box_from: ellipse` in the policy instead")
    return [{"do": "rotate", "max_deg": _either_way("limit", values["limit"]), "fill": _fill(values)}]


def _affine(values: Values) -> Steps:
    _constant(values)
    for name in ("fit_output", "balanced_scale"):
        if values.get(name):
            raise RefusedError(f"{name}, which has no equal here")
    scales, shears = values["scale"], values["shear"]
    if scales["x"] != scales["y"] or (not values["keep_ratio"] and scales["x"][0] != scales["x"][1]):
        raise RefusedError("it scales width and height apart; with keep_ratio=True it would be `affine`")
    pixels = values["translate_px"]
    if pixels is not None and any(value for axis in pixels.values() for value in axis):
        raise RefusedError("translate_px; a shift here is a share of the side: use translate_percent")
    shares = values["translate_percent"] or {"x": [0, 0], "y": [0, 0]}
    turn, shear = _either_way("rotate", values["rotate"]), _either_way("shear.x", shears["x"])
    if any(shears["y"]):
        raise RefusedError("shear along y")
    if turn and shear:
        raise RefusedError("it turns before it shears, and `affine` shears before it turns; use two transforms")
    return [
        {
            "do": "affine",
            "rotate_deg": turn,
            "translate_frac": [_either_way(f"translate_percent.{axis}", shares[axis]) for axis in ("x", "y")],
            "scale": scales["x"],
            "shear_deg": shear,
            "fill": _fill(values),
        }
    ]


def _shift_scale_rotate(values: Values) -> Steps:
    scale = [1 + float(value) for value in values["scale_limit"]]
    shares = {"x": values["shift_limit_x"], "y": values["shift_limit_y"]}
    # It is an Affine whose two scales are drawn apart.
    rest = {"rotate": values["rotate_limit"], "shear": {"x": [0, 0], "y": [0, 0]}, "keep_ratio": False}
    return _affine(
        {**values, **rest, "scale": {"x": scale, "y": scale}, "translate_percent": shares, "translate_px": None}
    )


def _center_crop(values: Values) -> Steps:
    if values["pad_if_needed"]:
        _constant(values)
        if values["pad_position"] != "center":
            raise RefusedError(f"pad_position {values['pad_position']}")
    return [{"do": "center_crop", "size": [values["width"], values["height"]], "fill": _fill(values)}]


def _side(do: str, values: Values) -> Steps:
    longest = values["max_size"]
    if values["max_size_hw"] is not None or longest is None:
        raise RefusedError("max_size_hw, and here one side has a length")
    step: dict[str, Any] = {"do": do, "sizes": longest if isinstance(longest, list) else [longest]}
    return [{**step, "most": None} if do == "resize_short" else step]


def _pad(values: Values) -> Steps:
    _constant(values)
    place = {"center": "center", "top_left": "corner", "random": "random"}.get(values["position"])
    if place is None:
        raise RefusedError(f"position {values['position']}")
    least = [values["min_width"], values["min_height"]]
    multiples = {values["pad_width_divisor"], values["pad_height_divisor"]}
    if len(multiples) > 1 or (None in least and any(least)):
        raise RefusedError("width and height have different rules")
    least = [1 if side is None else side for side in least]
    return [{"do": "pad", "least": least, "multiple": multiples.pop() or 1, "place": place, "fill": _fill(values)}]


def _resized_crop(values: Values) -> Steps:
    height, width = values["size"]
    return [
        {"do": "crop", "area_frac": values["scale"], "ratio": values["ratio"]},
        {"do": "resize", "size": [width, height]},
    ]


def _normalize(values: Values) -> Steps:
    if values["normalization"] != "standard" or values["max_pixel_value"] != 255:
        raise RefusedError("only the standard normalisation of values from 0 to 255 has an equal")
    mean, std = values["mean"], values["std"]
    if len(mean) != 3 or len(std) != 3:
        raise RefusedError("mean and std are three numbers each")
    return [{"do": "normalize", "mean": mean, "std": std}]


_EQUAL: Mapping[str, Callable[[Values], Steps]] = {
    "HorizontalFlip": lambda _: [{"do": "hflip"}],
    "VerticalFlip": lambda _: [{"do": "vflip"}],
    "Resize": lambda values: [{"do": "resize", "size": [values["width"], values["height"]]}],
    "RandomResizedCrop": _resized_crop,
    "Transpose": lambda _: [{"do": "transpose"}],
    "RandomRotate90": lambda _: [{"do": "rot90"}],
    "D4": lambda _: [{"do": "rot90"}, {"do": "hflip", "p": 0.5}],
    "SquareSymmetry": lambda _: [{"do": "rot90"}, {"do": "hflip", "p": 0.5}],
    "CenterCrop": _center_crop,
    "LongestMaxSize": lambda values: _side("resize_long", values),
    "SmallestMaxSize": lambda values: _side("resize_short", values),
    "PadIfNeeded": _pad,
    "Rotate": _rotate,
    "Affine": _affine,
    "ShiftScaleRotate": _shift_scale_rotate,
    "Normalize": _normalize,
}

_CHOICES = frozenset({"OneOf", "OneOrOther"})

_WHY: Mapping[str, str] = {
    "SomeOf": "several of some options are chosen at once, and here one is",
    "RandomOrder": "the order is drawn, and here it is fixed",
    "Mosaic": "its other images come with each call; the step mosaic takes them from the dataset",
    "Lambda": "a function cannot be written into a policy",
}
