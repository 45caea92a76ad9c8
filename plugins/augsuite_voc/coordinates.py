"""VOC's pixel numbers and continuous coordinates: the only place that adds or subtracts one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Corners = NDArray[np.float64]

_SHIFT = np.array([1.0, 1.0, 0.0, 0.0])


def to_continuous(corners: Corners, origin: int = 1) -> None:
    """Change xmin, ymin, xmax, ymax of VOC, in place, to XYXY in continuous pixel space.

    VOC counts pixels from 1 and both corners belong to the box, so a box of the single top left pixel is 1, 1, 1, 1, and covers
    0..1 in both directions.

    Args:
        corners: `(N, 4)` as in the file.
        origin: 1 for VOC as defined; 0 leaves corners as they are, for files that are VOC in name only.

    Source: VOC2012 devkit, section 4.2 of devkit_doc.pdf: "coordinates ... the top-left pixel in the image has coordinates (1,1)";
    areas there are `(xmax - xmin + 1) * (ymax - ymin + 1)` (VOCevaldet.m).
    """
    if origin:
        corners -= _SHIFT


def from_continuous(boxes: Corners) -> Corners:
    """The way back: `(N, 4)` XYXY to VOC's xmin, ymin, xmax, ymax."""
    return np.asarray(boxes + _SHIFT)
