"""Which object of a dataset is which after somebody worked on it in an annotation tool, and what about it is other than before.

`annotation_matching` compares two datasets of any origin. Here one is known to be the other, edited: an outline that is exactly where
another was is the same object whatever its class now is, and one that was dragged along still overlaps where it was.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes
from augsuite.dataset.overlaps import assigned, overlaps
from augsuite.dataset.shapes import is_polygons, polygons
from augsuite.dataset.tables import ABSENT, Dataset, Rows

_SAME_OBJECT_IOU = 0.5  # as in annotation_matching
_DRAGGED_IOU = 0.1  # of one class: the least that still says "moved", and not "deleted, and another one drawn"
_AROUND = np.array([-0.5, -0.5, 0.5, 0.5])  # pixels: thin boxes that moved by a pixel overlap, too

_STAGES = (
    (True, True, _SAME_OBJECT_IOU),
    (False, True, _SAME_OBJECT_IOU),
    (True, False, _SAME_OBJECT_IOU),
    (False, False, _SAME_OBJECT_IOU),
    (True, False, _DRAGGED_IOU),
)
"""Of one class or any, at the same place or near it, the least overlap."""

WHERE = frozenset({"geometry", "mask", "points", "rotation", "segmentation", "shape", "shape_type"})
"""Last parts of names of extras that say where an object is."""


def pair_objects(
    first: Dataset, second: Dataset, left: Rows, right: Rows, tolerance: float
) -> tuple[Rows, Rows, Rows, Rows]:
    """Pair the annotations of paired images, each at most once: those at one place, then those that overlap most.

    Args:
        first: before.
        second: after.
        left: `(P,)` image rows of the first.
        right: `(P,)` image rows of the second.
        tolerance: pixels that a coordinate may differ at one place.

    Returns:
        `(Q,)` and `(Q,)` annotation rows of both; those of the first that are left over, and those of the second, of paired images.
    """
    names = {name: row for row, name in enumerate(first.categories.names)}
    common = np.array([names.setdefault(name, len(names)) for name in second.categories.names], np.int64)
    groups, corners = [], []
    for data, rows in ((first, left), (second, right)):
        pair_of = np.full(len(data), -1, np.int64)
        pair_of[rows] = np.arange(len(rows))
        groups.append(pair_of[data.annotations.image_rows])
        corners.append(data.boxes())
    labels = [first.annotations.category_rows, common[second.annotations.category_rows]]
    classes = len(names)
    free = [group >= 0 for group in groups]
    found: list[list[Rows]] = []
    for one_class, in_place, least in _STAGES:
        rest = [np.flatnonzero(each) for each in free]
        keys = [groups[side] * classes + labels[side] if one_class else groups[side] for side in (0, 1)]
        grown = [corners[side][rest[side]] + _AROUND for side in (0, 1)]
        one, other, shared = overlaps(keys[0][rest[0]], grown[0], keys[1][rest[1]], grown[1], least)
        if in_place:
            near = close(corners[0][rest[0][one]], corners[1][rest[1][other]], tolerance).all(axis=1)
            one, other, shared = one[near], other[near], shared[near]
        chosen = assigned(one, other, shared)
        pairs = [rest[0][one[chosen]], rest[1][other[chosen]]]
        found.append(pairs)
        for side in (0, 1):
            free[side][pairs[side]] = False
    pairs = [np.concatenate([each[side] for each in found]) for side in (0, 1)]
    order = np.argsort(pairs[0], kind="stable")
    return pairs[0][order], pairs[1][order], np.flatnonzero(free[0]), np.flatnonzero(free[1])


def close(one: Boxes, other: Boxes, tolerance: float) -> NDArray[np.bool_]:
    """`(N, 4)` which coordinates agree; those of labels of whole images do."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(one - other) <= tolerance) | (np.isnan(one) & np.isnan(other)))


def same_value(key: str, before: Any, after: Any, tolerance: float) -> bool:
    """Whether an extra is as it was.

    What says nothing (absent, empty, 0) is the same as nothing: tools write their defaults out. Numbers that say where an object is may
    differ by the tolerance; all others must be equal.

    Args:
        key: the extra's name.
        before: a value, or ABSENT.
        after: the same.
        tolerance: in pixels.
    """
    if before is after:
        return True
    if key == "segmentation":
        return same_shape(before, after, tolerance)
    before, after = plain(before), plain(after)
    if says_nothing(before) or says_nothing(after):
        return says_nothing(before) and says_nothing(after)
    return _alike(before, after, tolerance if key.rpartition(".")[2] in WHERE else 0.0)


def same_shape(before: Any, after: Any, tolerance: float) -> bool:
    """Whether two values of `segmentation` are one shape: the same rings of the same points, or the same mask."""
    if is_polygons(before) and is_polygons(after):
        rings = polygons(before) or [], polygons(after) or []
        return [len(ring) for ring in rings[0]] == [len(ring) for ring in rings[1]] and all(
            bool((np.abs(np.subtract(one, other)) <= tolerance).all()) for one, other in zip(*rings, strict=True)
        )
    before, after = plain(before), plain(after)
    return (says_nothing(before) and says_nothing(after)) or _alike(before, after, 0.0)


def says_nothing(value: Any) -> bool:
    """Whether a value is what a tool writes where nobody said anything."""
    return value is ABSENT or value in (None, False, 0, "", "0", "0.0", [], {})


def plain(value: Any) -> Any:
    """A value whose JSON is decoded, so that its spelling does not count."""
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


def _alike(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(_alike(a, b, tolerance) for a, b in zip(one, other, strict=True))
    if tolerance and one != other:
        try:
            return abs(float(one) - float(other)) <= tolerance
        except (TypeError, ValueError):
            return False
    return bool(one == other)
