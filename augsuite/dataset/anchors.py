"""Anchor shapes suggested by a dataset's boxes: k-means on intersection over union."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import clip
from augsuite.dataset.tables import Dataset

Shapes = NDArray[np.float64]
"""`(N, 2)` widths and heights."""

_CELL = 1.05
"""Boxes whose sides lie in one cell of this factor are clustered as one of their mean shape, with their number as its weight."""

_STARTS = 5
_ROUNDS = 60
_FIRST_STEP, _LAST_STEP = 0.1, 1e-3
_LEAST = 1e-9  # distance of two shapes that rounding makes equal


class Anchors(msgspec.Struct, frozen=True):
    """Suggested anchors of one number.

    Attributes:
        k: how many.
        mean_iou: mean over all boxes of the intersection over union with the best anchor, both centred at one place; in [0, 1].
        shapes: k pairs of width and height as fractions of the image, smallest area first.
        shares: of the boxes whose best anchor each is; they sum to 1.
    """

    k: int
    mean_iou: float
    shapes: list[tuple[float, float]]
    shares: list[float]


def box_shapes(data: Dataset) -> Shapes:
    """`(N, 2)` widths and heights, as fractions of their images, of the boxes that a detector trains on.

    That leaves out what is ignored, and what lies outside its image. Boxes of images of unknown size are left out, too, unless they
    are stored as fractions.

    Raises:
        DataError: if boxes are stored as fractions of images whose size is not known.
    """
    table = data.annotations
    sizes = data.images.sizes[table.image_rows].astype(np.float64)
    used = table.is_box & ~table.ignore & (sizes > 0).all(axis=1)
    scale = sizes[used]
    corners = clip(data.boxes()[used] / np.concatenate([scale, scale], axis=1), 1.0, 1.0)
    shapes = corners[:, 2:] - corners[:, :2]
    return np.asarray(shapes[(shapes > 0).all(axis=1)])


def suggest(shapes: Shapes, counts: Sequence[int], seed: int = 0) -> list[Anchors]:
    """Cluster box shapes, for several numbers of clusters.

    k-means with the distance 1 - IoU of two boxes at one centre, from k-means++ starts of which the best is kept; a centre is the
    median width and the median height of its boxes: of one side alone the IoU falls with the logarithm of the ratio, whose sum a
    median minimises, and on real boxes medians beat means. For both sides at once that is near the best, not the best: the best round
    is kept, not the last, and its centres are then moved in small steps as long as that helps.

    Args:
        shapes: `(N, 2)` widths and heights, above 0, in any unit: what `box_shapes` gives, or that times a trainer's input size.
        counts: numbers of clusters, each at least 1.
        seed: the same seed gives the same anchors.

    Returns:
        One result for each count that is no larger than the number of boxes of different shape (those in one cell of a grid with a
        step of 5 % count as one). The mean IoU is that of all boxes.

    Source: Redmon and Farhadi 2017, YOLO9000, section 2, "Dimension Clusters", arXiv:1612.08242; Arthur and Vassilvitskii 2007,
        k-means++. Both constants of the search are ours.
    """
    boxes = np.asarray(shapes, np.float64).reshape(-1, 2)
    points, weights = _merged(boxes)
    return [_judged(boxes, _cluster(points, weights, k, seed)) for k in counts if 1 <= k <= len(points)]


def setting(found: Anchors) -> str:
    """The anchors as the setting `shapes` of the trainer `ssd`: `shapes=[[0.1, 0.12], [0.3, 0.4]]`."""
    return f"shapes=[{', '.join(f'[{width:.4g}, {height:.4g}]' for width, height in found.shapes)}]"


def shape_iou(first: Shapes, second: Shapes) -> NDArray[np.float64]:
    """`(N, M)` intersection over union of `(N, 2)` with `(M, 2)` widths and heights, placed at one centre."""
    return np.stack(list(_ious(first, second)), axis=1)


def _ious(shapes: Shapes, centers: Shapes) -> Iterator[NDArray[np.float64]]:
    """For each centre the `(N,)` intersections over union with all shapes; column by column, which is several times faster."""
    widths, heights = np.ascontiguousarray(shapes.T)
    areas = widths * heights
    for width, height in centers.tolist():
        shared = np.minimum(widths, width)
        shared *= np.minimum(heights, height)
        other = areas + width * height
        other -= shared
        shared /= other
        yield shared


def _nearest(shapes: Shapes, centers: Shapes) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`(N,)` the best centre of each shape (the first of equal ones), and `(N,)` its IoU."""
    own = np.zeros(len(shapes), np.int64)
    best = np.full(len(shapes), -1.0)
    for row, iou in enumerate(_ious(shapes, centers)):
        own[iou > best] = row
        np.maximum(best, iou, out=best)
    return own, best


def _judged(boxes: Shapes, centers: Shapes) -> Anchors:
    """The centres, smallest first, with what they mean for all boxes."""
    centers = centers[np.argsort(centers.prod(axis=1), kind="stable")]
    own, iou = _nearest(boxes, centers)
    shares = np.bincount(own, minlength=len(centers)) / len(boxes)
    return Anchors(
        len(centers), float(iou.mean()), [(width, height) for width, height in centers.tolist()], shares.tolist()
    )


def _merged(shapes: Shapes) -> tuple[Shapes, NDArray[np.float64]]:
    """The mean shape of each cell of a logarithmic grid, and how many boxes it holds."""
    cells = np.floor(np.log(shapes) / np.log(_CELL)).astype(np.int64)
    cells -= cells.min(axis=0, initial=0)
    _, where = np.unique(cells[:, 0] * (cells[:, 1].max(initial=0) + 1) + cells[:, 1], return_inverse=True)
    weights = np.bincount(where).astype(np.float64)
    sums = np.stack([np.bincount(where, shapes[:, side]) for side in (0, 1)], axis=1)
    return sums / weights[:, None], weights


def _cluster(points: Shapes, weights: NDArray[np.float64], k: int, seed: int) -> Shapes:
    rng = np.random.default_rng((seed, k))
    orders = [points[:, side].argsort(kind="stable") for side in (0, 1)]
    best, best_centers = -1.0, points[:k]
    for _ in range(_STARTS):
        centers = _start(points, weights, k, rng)
        own = np.full(len(points), -1)
        for _ in range(_ROUNDS):
            before = own
            own, iou = _nearest(points, centers)
            value = float(iou @ weights)
            if value > best:
                best, best_centers = value, centers
            if (own == before).all():
                break
            centers = _medians(points, weights, own, centers, orders)
    own, _ = _nearest(points, best_centers)
    polished = [_polished(points[own == row], weights[own == row], best_centers[row]) for row in range(k)]
    return np.array(polished)


def _medians(
    points: Shapes,
    weights: NDArray[np.float64],
    own: NDArray[np.int64],
    centers: Shapes,
    orders: list[NDArray[np.int64]],
) -> Shapes:
    """The weighted median width and height of each cluster; an empty one stays where it was."""
    moved = centers.copy()
    for side, order in enumerate(orders):
        clusters, values, heavy = own[order], points[order, side], weights[order]
        for row in range(len(centers)):
            mine = clusters == row
            if mine.any():
                sums = np.cumsum(heavy[mine])
                moved[row, side] = values[mine][np.searchsorted(sums, sums[-1] / 2)]
    return moved


def _polished(points: Shapes, weights: NDArray[np.float64], center: Shapes) -> Shapes:
    """One centre, a side made longer or shorter step by step as long as the IoU with its boxes grows."""
    best = -1.0 if not len(points) else float(shape_iou(points, center[None])[:, 0] @ weights)
    step = _FIRST_STEP
    while step > _LAST_STEP and len(points):
        tried = center * np.array([[1 + step, 1], [1 / (1 + step), 1], [1, 1 + step], [1, 1 / (1 + step)]])
        values = weights @ shape_iou(points, tried)
        at = int(values.argmax())
        if values[at] > best:
            best, center = float(values[at]), tried[at]
        else:
            step /= 2
    return center


def _start(points: Shapes, weights: NDArray[np.float64], k: int, rng: np.random.Generator) -> Shapes:
    """k-means++: each next centre is a box drawn with the square of its distance to those before."""
    chosen = [int(rng.choice(len(points), p=weights / weights.sum()))]
    distance = 1 - shape_iou(points, points[chosen])[:, 0]
    while len(chosen) < k:
        chance = weights * np.maximum(distance, _LEAST) ** 2
        chance[chosen] = 0
        chosen.append(int(rng.choice(len(points), p=chance / chance.sum())))
        distance = np.minimum(distance, 1 - shape_iou(points, points[chosen[-1:]])[:, 0])
    return points[chosen]
