"""One image with its annotations: what a policy takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from augsuite.boxes import Boxes
from augsuite.dataset.images import Image, decode
from augsuite.dataset.sample_shapes import Lazy, Shapes, made, taken


class Source(Protocol):
    """Where pixels come from. `width` and `height` are those of the upright, full-size image; 0 where not known yet."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""

    def decode(self, reduce: int = 1) -> Image:
        """The pixels, at 1 / `reduce` of the size (1, 2, 4 or 8) where the source can do that, else at full size."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """Pixels of an image file."""

    path: Path
    width: int = 0
    height: int = 0

    def decode(self, reduce: int = 1, rows: int | None = None) -> Image:
        """Read and decode the file; see `augsuite.dataset.images.decode`."""
        return decode(self.path, reduce, None if rows is None else (rows, self.height))


@dataclass(frozen=True, slots=True)
class ArraySource:
    """Pixels that are in memory already.

    Attributes:
        pixels: `(H, W, 3)` uint8, RGB.
    """

    pixels: Image

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])

    def decode(self, reduce: int = 1) -> Image:
        """The pixels, at full size."""
        del reduce
        return self.pixels


def _identity() -> NDArray[np.float64]:
    return np.eye(3)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its annotations.

    Attributes:
        source: where the pixels come from.
        boxes: `(N, 4)` float64 XYXY in pixels of this sample.
        labels: `(N,)` int64 rows of the dataset's categories.
        weights: `(N,)` float32 in [0, 1]; less than 1 for boxes of a mixed image.
        rows: `(N,)` int64 rows of the dataset's annotations; -1 for a box that comes from none.
        targets: `(C,)` float32 class targets that sum to 1, or None for an image without an image label.
        image_row: the row of the dataset's images that this comes from; -1 for none.
        matrix: `(3, 3)` float64 from pixels of the original image to pixels of this sample; beside a displacement field (elastic,
            grid_distortion), which no matrix can say, that of the other steps.
        lazy: makes `shapes`; None where no box has any.
        seen_frac: `(N,)` float64 what share of the original area of each box is seen so far, for a sample on its way through a
            policy; None for all of it.
    """

    source: Source
    boxes: Boxes
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    rows: NDArray[np.int64]
    targets: NDArray[np.float32] | None = None
    image_row: int = -1
    matrix: NDArray[np.float64] = field(default_factory=_identity)
    lazy: Lazy | None = None
    seen_frac: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls,
        image: Image | Path,
        boxes: ArrayLike = (),
        labels: ArrayLike = (),
        targets: ArrayLike | None = None,
        *,
        polygons: Sequence[Any] | None = None,
        masks: Sequence[Any] | None = None,
        keypoints: ArrayLike | None = None,
        quads: ArrayLike | None = None,
    ) -> Sample:
        """Build a sample from somebody else's arrays.

        Args:
            image: `(H, W, 3)` uint8 RGB, or an image file.
            boxes: `(N, 4)` XYXY in pixels.
            labels: `(N,)` integers.
            targets: `(C,)` class targets of the whole image.
            polygons: for each box None, or rings `[x, y, x, y, ...]` or `(P, 2)` in pixels.
            masks: for each box None, `(H, W)` pixels, or COCO's RLE.
            keypoints: `(N, K, 3)` x, y and visibility (0 not labelled, 1 hidden, 2 visible).
            quads: `(N, 4, 2)` corners of oriented boxes; NaN for a box that has none.

        Raises:
            ValueError: if boxes and labels (or shapes) differ in number, or the image is no `(H, W, 3)` uint8.
        """
        corners = np.asarray(boxes, np.float64).reshape(-1, 4)
        names = np.asarray(labels, np.int64).reshape(-1)
        if len(corners) != len(names):
            raise ValueError(f"{len(corners)} boxes but {len(names)} labels")
        if isinstance(image, np.ndarray) and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3):
            raise ValueError(f"expected an image of shape (H, W, 3) and dtype uint8, got {image.shape} {image.dtype}")
        return cls(
            source=ArraySource(image) if isinstance(image, np.ndarray) else FileSource(Path(image)),
            boxes=corners,
            labels=names,
            weights=np.ones(len(names), np.float32),
            rows=np.full(len(names), -1, np.int64),
            targets=None if targets is None else np.asarray(targets, np.float32),
            lazy=made(Shapes.of(len(names), polygons, masks, keypoints, quads))
            if any(given is not None for given in (polygons, masks, keypoints, quads))
            else None,
        )

    @property
    def shapes(self) -> Shapes:
        """Polygons, masks, keypoints and oriented boxes, one entry for each box; read when first asked for.

        Raises:
            ValueError: if the boxes were exchanged and the shapes were not.
        """
        shapes = Shapes.of(len(self.boxes)) if self.lazy is None else self.lazy()
        if len(shapes) != len(self.boxes):
            raise ValueError(f"{len(self.boxes)} boxes but {len(shapes)} shapes; use Sample.take to choose boxes")
        return shapes

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Sample:
        """The sample with the boxes at `rows` (or where a mask is set), in that order, and all that belongs to each."""
        return replace(
            self,
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            weights=self.weights[rows],
            rows=self.rows[rows],
            lazy=taken(self.lazy, rows),
            seen_frac=None if self.seen_frac is None else self.seen_frac[rows],
        )

    @property
    def image(self) -> Image:
        """`(H, W, 3)` uint8 RGB; decoded anew each time where the source is a file."""
        return self.source.decode()
