"""The normalisation of a batch."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

Deviation = Annotated[float, Meta(gt=0)]


class Normalize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bring a batch to zero mean and unit deviation. A trainer reads `mean` and `std` and does the same on its device.

    Attributes:
        mean: of red, green and blue, in [0, 1]; ImageNet's by default.
        std: of red, green and blue, in (0, 1].
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[Deviation, Deviation, Deviation] = (0.229, 0.224, 0.225)

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalise.

        Args:
            images: `(B, H, W, 3)` uint8 RGB.

        Returns:
            `(B, 3, H, W)` float32, contiguous: `(value / 255 - mean) / std`.
        """
        batch = np.empty((len(images), 3, *images.shape[1:3]), np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            np.multiply(images[..., channel], np.float32(1 / (255 * std)), out=batch[:, channel])
            batch[:, channel] -= np.float32(mean / std)
        return batch
