"""Transforms of albumentations that mean the same as steps of ours; and why others do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Values = Mapping[str, Any]
Steps = list[dict[str, Any]]

_BORDERS = {1: "BORDER_REPLICATE", 2: "BORDER_REFLECT", 3: "BORDER_WRAP", 4: "BORDER_REFLECT_101"}


class RefusedError(Exception):
    """Why one transform has no equivalent."""


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


def _coarse_dropout(values: Values) -> Steps:
    heights, widths = values["hole_height_range"], values["hole_width_range"]
    if max(*heights, *widths) >= 1:
        raise RefusedError("holes measured in pixels, and here they are shares of the sides")
    if min(*heights, *widths) <= 0 or values["num_holes_range"][1] > 100:
        raise RefusedError("holes of no size or more than 100, and `coarse_dropout` has from 1 to 100 that are seen")
    return [
        {
            "do": "coarse_dropout",
            "holes": values["num_holes_range"],
            "height_frac": heights,
            "width_frac": widths,
            "fill": _hole_fill(values),
        }
    ]


def _erasing(values: Values) -> Steps:
    least, most = values["ratio"]
    if least != most or least <= 0:
        raise RefusedError(
            "its width / height is uniform, that of `random_erasing` uniform in the logarithm; with one ratio they are the same"
        )
    if not 0 < values["scale"][0] <= values["scale"][1] <= 1:
        raise RefusedError(f"scale {values['scale']}, and here it is a share of the area, above 0 and up to 1")
    ratio = 1 / least  # here height / width
    return [{"do": "random_erasing", "area_frac": values["scale"], "ratio": [ratio, ratio], "fill": _hole_fill(values)}]


def _hole_fill(values: Values) -> list[int] | None:
    if values["fill_mask"] is not None:
        raise RefusedError(f"fill_mask {values['fill_mask']}, and masks keep what is hidden here")
    fill = values["fill"]
    if isinstance(fill, str) and fill != "random":
        raise RefusedError(f"fill {fill}; here it is a colour, or noise")
    return None if fill == "random" else _fill(values)


EQUAL: Mapping[str, Callable[[Values], Steps]] = {
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
    "CoarseDropout": _coarse_dropout,
    "Erasing": _erasing,
}

_HOLES = "holes are rounded to whole pixels here, down there; a box keeps its extent here, there it is cut to whole pixels, and where a whole side is hidden"
NOTES: Mapping[str, str] = {
    "CenterCrop": "where the margin is odd, it lies one pixel further right and down here",
    "CoarseDropout": _HOLES,
    "Erasing": _HOLES,
}
"""What differs although the distribution is the same."""


WHY: Mapping[str, str] = {
    "Perspective": "it enlarges a part, whose corners lie inside by half-normal distances; the nearest is `perspective`, whose corners "
    "move inwards by uniform ones",
    "ElasticTransform": "it displaces every pixel by filtered noise; the nearest is `elastic`, a spline over a coarse grid",
    "GridDistortion": "it shifts whole lines of its grid; the nearest is `grid_distortion`, which shifts each corner for itself",
    "Mosaic": "its other images come with each call; the step mosaic takes them from the dataset",
    "Lambda": "a function cannot be written into a policy",
}
