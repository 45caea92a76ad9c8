"""Where the tiles of large images lie, and which of them see a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes
from augsuite.dataset.tables import Rows


@dataclass(frozen=True)
class Grid:
    """The tiles of all images.

    Attributes:
        images: `(T,)` rows of the images that they are cut from; in order.
        places: `(T, 4)` int64 x, y, width and height in pixels of that image.
        first: `(I,)` the first tile of each image.
        counts: `(I, 2)` columns and rows of tiles of each image.
        step: pixels between the left (upper) sides of two tiles; the last of a row (column) may be nearer to the one before.
    """

    images: Rows
    places: NDArray[np.int64]
    first: Rows
    counts: NDArray[np.int64]
    step: tuple[int, int]

    @property
    def single(self) -> NDArray[np.bool_]:
        """`(I,)` whether the image fits one tile."""
        return np.asarray(self.counts.prod(axis=1) == 1)

    @classmethod
    def of(cls, sizes: NDArray[np.int64], tile: tuple[int, int], overlap: tuple[int, int]) -> Grid:
        """Lay tiles over images of `(I, 2)` sizes.

        Tiles are all of one size: the last one of a row or column is moved back inside, so that it overlaps more, and no pixel is
        made up. Along a side where the image is smaller than a tile, there is one tile as long as the image.
        """
        step = np.array(tile) - overlap
        counts = np.maximum(-(-(sizes - tile) // step), 0) + 1
        per_image = counts.prod(axis=1)
        first = np.cumsum(per_image) - per_image
        images = np.repeat(np.arange(len(sizes)), per_image)
        row, column = np.divmod(np.arange(len(images)) - first[images], counts[images, 0])
        extent = np.minimum(tile, sizes)[images]
        corner = np.minimum(np.stack([column, row], axis=1) * step, sizes[images] - extent)
        return cls(images, np.concatenate([corner, extent], axis=1), first, counts, (int(step[0]), int(step[1])))

    def seen(self, corners: Boxes, images: Rows) -> tuple[Rows, Rows]:
        """Pairs of a box and a tile that share an area: rows of the boxes, and of the tiles.

        Args:
            corners: `(N, 4)` XYXY.
            images: `(N,)` the image of each.
        """
        step, last = np.array(self.step), self.counts[images] - 1
        extent = self.places[self.first[images], 2:]
        # The last tile of a row begins before its place in the grid: one more to the right may reach the box, none to the left.
        low = np.clip(np.floor((corners[:, :2] - extent) / step).astype(np.int64), 0, last)
        high = np.clip(np.floor(corners[:, 2:] / step).astype(np.int64) + 1, low, last)
        spans = high - low + 1
        counts = spans.prod(axis=1)
        boxes = np.repeat(np.arange(len(corners)), counts)
        row, column = np.divmod(np.arange(len(boxes)) - (np.cumsum(counts) - counts)[boxes], spans[boxes, 0])
        tiles = (
            self.first[images[boxes]] + (low[boxes, 1] + row) * self.counts[images[boxes], 0] + low[boxes, 0] + column
        )
        cut = within(corners[boxes], self.places[tiles])
        shared = (cut[:, 2:] > cut[:, :2]).all(axis=1)
        return boxes[shared], tiles[shared]


def within(corners: Boxes, places: NDArray[np.int64]) -> Boxes:
    """Boxes in pixels of their tiles, cut to them; one that lies outside gets no positive extent."""
    shifted = corners - np.concatenate([places[:, :2], places[:, :2]], axis=1)
    limits = places[:, 2:].astype(np.float64)
    return np.concatenate([np.maximum(shifted[:, :2], 0), np.minimum(shifted[:, 2:], limits)], axis=1)
