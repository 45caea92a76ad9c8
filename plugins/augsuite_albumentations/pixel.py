"""One parameter struct for each pixel transform of albumentations, made when it is asked for by name.

albumentations checks its own parameters; here they only get names (for the nearest-name error) and a home in a policy. It
draws from generators of its own, so a plan holds one seed for it: the same seed gives the same pixels in any process.
"""

from __future__ import annotations

import copy
import functools
import inspect
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from augsuite.dataset.images import Image
from augsuite.errors import ConfigError
from augsuite_albumentations import SUMMARIES, UNAVAILABLE

if TYPE_CHECKING:
    from augsuite.augment import Scene

# albumentations asks a package index for its newest version whenever it is imported, unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations

_POINTWISE = frozenset(
    {"ChannelDropout", "ChannelShuffle", "HueSaturationValue", "InvertImg", "Posterize"}
    | {"RGBShift", "RandomGamma", "RandomToneCurve", "Solarize", "ToGray", "ToSepia"}
)
"""Those whose result at a pixel depends on that pixel alone, whatever their parameters."""

_LEAST = 16
"""Pixels: a narrower image, such as what a warp leaves to see of one, is continued at its border; several fail on it otherwise."""


class Guest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pixel transform of albumentations; its subclasses have that transform's parameters as fields."""

    name: ClassVar[str]
    pointwise: ClassVar[bool]

    def __post_init__(self) -> None:
        """Let albumentations check the values.

        Raises:
            ValueError: in one line, which `msgspec` reports as an invalid value.
        """
        if self.name in UNAVAILABLE:
            raise ValueError(f"not available: {UNAVAILABLE[self.name]}")
        _make(self.name, msgspec.json.encode(self))

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the seed of albumentations' own generators."""
        del scene
        return {"seed": int(rng.integers(1 << 32))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Run the transform with the drawn seed.

        Raises:
            ConfigError: if it fails on this image, or gives another shape or dtype.
        """
        # A copy, because seeding the shared one would let two threads draw from one generator.
        transform = copy.copy(_make(self.name, msgspec.json.encode(self)))
        transform.set_random_seed(drawn["seed"])
        height, width = image.shape[:2]
        missing = [(0, max(0, _LEAST - height)), (0, max(0, _LEAST - width)), (0, 0)]
        image = np.pad(image, missing, mode="edge")
        try:
            changed = transform(image=np.ascontiguousarray(image))["image"]
        except Exception as error:  # the guest may raise anything: say whose step it was
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"albumentations.{self.name}: fails on an image of shape {image.shape}: {said}. Change its parameters."
            ) from error
        if changed.shape != image.shape or changed.dtype != np.uint8:
            raise ConfigError(
                f"albumentations.{self.name}: gives {changed.shape} {changed.dtype} for {image.shape} uint8, but a pixel "
                "step keeps both. Change its parameters."
            )
        return np.ascontiguousarray(changed[:height, :width], np.uint8)


@functools.lru_cache(maxsize=256)
def _make(name: str, values: bytes) -> Any:
    """The transform with these parameters, as JSON; built once, since albumentations takes a while to check them."""
    transform = getattr(albumentations, name)
    strict = {"strict": True} if "InitSchema" in vars(transform) else {}  # raise where it would warn and go on
    try:
        return transform(**msgspec.json.decode(values), p=1.0, **strict)
    except (ValueError, TypeError) as error:
        raise ValueError(one_line(error)) from error


def one_line(error: Exception) -> str:
    """The first thing that pydantic found wrong, without its heading, its link and its dump of the input."""
    details: Callable[[], list[dict[str, Any]]] | None = getattr(error.__cause__, "errors", None)
    if details is None:
        return str(error).strip().splitlines()[0]
    first = details()[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg'].removeprefix('Value error, ')}" if field else str(first["msg"])


def _fields(name: str) -> list[tuple[str, Any, Any]]:
    """The parameters of a transform with its own defaults; `p` is the step's."""
    signature = inspect.signature(getattr(albumentations, name).__init__)
    return [
        (key, Any, msgspec.field(default_factory=functools.partial(copy.deepcopy, parameter.default)))
        for key, parameter in signature.parameters.items()
        if key not in {"self", "p"}
    ]


@functools.cache
def _struct(name: str) -> type[Guest]:
    """The parameter struct of one transform; its name in this module finds it again, so instances travel to workers."""
    struct: type[Any] = msgspec.defstruct(
        name,
        [] if name in UNAVAILABLE else _fields(name),
        bases=(Guest,),
        module=__name__,
        namespace={
            "name": name,
            "pointwise": name in _POINTWISE,
            "__doc__": f"albumentations.{name}; see https://albumentations.ai for its parameters.",
        },
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return struct


def __getattr__(name: str) -> type[Guest]:
    """Make `augsuite_albumentations.pixel:<Name>` when a policy names it."""
    if name not in SUMMARIES and name not in UNAVAILABLE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _struct(name)
