"""SSD's photometric distortion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
import numpy as np

from augsuite.dataset.images import Image
from augsuite_color.ops import (
    Factor,
    Table,
    apply_table,
    blend_table,
    check_range,
    compose,
    scale_shift,
    shift_table,
    turn_hsv,
)

if TYPE_CHECKING:
    import torch

    from augsuite.augment import Scene

Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Photometric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Brightness; contrast; saturation; hue; or contrast last: either order half of the time, each part with its own chance.

    As in the authors' Caffe code, contrast scales about black, saturation and hue are HSV's, and every part rounds to 8 bits.
    Two parts differ on purpose: saturation and hue share one float conversion, because Caffe's 8-bit one is off by up to 4
    levels; and the hue turns by degrees, around the circle, where Caffe adds to OpenCV's half degrees and stops at red.

    Attributes:
        brightness: largest shift of all values, up or down, in levels of 0..255.
        brightness_p: chance of a shift.
        contrast: range of the factor of all values.
        contrast_p: chance of it.
        saturation: range of the factor of HSV's saturation.
        saturation_p: chance of it.
        hue_deg: largest turn of the hue, either way, in degrees.
        hue_p: chance of a turn.

    Source: Liu et al. 2016, SSD, section 3.2, arXiv:1512.02325; weiliu89/caffe, src/caffe/util/im_transforms.cpp, ApplyDistort,
    with the values of examples/ssd/ssd_pascal.py. The turn of 18 is read as degrees, as the field's ports do.
    """

    pointwise: ClassVar[bool] = True

    brightness: Annotated[float, msgspec.Meta(ge=0, le=255)] = 32.0
    brightness_p: Probability = 0.5
    contrast: tuple[Factor, Factor] = (0.5, 1.5)
    contrast_p: Probability = 0.5
    saturation: tuple[Factor, Factor] = (0.5, 1.5)
    saturation_p: Probability = 0.5
    hue_deg: Annotated[float, msgspec.Meta(ge=0, le=180)] = 18.0
    hue_p: Probability = 0.5

    def __post_init__(self) -> None:
        """Refuse swapped ranges."""
        check_range("contrast", self.contrast)
        check_range("saturation", self.saturation)

    def draw(self, rng: np.random.Generator, scene: Scene) -> Mapping[str, Any] | None:
        """Draw the parts that happen; None where none does."""
        del scene
        numbers = rng.random(9).tolist()
        coins, shares = numbers[:5], numbers[5:]
        parts = (
            ("brightness", self.brightness_p, -self.brightness, self.brightness),
            ("contrast", self.contrast_p, *self.contrast),
            ("saturation", self.saturation_p, *self.saturation),
            ("hue_deg", self.hue_p, -self.hue_deg, self.hue_deg),
        )
        # As `rng.uniform` does, which takes as long for one number as `random` for all.
        drawn: dict[str, Any] = {
            name: low + (high - low) * share
            for (name, chance, low, high), coin, share in zip(parts, coins, shares, strict=False)
            if coin < chance
        }
        if "contrast" in drawn:
            drawn["contrast_last"] = coins[4] < 0.5
        return drawn or None

    def apply(self, image: Image, drawn: Mapping[str, Any]) -> Image:
        """Do the parts that were drawn."""
        saturation, hue_deg = drawn.get("saturation", 1.0), drawn.get("hue_deg", 0.0)
        if saturation == 1 and hue_deg == 0:
            return apply_table(image, self.table(drawn))
        contrast, last = drawn.get("contrast"), drawn.get("contrast_last")
        if "brightness" in drawn:
            image = scale_shift(image, 1.0, drawn["brightness"])
        if contrast is not None and not last:
            image = scale_shift(image, contrast)
        image = turn_hsv(image, saturation, hue_deg)
        return scale_shift(image, contrast) if contrast is not None and last else image

    def table(self, drawn: Mapping[str, Any]) -> Table | None:
        """What each value becomes, where neither saturation nor hue was drawn."""
        if drawn.get("saturation", 1.0) != 1 or drawn.get("hue_deg", 0.0) != 0:
            return None
        before = shift_table(drawn["brightness"]) if "brightness" in drawn else None
        return compose(before, blend_table(drawn["contrast"])) if "contrast" in drawn else before

    def apply_tensors(
        self, images: torch.Tensor, drawn: Sequence[Mapping[str, Any]], inside: torch.Tensor
    ) -> torch.Tensor:
        """The same on a batch; see `augsuite.protocols.PixelTransform`."""
        from augsuite_color.tensors import photometric

        del inside
        return photometric(images, drawn)
