"""Colour jitter as torchvision defines it, and its four parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from augsuite.dataset.images import Image
from augsuite_color.ops import (
    Angle,
    Factor,
    Table,
    apply_table,
    blend_grey,
    blend_table,
    check_range,
    mean_grey,
    scale_shift,
    turn_hsv,
)

if TYPE_CHECKING:
    import torch

    from augsuite.augment import Scene

_PARTS = ("brightness", "contrast", "saturation", "hue_deg")
_STILL = (1.0, 1.0, 1.0, 0.0)


def _apply(image: Image, parts: Mapping[str, float]) -> Image:
    """Do the parts in their order."""
    for name, value in parts.items():
        if name == "brightness":
            image = scale_shift(image, value)
        elif name == "contrast":
            image = scale_shift(image, value, (1 - value) * mean_grey(image))
        elif name == "saturation":
            image = blend_grey(image, value)
        elif value:
            image = turn_hsv(image, hue_deg=value)
    return image


class ColorJitter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Brightness, contrast, saturation and hue, each once, in an order drawn at random.

    Attributes:
        brightness: range of the factor of all values; [1, 1] leaves it.
        contrast: range of the factor by which values move away from the image's mean grey; 0 is that grey.
        saturation: range of the factor by which a pixel moves away from its own grey; 0 is grey.
        hue_deg: range of the turn of HSV's hue, in degrees.

    Source: torchvision.transforms.v2.ColorJitter, whose ranges of hue are fractions of 360 degrees. Values are rounded where
    torchvision cuts their fraction off, so a result is up to one level brighter for each part.
    """

    pointwise: ClassVar[bool] = False  # contrast looks at the mean of the whole image

    brightness: tuple[Factor, Factor] = (0.6, 1.4)
    contrast: tuple[Factor, Factor] = (0.6, 1.4)
    saturation: tuple[Factor, Factor] = (0.6, 1.4)
    hue_deg: tuple[Angle, Angle] = (-18.0, 18.0)

    def __post_init__(self) -> None:
        """Refuse swapped ranges."""
        for name in _PARTS:
            check_range(name, getattr(self, name))

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the values and their order; a part whose range is the one value that changes nothing is left out."""
        del scene
        ranges = (self.brightness, self.contrast, self.saturation, self.hue_deg)
        # As `rng.uniform` does, which takes as long for one number as `random` for all.
        values = [low + (high - low) * share for (low, high), share in zip(ranges, rng.random(4).tolist(), strict=True)]
        order = rng.permutation(4).tolist()
        parts = [[_PARTS[index], values[index]] for index in order if values[index] != _STILL[index]]
        return {"parts": parts} if parts else None

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Do the parts in the order drawn."""
        table = self.table(drawn)  # the same to the last bit, fused with other steps or not
        return _apply(image, dict(drawn["parts"])) if table is None else apply_table(image, table)

    def apply_tensors(
        self, images: torch.Tensor, drawn: Sequence[Mapping[str, Any]], inside: torch.Tensor
    ) -> torch.Tensor:
        """The same on a batch; see `augsuite.protocols.PixelTransform`."""
        from augsuite_color.tensors import jitter

        return jitter(images, [dict(one["parts"]) for one in drawn], inside)

    def table(self, drawn: Mapping[str, Any]) -> Table | None:
        """What each value becomes, where brightness is all there is."""
        parts = dict(drawn["parts"])
        return blend_table(parts["brightness"]) if set(parts) == {"brightness"} else None


class Brightness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Multiply all values by one random factor.

    Attributes:
        factor: range; 0 is black, 1 the image.

    Source: torchvision.transforms.v2.functional.adjust_brightness.
    """

    pointwise: ClassVar[bool] = True

    factor: tuple[Factor, Factor] = (0.6, 1.4)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("factor", self.factor)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the factor."""
        del scene
        return {"brightness": float(rng.uniform(*self.factor))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Multiply."""
        return apply_table(image, self.table(drawn))

    def apply_tensors(
        self, images: torch.Tensor, drawn: Sequence[Mapping[str, Any]], inside: torch.Tensor
    ) -> torch.Tensor:
        """The same on a batch; see `augsuite.protocols.PixelTransform`."""
        from augsuite_color.tensors import jitter

        return jitter(images, drawn, inside)

    def table(self, drawn: Mapping[str, Any]) -> Table:
        """What each value becomes."""
        return blend_table(drawn["brightness"])


class Contrast(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Move all values away from the image's mean grey, or towards it, by one random factor.

    Attributes:
        factor: range; 0 is the mean grey, 1 the image.

    Source: torchvision.transforms.v2.functional.adjust_contrast.
    """

    pointwise: ClassVar[bool] = False

    factor: tuple[Factor, Factor] = (0.6, 1.4)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("factor", self.factor)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the factor."""
        del scene
        return {"contrast": float(rng.uniform(*self.factor))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Blend with the mean grey."""
        return _apply(image, drawn)

    def apply_tensors(
        self, images: torch.Tensor, drawn: Sequence[Mapping[str, Any]], inside: torch.Tensor
    ) -> torch.Tensor:
        """The same on a batch; see `augsuite.protocols.PixelTransform`."""
        from augsuite_color.tensors import jitter

        return jitter(images, drawn, inside)


class Saturation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Move each pixel away from its own grey, or towards it, by one random factor.

    Attributes:
        factor: range; 0 is grey, 1 the image.

    Source: torchvision.transforms.v2.functional.adjust_saturation.
    """

    pointwise: ClassVar[bool] = True

    factor: tuple[Factor, Factor] = (0.6, 1.4)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("factor", self.factor)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the factor."""
        del scene
        return {"saturation": float(rng.uniform(*self.factor))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Blend with grey."""
        return _apply(image, drawn)

    def apply_tensors(
        self, images: torch.Tensor, drawn: Sequence[Mapping[str, Any]], inside: torch.Tensor
    ) -> torch.Tensor:
        """The same on a batch; see `augsuite.protocols.PixelTransform`."""
        from augsuite_color.tensors import jitter

        return jitter(images, drawn, inside)


class Hue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Turn HSV's hue of every pixel by one random angle.

    Attributes:
        hue_deg: range of the angle, in degrees.

    Source: torchvision.transforms.v2.functional.adjust_hue, in degrees.
    """

    pointwise: ClassVar[bool] = True

    hue_deg: tuple[Angle, Angle] = (-18.0, 18.0)

    def __post_init__(self) -> None:
        """Refuse a swapped range."""
        check_range("hue_deg", self.hue_deg)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the angle."""
        del scene
        return {"hue_deg": float(rng.uniform(*self.hue_deg))}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Turn."""
        return _apply(image, drawn)

    def apply_tensors(
        self, images: torch.Tensor, drawn: Sequence[Mapping[str, Any]], inside: torch.Tensor
    ) -> torch.Tensor:
        """The same on a batch; see `augsuite.protocols.PixelTransform`."""
        from augsuite_color.tensors import jitter

        return jitter(images, drawn, inside)


class Hsv(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Turn HSV's hue and scale its saturation and value.

    Attributes:
        hue_deg: range of the turn, in degrees.
        saturation: range of the factor of the saturation.
        value: range of the factor of the value: of all channels, as far as the largest one goes.

    Source: `RandomHSV` of github.com/ultralytics/ultralytics, data/augment.py, with the values of cfg/default.yaml; exact, where
    theirs has 180 steps of hue.
    """

    pointwise: ClassVar[bool] = True

    hue_deg: tuple[Angle, Angle] = (-5.4, 5.4)
    saturation: tuple[Factor, Factor] = (0.3, 1.7)
    value: tuple[Factor, Factor] = (0.6, 1.4)

    def __post_init__(self) -> None:
        """Refuse swapped ranges."""
        for name in ("hue_deg", "saturation", "value"):
            check_range(name, getattr(self, name))

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw turn and factors."""
        del scene
        return {name: float(rng.uniform(*getattr(self, name))) for name in ("hue_deg", "saturation", "value")}

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Turn, and scale."""
        return turn_hsv(image, drawn["saturation"], drawn["hue_deg"], drawn["value"])
