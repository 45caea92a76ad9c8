"""What can be wrong in the tables alone: boxes, categories, names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from augsuite.boxes import Boxes, Layout, convert
from augsuite.dataset.findings import Finding, Place, annotation_places, image_places
from augsuite.dataset.overlaps import overlaps
from augsuite.dataset.tables import Dataset

Mask = NDArray[np.bool_]

OUTSIDE_PX = 0.01
"""A box that reaches less far out of its image does not count: so far fractions of few decimals miss the border."""

NEAR_IOU = 0.95
"""Boxes of one class that overlap so much are taken for one object, annotated twice."""

_ROUNDING_PX = 1e-6  # what fractions in float64 may miss a pixel's border by
_IMBALANCE = 10  # times as many annotations


@dataclass(frozen=True)
class BoxFaults:
    """Which annotations have which fault, `(N,)` each.

    Attributes:
        corners: `(N, 4)` XYXY in pixels; NaN for labels, and where the size of the image is needed and unknown.
        empty: no width or no height, or corners swapped.
        outside: shares nothing with its image.
        reaching: reaches out of its image, but is not wholly outside.
        repeated: has the image, class, box and `ignore` of an earlier one.
    """

    corners: Boxes
    empty: Mask
    outside: Mask
    reaching: Mask
    repeated: Mask


def box_faults(data: Dataset, sizes: NDArray[np.int64]) -> BoxFaults:
    """Look at each box.

    Args:
        data: the dataset.
        sizes: `(I, 2)` width and height of the images; 0 where unknown.
    """
    table = data.annotations
    corners = corners_of(data, sizes)
    own = sizes[table.image_rows]
    known = (own > 0).all(axis=1)
    with np.errstate(invalid="ignore"):
        empty = (corners[:, 2:] <= corners[:, :2]).any(axis=1)
        limits = np.concatenate([np.zeros_like(own), own], axis=1)
        beyond = np.concatenate([limits[:, :2] - corners[:, :2], corners[:, 2:] - limits[:, 2:]], axis=1)
        out = known & (beyond > OUTSIDE_PX).any(axis=1)
        inside = np.minimum(corners[:, 2:], own) - np.maximum(corners[:, :2], 0)
        gone = out & ~empty & (inside <= _ROUNDING_PX).any(axis=1)
    return BoxFaults(corners, _mask(empty), _mask(gone), _mask(out & ~gone & ~empty), _repeated(data))


def _mask(values: ArrayLike) -> Mask:
    return np.asarray(values, bool)


def corners_of(data: Dataset, sizes: NDArray[np.int64]) -> Boxes:
    """`(N, 4)` XYXY in pixels, NaN where the size is needed and unknown."""
    table = data.annotations
    if not table.layout.unit:
        return convert(table.boxes, table.layout, Layout.XYXY_PX)
    own = sizes[table.image_rows]
    known = (own > 0).all(axis=1)
    corners = np.full((len(table), 4), np.nan)
    corners[known] = convert(table.boxes[known], table.layout, Layout.XYXY_PX, own[known])
    return corners


def _repeated(data: Dataset) -> Mask:
    """Annotations that say nothing but what an earlier one said; boxes are compared as they were read, bit by bit."""
    table = data.annotations
    boxes = table.boxes + 0.0  # -0.0 becomes 0.0
    boxes[~table.is_box] = -1e300  # all NaN alike
    order = np.lexsort((*boxes.T, table.ignore, table.category_rows, table.image_rows))
    same = np.ones(max(len(order) - 1, 0), bool)
    for column in (table.image_rows, table.category_rows, table.ignore, *boxes.T):
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    repeated = np.zeros(len(table), bool)
    repeated[order[1:][same]] = True  # lexsort is stable: the first in the dataset stays
    return repeated


def box_findings(data: Dataset, sizes: NDArray[np.int64], places: int) -> Iterator[Finding]:
    """What is wrong with boxes.

    Args:
        data: the dataset.
        sizes: see `box_faults`.
        places: how many places to name.
    """
    faults = box_faults(data, sizes)
    table = data.annotations
    for code, severity, mask, what, advice in (
        ("empty-box", "error", faults.empty, "boxes without area", "--fix drops them"),
        ("box-outside", "error", faults.outside, "boxes wholly outside their image", "--fix drops them"),
        ("box-reaches-out", "warning", faults.reaching, "boxes that reach out of their image", "--fix clips them"),
        (
            "repeated-annotation",
            "warning",
            faults.repeated,
            "annotations that repeat another one's image, class and box",
            "--fix drops those whose other values are equal too",
        ),
    ):
        rows = np.flatnonzero(mask)
        if len(rows):
            first = rows[:places]
            said = [_said(data, faults.corners[row], sizes[table.image_rows[row]], int(row)) for row in first.tolist()]
            yield Finding(
                code=code,
                severity=severity,  # type: ignore[arg-type]  # one of the three, above
                count=len(rows),
                what=what,
                advice=advice,
                places=annotation_places(data, first, said),
            )
    yield from _near(data, faults, places)
    unknown = np.flatnonzero((sizes <= 0).any(axis=1) & (np.bincount(table.image_rows, minlength=len(data)) > 0))
    if len(unknown):
        yield Finding(
            code="size-unknown",
            severity="info",
            count=len(unknown),
            what="images with annotations whose size is not known, so that their boxes were not held against it",
            advice="put the image files beside the annotations",
            places=image_places(data, unknown[:places]),
        )


def _said(data: Dataset, corners: Boxes, size: NDArray[np.int64], row: int) -> str:
    name = data.categories.names[data.annotations.category_rows[row]]
    if np.isnan(corners).any():
        return str(name)
    x, y, right, bottom = (f"{value:.6g}" for value in corners.tolist())
    return f"{name} from ({x}, {y}) to ({right}, {bottom}) in {size[0]} x {size[1]}"


def _near(data: Dataset, faults: BoxFaults, places: int) -> Iterator[Finding]:
    table = data.annotations
    rows = np.flatnonzero(~np.isnan(faults.corners).any(axis=1) & ~faults.empty & ~faults.repeated)
    groups = (table.image_rows * len(data.categories) + table.category_rows)[rows]
    corners = faults.corners[rows]
    left, right, shared = overlaps(groups, corners, groups, corners, NEAR_IOU)
    later = left < right
    left, right, shared = rows[left[later]], rows[right[later]], shared[later]
    alone = table.ignore[left] == table.ignore[right]  # a crowd may hold a single object
    left, right, shared = left[alone], right[alone], shared[alone]
    count = len(np.unique(right))
    if count:
        said = [
            f"{data.categories.names[table.category_rows[one]]}, IoU {value:.3f} with annotation {table.ids[one]}"
            for one, value in zip(left[:places].tolist(), shared[:places].tolist(), strict=True)
        ]
        yield Finding(
            code="near-repeated-box",
            severity="warning",
            count=count,
            what=f"boxes that overlap an earlier one of their class by {NEAR_IOU} or more (IoU)",
            advice="look whether they are one object, annotated twice",
            places=annotation_places(data, right[:places], said),
        )


def category_findings(data: Dataset, places: int) -> Iterator[Finding]:
    """What is to be known about the use of categories."""
    table, names = data.annotations, data.categories.names
    counts = np.bincount(table.category_rows, minlength=len(names))
    unused = np.flatnonzero(counts == 0)
    if len(unused):
        yield Finding(
            code="unused-category",
            severity="info",
            count=len(unused),
            what="categories without annotations",
            advice="nothing to do, unless they should have some",
            places=[Place(said=str(name)) for name in names[unused[:places]]],
        )
    used = counts[counts > 0]
    if len(used) and used.max() >= _IMBALANCE * used.min():
        order = np.argsort(np.where(counts > 0, counts, counts.max() + 1), kind="stable")
        rare = [row for row in order.tolist() if 0 < counts[row] * _IMBALANCE <= used.max()]
        most = int(counts.argmax())
        yield Finding(
            code="class-imbalance",
            severity="info",
            count=len(rare),
            what=f"categories with a tenth or less of the {counts[most]:,} annotations of {names[most]!r}",
            advice="measure each class on its own; add images of the rare ones",
            places=[Place(said=f"{names[row]}: {counts[row]:,}") for row in rare[:places]],
        )
    yield from _unlearnable(data, places)


def _unlearnable(data: Dataset, places: int) -> Iterator[Finding]:
    """Categories that are measured but never trained on."""
    table = data.annotations
    training = np.array([split.lower().startswith("train") for split in data.images.splits.tolist()], bool)
    if not training.any() or training.all():
        return
    shown = training[table.image_rows]
    count = len(data.categories)
    learnt = np.bincount(table.category_rows[shown], minlength=count)
    measured = np.bincount(table.category_rows[~shown], minlength=count)
    rows = np.flatnonzero((learnt == 0) & (measured > 0))
    if len(rows):
        yield Finding(
            code="category-not-in-train",
            severity="warning",
            count=len(rows),
            what="categories that other splits have and the training split has not",
            advice="split anew, or drop them",
            places=[Place(said=f"{data.categories.names[row]}: {measured[row]:,}") for row in rows[:places].tolist()],
        )


def image_findings(data: Dataset, places: int) -> Iterator[Finding]:
    """What is to be known about the rows of images."""
    bare = np.flatnonzero(np.bincount(data.annotations.image_rows, minlength=len(data)) == 0)
    if len(bare):
        yield Finding(
            code="image-without-annotations",
            severity="info",
            count=len(bare),
            what="images without annotations",
            advice="nothing to do, if they show nothing of any category",
            places=image_places(data, bare[:places]),
        )
    keys = list(zip(data.images.names.tolist(), data.images.splits.tolist(), strict=True))
    splits = Counter(name for name, _ in set(keys))
    shared = [row for row, (name, _) in enumerate(keys) if splits[name] > 1]
    if shared:
        yield Finding(
            code="name-in-two-splits",
            severity="info",
            count=sum(times > 1 for times in splits.values()),
            what="file names that stand in more than one split",
            advice="nothing to do, unless they are the same images: then `leak` says so",
            places=image_places(data, shared[:places]),
        )
