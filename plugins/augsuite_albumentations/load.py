"""A pipeline of albumentations as a policy: geometric transforms become ours where they mean the same, the others stay guests."""

from __future__ import annotations

import inspect
import itertools
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from augsuite.augment.pipelines import Loaded
from augsuite.errors import ConfigError
from augsuite_albumentations import SUMMARIES, UNAVAILABLE, pixel
from augsuite_albumentations.equals import EQUAL, NOTES, WHY, RefusedError, Steps, Values
from augsuite_albumentations.pixel import one_line

albumentations = pixel.albumentations  # type: ignore[attr-defined]  # imported there, with its look for updates turned off

_LINEAR = {1: "INTER_LINEAR", 3: "INTER_AREA", 5: "INTER_LINEAR_EXACT"}
_NAMES = {0: "INTER_NEAREST", 2: "INTER_CUBIC", 4: "INTER_LANCZOS4", 6: "INTER_NEAREST_EXACT"}
_INLINE = {"Compose", "ReplayCompose", "Sequential"}
_BROKEN = "__error__"
_NOTHING = {"NoOp", "ToTensorV2"}
_CHOICES = frozenset({"OneOf", "OneOrOther"})
_SEVERAL = frozenset({"SomeOf", "RandomOrder"})
_MOST = 120  # lists that several transforms out of some are written as: five in any order


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
        settings = {key: getattr(given, key) for key in ("n", "replace") if hasattr(given, key)}
        if boxes:
            settings["bbox_params"] = boxes.params.to_dict_private()
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
            elif name in _SEVERAL:
                steps += self._several(name, values, at)
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

    def _several(self, name: str, values: Values, where: str) -> Steps:
        """`SomeOf`, which keeps their order, and `RandomOrder`: each way to choose as a list of its own."""
        inner = values.get("transforms") or []
        parts = [self.walk([one], f"{where}.transforms[{place}]") for place, one in enumerate(inner)]
        count, ordered, again = int(values.get("n", 1)), name == "RandomOrder", bool(values.get("replace", False))
        size = len(inner)
        if (size**count if again else math.perm(size, count) if ordered else math.comb(size, count)) > _MOST:
            self.unknown.append(
                f"{where} ({name}): {count} of {size} can be chosen in more than {_MOST} ways, and here each is a list of its own"
            )
            return []
        chosen = itertools.product(range(size), repeat=count) if again else itertools.permutations(range(size), count)
        # All of these are as likely; where order does not matter, several of them are the same list.
        ways = Counter(one if ordered else tuple(sorted(one)) for one in chosen)
        options = {" + ".join(f"{place + 1} {_name(inner[place])}" for place in one) or "nothing": one for one in ways}
        step: dict[str, Any] = {
            "do": "sub_policies",
            "policies": {key: [step for place in one for step in parts[place]] for key, one in options.items()},
        }
        weights = {key: ways[one] for key, one in options.items()}
        if len(set(weights.values())) > 1:
            step["weights"] = weights
        chance = float(values.get("p", 1.0))
        return [{**step, **({"p": chance} if chance != 1 else {})}]

    def _translated(self, name: str, values: Values, where: str) -> Steps:
        if _BROKEN in values:
            raise RefusedError(f"albumentations cannot save it: {values[_BROKEN].rstrip('.')}")
        if name in WHY:
            raise RefusedError(WHY[name])
        if name in _NOTHING:
            if name != "NoOp":
                self.notes.append(f"{where}: left out; a loader makes tensors of what a policy gives")
            return []
        full, own = _parameters(name, values)
        chance = float(values.get("p", full["p"]))
        if name in EQUAL:
            interpolation = full.get("interpolation", 1)
            if interpolation not in _LINEAR:
                self.notes.append(f"{where}: resamples linearly, not by {_NAMES.get(interpolation, interpolation)}")
            steps = EQUAL[name](full)
            if name in NOTES:
                self.notes.append(f"{where}: {NOTES[name]}")
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
