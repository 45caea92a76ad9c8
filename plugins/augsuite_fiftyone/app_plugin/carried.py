"""The labels of an image after a plan: documents for the database, each with all that the label said before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from augsuite.augment import Plan, Warp
from augsuite.augment.plan import Mix
from augsuite.augment.render import arrange
from augsuite.dataset import Sample
from augsuite.dataset.stale import PLACED
from augsuite_fiftyone.app_plugin.documents import placed, traced
from augsuite_fiftyone.app_plugin.originals import MANY, Item, Original, Originals
from augsuite_fiftyone.labels import LISTS, Document

_OF_ONE = frozenset({"annotation_id"})
"""What no other label has: it stays with the label that is shown as `augsuite_source`."""

_GEOMETRY = frozenset({"bounding_box", "mask", "mask_path", "points"})
_TAILS = tuple(f"{mark}{name}" for name in PLACED for mark in "._")


@dataclass
class Carried:
    """What became of the labels of one image.

    Attributes:
        fields: field -> its new value.
        lost: attributes that moving made wrong, and labels of which nothing is left -> how many.
    """

    fields: dict[str, Document] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)


def carried(pool: Originals, original: Original, plan: Plan, after: Sample) -> Carried:
    """Take the labels of an image along.

    A new label keeps what the old one said but for its geometry, and names the old one as `augsuite_source`. In a mixed image those of
    all parts come along; one that is there in part has its share as `augsuite_weight`.

    Args:
        pool: the samples.
        original: the one that the plan was drawn for.
        plan: what was drawn.
        after: what rendering gave.
    """
    return _Carrying(pool, original, plan, after).run()


def is_moved(plan: Plan, original: Original, after: Sample) -> bool:
    """Whether anything lies elsewhere than before."""
    size = after.source.width, after.source.height
    return (
        isinstance(plan.start, Mix)
        or _bends(plan)
        or size != (original.sample.source.width, original.sample.source.height)
        or not np.array_equal(after.matrix, np.eye(3))
    )


@dataclass
class _Carrying:
    pool: Originals
    original: Original
    plan: Plan
    after: Sample

    def __post_init__(self) -> None:
        self.size = (self.after.source.width, self.after.source.height)
        self.moved = is_moved(self.plan, self.original, self.after)
        self.mixed = isinstance(self.plan.start, Mix)
        self.done = Carried()
        self.found: dict[str, list[Document]] = {name: [] for name in self.pool.fields}

    def run(self) -> Carried:
        """All fields."""
        for item, geometry, weight in (*self._boxed(), *self._traced()):
            if geometry is None:
                self.done.lost["labels"] += 1
            else:
                self._add(item, geometry, weight)
        self._labelled()
        self.done.lost["labels"] += max(
            0, len(self.original.boxed) - int((self.after.rows // MANY == self.original.sample.image_row).sum())
        )
        for name, kind in self.pool.fields.items():
            labels = self.found[name]
            if kind in LISTS:
                self.done.fields[name] = {"_cls": kind, LISTS[kind]: labels}
            elif labels:
                self.done.fields[name] = labels[0]  # the own one, where the field has room for one
        self.done.lost = +self.done.lost
        return self.done

    def _boxed(self) -> Iterator[tuple[Item, Document | None, float]]:
        after = self.after
        shapes = after.shapes if self.moved and after.lazy is not None else None
        for row, (place, weight) in enumerate(zip(after.rows.tolist(), after.weights.tolist(), strict=True)):
            image, label = divmod(place, MANY)
            item = self._of(image).boxed[label]
            yield item, placed(item.document, after.boxes[row], shapes, row, self.size) if self.moved else {}, weight

    def _traced(self) -> Iterator[tuple[Item, Document | None, float]]:
        if not self.moved:
            yield from ((trail.item, {}, 1.0) for trail in self.original.trails)
            return
        if not self.original.trails and not (self.mixed and self._has_points):
            return
        start = self.original.followed or self.original.sample
        followed = arrange(relaxed(self.plan), start, self.pool.followed())
        points = followed.shapes.keypoints
        mirrors, bends = bool(np.linalg.det(followed.matrix) < 0), _bends(self.plan)
        for row, (place, weight) in enumerate(zip(followed.rows.tolist(), followed.weights.tolist(), strict=True)):
            image, label = divmod(place, MANY)
            owner = self._of(image)
            if label < len(owner.boxed):
                continue
            for trail in owner.trails:
                own: NDArray[np.float64] = points[row, trail.first : trail.first + sum(trail.lengths)]
                document = trail.item.document
                geometry = traced(document, own, trail.lengths, trail.corners, self.size, bent=bends)
                confidence = document.get("confidence")
                if geometry and mirrors and isinstance(confidence, list) and len(confidence) == len(trail.mirrored):
                    geometry["confidence"] = [confidence[other] for other in trail.mirrored]
                yield trail.item, geometry, weight

    @property
    def _has_points(self) -> bool:
        return not {"Keypoint", "Keypoints", "Polyline", "Polylines"}.isdisjoint(self.pool.fields.values())

    def _labelled(self) -> None:
        """Labels of the whole image: those of the image itself; in a mix that has parts of others, of all, with their shares."""
        before, after = self.original.sample.targets, self.after.targets
        if not self.mixed or before is None or after is None or np.array_equal(before, after):
            for item in self.original.whole:
                self._add(item, {}, 1.0)
            return
        shares = dict.fromkeys(self.pool.fields, 0.0)
        for (name, _), place in self.pool.classes.items():
            shares[name] += float(after[place])
        order = sorted(self.pool.classes.items(), key=lambda pair: -float(after[pair[1]]))
        for (name, label), place in order:
            if after[place] > 0:
                document = {"_cls": "Classification", "tags": [], "label": label}
                self._add(Item(name, document), {}, float(after[place]) / shares[name])

    def _of(self, image: int) -> Original:
        return self.original if image == self.original.sample.image_row else self.pool[image]

    def _add(self, item: Item, geometry: Document, weight: float) -> None:
        document: Document = {}
        for key, value in item.document.items():
            if key in _OF_ONE or (self.moved and key in _GEOMETRY):
                continue
            if self.moved and _says_where(key, value):
                self.done.lost[key] += 1
                continue
            document[key] = value
        document |= geometry
        if "_id" in item.document:
            document["augsuite_source"] = str(item.document["_id"])
        document["_id"] = ObjectId()
        if weight < 1:
            document["augsuite_weight"] = weight
        self.found[item.field].append(document)


def relaxed(plan: Plan) -> Plan:
    """The plan without its rules for boxes: what carries points stays as long as anything of the image is seen."""
    start = plan.start
    if isinstance(start, Mix):
        start = msgspec.structs.replace(start, parts=tuple(map(relaxed, start.parts)))
    ops = tuple(msgspec.structs.replace(op, keep=None) if isinstance(op, Warp) else op for op in plan.ops)
    return msgspec.structs.replace(plan, start=start, ops=ops, min_visible_frac=0.0, min_size=0.0)


def _bends(plan: Plan) -> bool:
    return any(warp.field is not None for warp in plan.warps) or (
        isinstance(plan.start, Mix) and any(map(_bends, plan.start.parts))
    )


def _says_where(key: str, value: Any) -> bool:
    """Whether an attribute that somebody gave a label says where it is or how large."""
    return not isinstance(value, str | bool | None) and (key in PLACED or key.endswith(_TAILS))
