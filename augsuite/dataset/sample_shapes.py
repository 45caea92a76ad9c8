"""What the boxes of a sample have beyond four numbers: polygons, masks, keypoints and oriented boxes, loaded when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from augsuite.boxes import Boxes
from augsuite.dataset import rle
from augsuite.dataset.raster import fill
from augsuite.dataset.shapes import is_polygons
from augsuite.dataset.shapes import polygons as rings_of

Points = NDArray[np.float64]
Rings = tuple[Points, ...]
"""The rings of one object, each `(P, 2)` float64 x, y; empty where nothing of it is seen."""
Window = tuple[int, int, rle.Mask]
"""Left, top and `(h, w)` bool: the pixels of one object; `(0, 0)` pixels where nothing of it is seen."""


@dataclass(frozen=True)
class Shapes:
    """One entry for each of N boxes, in pixels of the sample.

    Attributes:
        polygons: N outlines; None for a box that has none.
        masks: N windows of pixels, for objects given by RLE or pixels; None for a box that has none.
        keypoints: `(N, K, 3)` float64 x, y and visibility as COCO has it: 0 not labelled (x = y = 0), 1 hidden, 2 visible. K is the
            most that a box has, 0 where none has any.
        quads: `(N, 4, 2)` float64 corners of oriented boxes, in order; NaN for a box that has none.
        mirrored: `(N, K)` int64: which keypoint of the object takes the place of each in a mirror image (left eye, right eye).

    Source of polygons, masks and keypoints: COCO data format, cocodataset.org/#format-data.
    """

    polygons: tuple[Rings | None, ...]
    masks: tuple[Window | None, ...]
    keypoints: NDArray[np.float64]
    quads: NDArray[np.float64]
    mirrored: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        count: int,
        polygons: Sequence[Any] | None = None,
        masks: Sequence[Any] | None = None,
        keypoints: ArrayLike | None = None,
        quads: ArrayLike | None = None,
        mirrored: ArrayLike | None = None,
    ) -> Shapes:
        """Build from what others have; what is left out is not there.

        Args:
            count: N.
            polygons: N times None or a list of rings, each `[x, y, x, y, ...]` or `(P, 2)`.
            masks: N times None, `(H, W)` pixels of the whole image, or COCO's RLE.
            keypoints: `(N, K, 3)` as the attribute.
            quads: `(N, 4, 2)` as the attribute.
            mirrored: `(N, K)` as the attribute; each keypoint itself by default.

        Raises:
            ValueError: if one of them is for another number of boxes, or has another shape.
        """
        for name, given in (("polygons", polygons), ("masks", masks)):
            if given is not None and len(given) != count:
                raise ValueError(f"{count} boxes but {len(given)} {name}")
        points = np.zeros((count, 0, 3)) if keypoints is None else np.array(keypoints, np.float64)
        corners = np.full((count, 4, 2), np.nan) if quads is None else np.array(quads, np.float64)
        if points.ndim != 3 or points.shape[::2] != (count, 3):
            raise ValueError(f"expected keypoints of shape ({count}, K, 3), got {points.shape}")
        if corners.shape != (count, 4, 2):
            raise ValueError(f"expected quads of shape ({count}, 4, 2), got {corners.shape}")
        itself = np.broadcast_to(np.arange(points.shape[1]), points.shape[:2]).copy()
        swaps = itself if mirrored is None else np.array(mirrored, np.int64)
        if swaps.shape != points.shape[:2] or not np.array_equal(np.sort(swaps, axis=1), itself):
            raise ValueError(
                f"expected mirrored to have the numbers of {points.shape[1]} keypoints, each once, per box"
            )
        return cls(
            tuple(map(_rings, polygons or [None] * count)),
            tuple(map(_window, masks or [None] * count)),
            points,
            corners,
            swaps,
        )

    @classmethod
    def joined(cls, parts: Sequence[Shapes]) -> Shapes:
        """The entries of several, one after the other; fewer keypoints than the most are filled up with some not labelled."""
        most = max((part.keypoints.shape[1] for part in parts), default=0)
        room = [((0, 0), (0, most - part.keypoints.shape[1]), (0, 0)) for part in parts]
        points = [np.pad(part.keypoints, pad) for part, pad in zip(parts, room, strict=True)]
        swaps = [
            np.hstack([part.mirrored, np.tile(np.arange(part.mirrored.shape[1], most), (len(part), 1))])
            for part in parts
        ]
        return cls(
            tuple(entry for part in parts for entry in part.polygons),
            tuple(entry for part in parts for entry in part.masks),
            np.concatenate([*points, np.zeros((0, most, 3))]),
            np.concatenate([*(part.quads for part in parts), np.zeros((0, 4, 2))]),
            np.concatenate([*swaps, np.zeros((0, most), np.int64)]),
        )

    def __len__(self) -> int:
        return len(self.polygons)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Shapes:
        """The entries at `rows` (or where a mask is set), in that order."""
        places = np.arange(len(self))[rows].tolist()
        return Shapes(
            tuple(self.polygons[place] for place in places),
            tuple(self.masks[place] for place in places),
            self.keypoints[rows],
            self.quads[rows],
            self.mirrored[rows],
        )

    @property
    def outlined(self) -> NDArray[np.bool_]:
        """`(N,)` whether a polygon or a mask says where the object is."""
        pairs = zip(self.polygons, self.masks, strict=True)
        return np.array([rings is not None or window is not None for rings, window in pairs], bool)

    def extents(self) -> Boxes:
        """`(N, 4)` XYXY that just hold what polygon or mask show; zeros where they show nothing, NaN where there is neither."""
        return np.array(list(map(_extent, self.polygons, self.masks)), np.float64).reshape(-1, 4)

    def window(self, row: int, width: int, height: int) -> Window | None:
        """The pixels of one object on a canvas of `width` x `height`; None where neither polygon nor mask is known."""
        rings, window = self.polygons[row], self.masks[row]
        if window is not None:
            return window
        return None if rings is None else fill(rings, width, height)

    def mask(self, row: int, width: int, height: int) -> rle.Mask | None:
        """`(height, width)` bool: the pixels of one object on the whole canvas; None where neither polygon nor mask is known."""
        window = self.window(row, width, height)
        if window is None:
            return None
        left, top, pixels = window
        whole = np.zeros((height, width), bool)
        whole[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return whole


class Lazy:
    """Shapes that are made when they are first asked for, and kept."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Shapes]) -> None:
        """Take what makes them; for worker processes, something that can be pickled."""
        self._make = make
        self._made: Shapes | None = None

    def __call__(self) -> Shapes:
        """The shapes."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def __reduce__(self) -> tuple[type[Lazy], tuple[Callable[[], Shapes]]]:
        return (Lazy, (_Made(self._made) if self._made is not None else self._make,))


@dataclass(frozen=True)
class _Made:
    shapes: Shapes

    def __call__(self) -> Shapes:
        return self.shapes


@dataclass(frozen=True)
class _Joined:
    parts: tuple[tuple[Lazy | None, int], ...]

    def __call__(self) -> Shapes:
        return Shapes.joined([lazy() if lazy else Shapes.of(count) for lazy, count in self.parts])


@dataclass(frozen=True)
class _Taken:
    source: Lazy
    rows: NDArray[np.int64] | NDArray[np.bool_]

    def __call__(self) -> Shapes:
        return self.source().take(self.rows)


def made(shapes: Shapes) -> Lazy:
    """Shapes that are there already."""
    return Lazy(_Made(shapes))


def joined(parts: Sequence[tuple[Lazy | None, int]]) -> Lazy | None:
    """The shapes of several samples, one after the other: what loads each (None for none) and its number of boxes."""
    return Lazy(_Joined(tuple(parts))) if any(lazy for lazy, _ in parts) else None


def taken(source: Lazy | None, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Lazy | None:
    """Some of the shapes."""
    return None if source is None else Lazy(_Taken(source, rows))


def _rings(value: Any) -> Rings | None:
    if value is None:
        return None
    rings = tuple(np.array(ring, np.float64).reshape(-1, 2) for ring in value)
    if any(len(ring) < 3 or not np.isfinite(ring).all() for ring in rings):
        raise ValueError("expected rings of at least 3 points with finite numbers")
    return rings


def _window(value: Any) -> Window | None:
    if value is None:
        return None
    if not isinstance(value, np.ndarray):
        found = rle.window(value)
        if found is None:
            raise ValueError("expected a mask as an (H, W) array or as COCO's RLE")
        return found
    if value.ndim != 2:
        raise ValueError(f"expected a mask of shape (H, W), got {value.shape}")
    return trimmed(0, 0, value.astype(bool))


def trimmed(left: int, top: int, mask: rle.Mask) -> Window:
    """The smallest window that holds all set pixels of one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, np.zeros((0, 0), bool)
    y, x = int(rows[0]), int(columns[0])
    return left + x, top + y, mask[y : int(rows[-1]) + 1, x : int(columns[-1]) + 1]


def parsed(value: Any) -> tuple[Rings | None, Window | None]:
    """A value of the extra `segmentation` as a polygon or a mask; neither for what is absent or malformed."""
    if is_polygons(value):
        rings = rings_of(value)
        return (None if rings is None or not np.isfinite(np.concatenate(rings)).all() else _rings(rings)), None
    return None, rle.window(value)


def _extent(rings: Rings | None, window: Window | None) -> tuple[float, float, float, float]:
    if rings is None and window is None:
        return (float("nan"),) * 4
    if rings is None and window is not None:
        left, top, pixels = window
        return left, top, left + pixels.shape[1], top + pixels.shape[0]
    if not rings:
        return 0.0, 0.0, 0.0, 0.0
    points = np.concatenate(rings)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)
