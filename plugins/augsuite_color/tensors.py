"""The colour transforms on batches of tensors, on any device; `augsuite.augment.batched` asks for them.

Images are `(B, 3, H, W)` float32 in whole levels from 0 to 255, and so are results; every part rounds to whole levels, as on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from augsuite_color.ops import GREY

Tensor = torch.Tensor


def jitter(images: Tensor, parts: Sequence[Mapping[str, float]], inside: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue as `jitter.ColorJitter` does them.

    Args:
        images: the batch.
        parts: for each image the parts in their order.
        inside: `(B, 1, H, W)` bool: what the mean grey is taken of.
    """
    images = images.clone()
    orders = [list(one.items()) for one in parts]
    for slot in range(max(map(len, orders), default=0)):
        for name in ("brightness", "contrast", "saturation", "hue_deg"):
            rows = [row for row, order in enumerate(orders) if slot < len(order) and order[slot][0] == name]
            if rows:
                values = _column([orders[row][slot][1] for row in rows], images)
                images[rows] = _part(name, images[rows], values, inside[rows])
    return images


def photometric(images: Tensor, drawn: Sequence[Mapping[str, Any]]) -> Tensor:
    """What `photometric.Photometric` does."""

    def values(name: str, neutral: float, rows: Sequence[Mapping[str, Any]] = drawn) -> Tensor:
        return _column([one.get(name, neutral) for one in rows], images)

    last = _column([float(one.get("contrast_last", False)) for one in drawn], images).bool()
    contrast = values("contrast", 1.0)
    one = torch.ones_like(contrast)
    images = _whole(images + values("brightness", 0.0))
    images = _whole(images * torch.where(last, one, contrast))
    turned = [row for row, values_of in enumerate(drawn) if "saturation" in values_of or "hue_deg" in values_of]
    if turned:
        chosen = [drawn[row] for row in turned]
        images[turned] = turn_hsv(images[turned], values("saturation", 1.0, chosen), values("hue_deg", 0.0, chosen))
    return _whole(images * torch.where(last, contrast, one))


def turn_hsv(images: Tensor, saturation: Tensor, hue_deg: Tensor) -> Tensor:
    """Scale HSV's saturation, cut at 1, and turn its hue.

    Args:
        images: the batch.
        saturation: `(B, 1, 1, 1)` factors.
        hue_deg: `(B, 1, 1, 1)` angles.

    Source: Smith 1978, Color gamut transform pairs, SIGGRAPH; back without sectors: `value * (1 - s * clamp(...))` of each channel.
    """
    red, green, blue = images.unbind(1)
    value, _ = images.max(1)
    least, _ = images.min(1)
    spread = value - least
    safe = spread.clamp(min=1e-6)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    strength = (spread / value.clamp(min=1e-6) * saturation[:, 0]).clamp(max=1.0)
    angle = hue + hue_deg[:, 0] / 60
    channels = []
    for shift in (5.0, 3.0, 1.0):
        place = (shift + angle) % 6
        channels.append(value * (1 - strength * torch.minimum(place, 4 - place).clamp(0, 1)))
    return _whole(torch.stack(channels, 1))


def _part(name: str, images: Tensor, values: Tensor, inside: Tensor) -> Tensor:
    if name == "brightness":
        return _whole(images * values)
    if name == "hue_deg":
        return turn_hsv(images, torch.ones_like(values), values)
    weights = torch.tensor(GREY, device=images.device).view(1, 3, 1, 1)
    grey = (images * weights).sum(1, keepdim=True)
    if name == "contrast":
        counted = inside.sum((2, 3), keepdim=True).clamp(min=1)
        grey = (grey.round() * inside).sum((2, 3), keepdim=True) / counted
    return _whole(values * images + (1 - values) * grey)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(-1, 1, 1, 1)


def _whole(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255)
