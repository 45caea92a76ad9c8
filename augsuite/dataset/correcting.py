"""An annotator's edits carried over to the dataset that the work was made of: what was not touched stays as it was, bit by bit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes, Layout, convert
from augsuite.dataset.heads import without_spellings
from augsuite.dataset.losses import is_spelling
from augsuite.dataset.object_pairs import WHERE, close, plain, same_shape, same_value, says_nothing
from augsuite.dataset.overlaps import pairwise_iou
from augsuite.dataset.tables import ABSENT, Annotations, Categories, Dataset, Extra, Images, Rows, objects, strings

Kind = Literal["moved", "reshaped", "relabelled", "attributes", "deleted", "added"]

_OF_BOX = WHERE | {"area", "bbox", "obb", "polygon"}
"""Last parts of names of extras that are wrong once a box was moved, where the tool that moved it knows nothing of them."""

_BOOKKEEPING = frozenset(
    {"cvat.id", "cvat.group_id", "cvat.job_id", "cvat.source", "cvat.task_id", "labelme.imageData"}
)
"""Extras in which tools count for themselves."""


class Edit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an annotator did to one object.

    Attributes:
        kinds: what changed, one thing or several.
        image: the image's name.
        split: its split.
        id: of the annotation, in the corrected dataset; of a deleted one, in the dataset before.
        category: the class before; that of an added object.
        category_now: the class after, where it is another.
        box: xmin, ymin, xmax, ymax in pixels before; None for a label of the whole image and for what was added.
        box_now: the same after; None for what was deleted.
        px: the largest difference of a coordinate.
        iou: intersection over union of both boxes.
        values: the names of the extras that changed.
    """

    kinds: tuple[Kind, ...]
    image: str
    split: str = ""
    id: int
    category: str
    category_now: str = ""
    box: tuple[float, float, float, float] | None = None
    box_now: tuple[float, float, float, float] | None = None
    px: float = 0.0
    iou: float = 1.0
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """What came back from an annotator, row by row.

    Attributes:
        data: the dataset that the work was made of.
        given: the same, as the annotator's tool was given it: through the tool's format.
        annotated: as it came back; categories by the names of `given`.
        base: `(Q,)` rows of `data.annotations` of the objects that are in all three; -1 where `given` has one that `data` has not.
        before: `(Q,)` their rows in `given`.
        after: `(Q,)` their rows in `annotated`.
        deleted: rows of `data.annotations`.
        added: rows of `annotated.annotations`.
        images: `(P,)` rows of `data.images` that were worked on.
        images_given: `(P,)` their rows in `given`.
        images_after: `(P,)` their rows in `annotated`.
        categories: row of `annotated.categories` -> row of `data.categories`; new ones follow the last.
        new_categories: the names of those.
        shapes_only: whether the tool knows the box of an object only as what is around its outline.
    """

    data: Dataset
    given: Dataset
    annotated: Dataset
    base: Rows
    before: Rows
    after: Rows
    deleted: Rows
    added: Rows
    images: Rows
    images_given: Rows
    images_after: Rows
    categories: Rows
    new_categories: Sequence[str] = ()
    shapes_only: bool = False


@dataclass
class _Changes:
    """What changes in the rows that stay."""

    labels: dict[int, int] = field(default_factory=dict)
    boxes: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    ignore: dict[int, bool] = field(default_factory=dict)
    extra: defaultdict[str, dict[int, Any]] = field(default_factory=lambda: defaultdict(dict))


def apply(work: Work, tolerance: float) -> tuple[Dataset, list[Edit], Counter[str]]:
    """Carry the edits over.

    Args:
        work: what came back.
        tolerance: pixels that a tool may round off.

    Returns:
        The corrected dataset: objects in their order, then those that were added; every edit, image by image; and what else there is to
        say -> how often.
    """
    data, notes = work.data, Counter[str]()
    changes = _Changes()
    edits = _changed(work, tolerance, changes, notes)
    table = data.annotations
    corners = data.boxes()
    names = [*data.categories.names.tolist(), *work.new_categories]
    for row in work.deleted.tolist():
        edits.append((int(table.image_rows[row]), _edit(data, row, ("deleted",), names, corners[row], None)))
    image_of = np.full(len(work.annotated), -1, np.int64)
    image_of[work.images_after] = work.images
    first_id = int(table.ids.max(initial=0)) + 1
    new = _added(work, image_of, first_id)
    new_corners = work.annotated.boxes()[work.added]
    for at in range(len(new)):
        image = int(new.image_rows[at])
        edit = Edit(
            kinds=("added",),
            image=data.images.names[image],
            split=data.images.splits[image],
            id=int(new.ids[at]),
            category=names[new.category_rows[at]],
            box_now=_numbers(new_corners[at]),
        )
        edits.append((image, edit))
    edits.sort(key=lambda each: each[0])
    corrected = replace(
        data,
        images=_images(work, tolerance, notes),
        categories=_categories(data.categories, work.new_categories),
        annotations=_table(data, changes, work.deleted, new),
        extra=without_spellings(data.extra) if edits else data.extra,
    )
    return corrected, [edit for _, edit in edits], notes


def _changed(work: Work, tolerance: float, changes: _Changes, notes: Counter[str]) -> list[tuple[int, Edit]]:
    """The edits of objects that were there before and still are."""
    data, given, annotated = work.data, work.given.annotations, work.annotated.annotations
    known = work.base >= 0
    base, before, after = work.base[known], work.before[known], work.after[known]
    corners = data.boxes()
    seen, now = work.given.boxes()[before], work.annotated.boxes()[after]
    stayed = close(seen, now, tolerance)
    of_given = {name: row for row, name in enumerate(work.given.categories.names)}
    common = np.array([of_given.get(name, -1) for name in work.annotated.categories.names] or [-1], np.int64)
    relabelled = given.category_rows[before] != common[annotated.category_rows[after]]
    ignore = given.ignore[before] != annotated.ignore[after]
    values = _differences(given.extra, annotated.extra, before, after, tolerance)
    names = [*data.categories.names.tolist(), *work.new_categories]
    moved = np.asarray(~stayed.all(axis=1), bool)
    if work.shapes_only:
        moved &= ~_same_outlines(given.extra, annotated.extra, before, after, tolerance, moved)
    overlap = pairwise_iou(seen, now)
    edits: list[tuple[int, Edit]] = []
    rows = sorted({*np.flatnonzero(moved | relabelled | ignore).tolist(), *(row for row, _ in values)})
    of_row: dict[int, list[str]] = defaultdict(list)
    for row, key in values:
        of_row[row].append(key)
    for at in rows:
        row, other = int(base[at]), int(after[at])
        keys = of_row[at]
        where = [key for key in keys if key.rpartition(".")[2] in WHERE]
        box_now = corners[row]
        for key in keys:
            changes.extra[key][row] = annotated.extra[key][other] if key in annotated.extra else ABSENT
        if moved[at]:
            # A coordinate that was not touched keeps all its digits.
            box_now = np.where(stayed[at], corners[row], now[at])
            changes.boxes[row] = box_now
            _forget(data.annotations.extra, row, keys, work.given.annotations.extra, changes, notes)
        elif where:
            _forget_area(data.annotations.extra, row, changes)
        if relabelled[at]:
            changes.labels[row] = int(work.categories[annotated.category_rows[other]])
        if ignore[at]:
            changes.ignore[row] = bool(annotated.ignore[other])
        kinds: list[Kind] = ["moved"] if moved[at] else ["reshaped"] if where else []
        kinds += ["relabelled"] if relabelled[at] else []
        others = tuple([key for key in keys if key not in where] + ["ignore"] * bool(ignore[at]))
        kinds += ["attributes"] if others else []
        if kinds:
            label = changes.labels.get(row)
            edit = _edit(data, row, tuple(kinds), names, corners[row], box_now, label, float(overlap[at]), others)
            edits.append((int(data.annotations.image_rows[row]), edit))
    return edits


def _differences(before: Extra, after: Extra, rows: Rows, others: Rows, tolerance: float) -> list[tuple[int, str]]:
    """Pair and name of each extra that is not as it was."""
    found = []
    for key in dict.fromkeys((*before, *after)):
        if key in _BOOKKEEPING or is_spelling(key):
            continue
        one = before[key][rows].tolist() if key in before else [ABSENT] * len(rows)
        other = after[key][others].tolist() if key in after else [ABSENT] * len(rows)
        found += [
            (row, key)
            for row, (was, now) in enumerate(zip(one, other, strict=True))
            if was is not now and not same_value(key, was, now, tolerance)
        ]
    return found


def _same_outlines(
    before: Extra, after: Extra, rows: Rows, others: Rows, tolerance: float, asked: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which of the pairs asked for have one outline."""
    same = np.zeros(len(rows), bool)
    if "segmentation" in before and "segmentation" in after:
        one, other = before["segmentation"][rows], after["segmentation"][others]
        for row in np.flatnonzero(asked).tolist():
            same[row] = not says_nothing(plain(one[row])) and same_shape(one[row], other[row], tolerance)
    return same


def _forget(extra: Extra, row: int, kept: Sequence[str], known: Extra, changes: _Changes, notes: Counter[str]) -> None:
    """Take away what a row says of its old box, unless the annotator's tool says it too."""
    for key, column in extra.items():
        said = column[row]
        if said is ABSENT or key in kept:
            continue
        if is_spelling(key) or (key.rpartition(".")[2] in _OF_BOX and key not in known):
            changes.extra[key][row] = ABSENT
            if not is_spelling(key) and not key.endswith(".area"):
                notes[f"{key} of boxes that were moved says where they were before, and was left out"] += 1


def _forget_area(extra: Extra, row: int, changes: _Changes) -> None:
    for key, column in extra.items():
        if column[row] is not ABSENT and (key.rpartition(".")[2] == "area" or is_spelling(key)):
            changes.extra[key][row] = ABSENT


def _edit(
    data: Dataset,
    row: int,
    kinds: tuple[Kind, ...],
    names: Sequence[str],
    box: NDArray[np.float64],
    box_now: NDArray[np.float64] | None,
    label: int | None = None,
    iou: float = 1.0,
    values: tuple[str, ...] = (),
) -> Edit:
    table = data.annotations
    image = int(table.image_rows[row])
    return Edit(
        kinds=kinds,
        image=data.images.names[image],
        split=data.images.splits[image],
        id=int(table.ids[row]),
        category=names[table.category_rows[row]],
        category_now="" if label is None else names[label],
        box=_numbers(box),
        box_now=None if box_now is None else _numbers(box_now),
        px=0.0 if box_now is None else float(np.nan_to_num(np.abs(box - box_now)).max()),
        iou=iou,
        values=values,
    )


def _numbers(box: NDArray[np.float64]) -> tuple[float, float, float, float] | None:
    return None if np.isnan(box[0]) else tuple(box.tolist())


def _added(work: Work, image_of: Rows, first_id: int) -> Annotations:
    """The rows that are new, in the layout of the dataset."""
    data = work.data
    new = work.annotated.annotations.take(work.added)
    image_rows = image_of[new.image_rows]
    extra = {}
    for key, values in new.extra.items():
        said = objects(ABSENT if says_nothing(plain(value)) else value for value in values.tolist())
        if key not in _BOOKKEEPING and not is_spelling(key) and any(value is not ABSENT for value in said):
            extra[key] = said
    return Annotations(
        image_rows,
        work.categories[new.category_rows],
        _in_layout(work.annotated.boxes()[work.added], data.annotations.layout, data.images.sizes[image_rows]),
        data.annotations.layout,
        np.arange(first_id, first_id + len(new), dtype=np.int64),
        new.ignore,
        extra,
    )


def _in_layout(corners: Boxes, layout: Layout, sizes: NDArray[np.int64]) -> Boxes:
    return convert(corners, Layout.XYXY_PX, layout, sizes if layout.unit else None)


def _table(data: Dataset, changes: _Changes, deleted: Rows, new: Annotations) -> Annotations:
    table = data.annotations
    labels, boxes, ignore = table.category_rows.copy(), table.boxes.copy(), table.ignore.copy()
    for row, label in changes.labels.items():
        labels[row] = label
    if changes.boxes:
        rows = np.array(list(changes.boxes), np.int64)
        corners = np.array(list(changes.boxes.values()))
        boxes[rows] = _in_layout(corners, table.layout, data.images.sizes[table.image_rows[rows]])
    for row, flag in changes.ignore.items():
        ignore[row] = flag
    kept = np.ones(len(table), bool)
    kept[deleted] = False
    extra = {}
    for key in dict.fromkeys((*table.extra, *changes.extra, *new.extra)):
        column = table.extra[key].copy() if key in table.extra else np.full(len(table), ABSENT, object)
        for row, value in changes.extra.get(key, {}).items():
            column[row] = value
        added = new.extra[key] if key in new.extra else np.full(len(new), ABSENT, object)
        extra[key] = np.concatenate([column[kept], added])
    return Annotations(
        np.concatenate([table.image_rows[kept], new.image_rows]),
        np.concatenate([labels[kept], new.category_rows]),
        np.concatenate([boxes[kept], new.boxes]),
        table.layout,
        np.concatenate([table.ids[kept], new.ids]),
        np.concatenate([ignore[kept], new.ignore]),
        extra,
    )


def _categories(table: Categories, names: Sequence[str]) -> Categories:
    if not names:
        return table
    first = int(table.ids.max(initial=0)) + 1
    return Categories(
        strings([*table.names.tolist(), *names]),
        np.concatenate([table.ids, np.arange(first, first + len(names), dtype=np.int64)]),
        {key: np.concatenate([values, np.full(len(names), ABSENT, object)]) for key, values in table.extra.items()},
    )


def _images(work: Work, tolerance: float, notes: Counter[str]) -> Images:
    """What the annotator said of images beside their objects: lines and points that have no box, flags."""
    images = work.data.images
    found = _differences(
        work.given.images.extra, work.annotated.images.extra, work.images_given, work.images_after, tolerance
    )
    extra: dict[str, NDArray[np.object_]] = {key: values.copy() for key, values in images.extra.items()}
    for pair, key in found:
        column = extra.setdefault(key, np.full(len(images), ABSENT, object))
        after: Mapping[str, NDArray[np.object_]] = work.annotated.images.extra
        column[work.images[pair]] = after[key][work.images_after[pair]] if key in after else ABSENT
        notes[f"{key} of images changed"] += 1
    return replace(images, extra=extra) if found else images
