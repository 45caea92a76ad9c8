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
        found.walk(root.get("transforms") or [], "transforms")
        if root.get("p", 1.0) != 1:
            found.unknown.append(f"{_name(root)}: it happens with p {root['p']:g} as a whole")
        settings = found.settings(root)
    else:
        found.walk([root], "transform")
        settings = {}
    return Loaded(found.steps, settings, found.unknown, found.notes, found.total)


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


def _name(values: Values) -> str:
    return str(values.get("__class_fullname__", "")).rpartition(".")[2]


@dataclass
class _Found:
    """What was translated so far."""

    steps: Steps = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 0

    def walk(self, transforms: Sequence[Values], where: str) -> None:
        """Translate transforms, those of nested sequences in their place."""
        for place, values in enumerate(transforms):
            name, at = _name(values), f"{where}[{place}]"
            inner = values.get("transforms") or []
            if name in _INLINE and values.get("p", 1.0) == 1:
                self.walk(inner, f"{at}.transforms")
                continue
            self.total += 1
            try:
                self.steps += self._translated(name, values, f"{at} ({name})")
            except RefusedError as refused:
                self.unknown.append(f"{at} ({name}): {refused}")

    def _translated(self, name: str, values: Values, where: str) -> Steps:
        if name in _INLINE or name in _CHOICES:
            return [_choice(self, name, values, where)]
        if _BROKEN in values:
            raise RefusedError(f"albumentations cannot save it: {values[_BROKEN].rstrip('.')}")
        if name in _NOTHING:
            if name != "NoOp":
                self.notes.append(f"{where}: left out; a loader makes tensors of what a policy gives")
            return []
        full, own = _parameters(name, values)
        chance = float(values.get("p", full["p"]))
        if name in _EQUAL:
            interpolation = full.get("interpolation", 1)
            if interpolation not in _LINEAR:
                self.notes.append(f"{where}: resamples linearly, not by {_NAMES.get(interpolation, interpolation)}")
            steps = _EQUAL[name](full)
            if chance != 1 and len(steps) > 1:
                raise RefusedError(f"it takes {len(steps)} steps here, whose coins for p {chance:g} would differ")
            return [{**step, **({"p": chance * step.get("p", 1.0)} if chance != 1 else {})} for step in steps]
        if name in UNAVAILABLE:
            raise RefusedError(UNAVAILABLE[name])
        if name in SUMMARIES:
            return [{"do": f"albumentations.{name}", **own, **({"p": chance} if chance != 1 else {})}]
        raise RefusedError(_WHY.get(name, "there is no such step"))

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
    saved = _plain(kind()) if name in SUMMARIES else {}
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
        raise RefusedError("rotate_method ellipse; say `boxes: ellipse` in the policy instead")
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
    "Rotate": _rotate,
    "Affine": _affine,
    "ShiftScaleRotate": _shift_scale_rotate,
    "Normalize": _normalize,
}

_CHOICES: frozenset[str] = frozenset()


def _choice(found: _Found, name: str, values: Values, where: str) -> dict[str, Any]:
    del found, values, where
    raise RefusedError(f"{name} has no equal")


_WHY: Mapping[str, str] = {
    "Mosaic": "its other images come with each call; the step mosaic takes them from the dataset",
    "Lambda": "a function cannot be written into a policy",
}
