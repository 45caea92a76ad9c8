"""Two versions of one dataset to one: what was read of it now, and what was known of it when it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from augsuite.boxes import Boxes
from augsuite.dataset.checks import Intake
from augsuite.dataset.packing import encode
from augsuite.dataset.tables import ABSENT, UNREAD, Annotations, Categories, Dataset, Extra, Images, Rows, objects
from augsuite.dataset.tracing import Place, trace_annotations, trace_categories, trace_images, with_sizes_of

Change = tuple[Any, Any]
"""A value before it was written, and as it was read right after that; ABSENT where there was none."""
Changes = Mapping[str, Mapping[int, Change]]
"""Extra -> row -> how writing and reading changed the value; rows that are not there came back as they were."""


@dataclass
class Memory:
    """What is known of a dataset that was written.

    Attributes:
        data: as it was: all images, categories and annotations, without extras and without files.
        places: for each image where it stood when it was read right after; None if the format could not hold it.
        names: the categories' names, as read.
        written: `(N,)` for each annotation whether the format could hold it.
        boxes: `(N, 4)` corners in pixels as read, where they were other than before; NaN elsewhere.
        ignore: `(N,)` whether `ignore` was read otherwise.
        images: how their extras changed.
        categories: as `images`.
        annotations: as `images`.
        extra: as `images`, for what is said of the dataset as a whole.
    """

    data: Dataset
    places: Sequence[Place | None]
    names: Sequence[str]
    written: NDArray[np.bool_]
    boxes: Boxes
    ignore: NDArray[np.bool_]
    images: Changes = field(default_factory=dict)
    categories: Changes = field(default_factory=dict)
    annotations: Changes = field(default_factory=dict)
    extra: Mapping[str, Change] = field(default_factory=dict)


def restore(now: Dataset, memory: Memory, where: Path, intake: Intake) -> Dataset:
    """What was read now, with what was known before.

    A value that is as it was read right after it was written becomes what it was before; one that was edited since then stays.

    Args:
        now: as read.
        memory: what was known.
        where: the sidecar, for the note.
        intake: told what is new.

    Returns:
        The images and annotations that are still there, and those that the format could not hold, in their order; then what is new.
    """
    before, written = memory.data, memory.written
    traced = trace_images(now, memory.places)
    of_category = trace_categories(now.categories, memory.names)
    before = with_sizes_of(before, now.images, traced)
    expected = np.where(np.isnan(memory.boxes), before.boxes(), memory.boxes)
    matches = trace_annotations(now, before, expected, written, traced, of_category)
    images, rows_now, rows_before = _merge_images(now, memory, before.images, traced)
    categories, of_now = _merge_categories(now.categories, memory, of_category)
    table = _merge_annotations(now, memory, matches, rows_now, rows_before, of_now)
    gone = rows_before[before.annotations.image_rows] < 0
    kept = int((~gone & (~written | (matches >= 0))).sum())
    changed = int((written & (matches < 0)).sum())
    new = len(table) - kept
    if new or changed:
        intake.note(
            f"{where}: {changed:,} annotations are no longer as they were written and {new:,} are new; these have the values "
            "of the files alone"
        )
    extra = dict(now.extra)
    for key, change in memory.extra.items():
        value = _restored(extra.pop(key, ABSENT), change)
        if value is not ABSENT:
            extra[key] = value
    return replace(now, images=images, categories=categories, annotations=table, extra=extra)


def _merge_images(now: Dataset, memory: Memory, first: Images, traced: Rows) -> tuple[Images, Rows, Rows]:
    """The images; and the row in them of each image of `now` and of those before (-1 for one that is gone)."""
    place_now = np.full(len(first), -1, np.int64)
    place_now[traced[traced >= 0]] = np.flatnonzero(traced >= 0)
    unwritten = np.array([place is None for place in memory.places], bool)
    old = np.flatnonzero((place_now >= 0) | unwritten)
    new = np.flatnonzero(traced < 0)
    rows_before = np.full(len(first), -1, np.int64)
    rows_before[old] = np.arange(len(old))
    rows_now = np.where(traced >= 0, rows_before[traced], -1)
    rows_now[new] = len(old) + np.arange(len(new))
    first, others = first.take(old), now.images.take(new)
    back = place_now[old]
    files, splits = first.files.copy(), first.splits.copy()
    files[back >= 0] = now.images.files[back[back >= 0]]
    for row in np.flatnonzero(back >= 0).tolist():
        place = memory.places[old[row]]
        if place is not None and now.images.splits[back[row]] != place.split:
            splits[row] = now.images.splits[back[row]]
    source = np.concatenate([back, new])
    images = Images(
        np.concatenate([first.names, others.names]),
        np.concatenate([first.sizes, others.sizes]),
        _with_new_ids(first.ids, len(new)),
        np.concatenate([splits, others.splits]),
        np.concatenate([files, others.files]),
        _merge_extras(memory.images, now.images.extra, source, rows_before),
    )
    return images, rows_now, rows_before


def _merge_categories(now: Categories, memory: Memory, of_category: Mapping[int, int]) -> tuple[Categories, Rows]:
    """The categories; and the row in them of each category of `now`."""
    before = memory.data.categories
    names, of_now = before.names.tolist(), np.zeros(len(now), np.int64)
    taken = set(names)
    for row, name in enumerate(now.names.tolist()):
        if row in of_category:
            of_now[row] = of_category[row]
            continue
        while name in taken:  # what a writer called another category is now the name of a new one
            name += "_"  # noqa: PLW2901
        taken.add(name)
        of_now[row] = len(names)
        names.append(name)
    source = np.full(len(names), -1, np.int64)
    source[of_now] = np.arange(len(now))
    extra = _merge_extras(memory.categories, now.extra, source, np.arange(len(before)))
    return Categories(objects(names), _with_new_ids(before.ids, len(names) - len(before)), extra), of_now


def _merge_annotations(
    now: Dataset, memory: Memory, matches: Rows, rows_now: Rows, rows_before: Rows, of_now: Rows
) -> Annotations:
    table, earlier, written = now.annotations, memory.data.annotations, memory.written
    old = np.flatnonzero((rows_before[earlier.image_rows] >= 0) & (~written | (matches >= 0)))
    place = np.full(len(earlier), -1, np.int64)
    place[old] = np.arange(len(old))
    is_new = np.ones(len(table), bool)
    is_new[matches[matches >= 0]] = False
    new = np.flatnonzero(is_new)
    first, others = earlier.take(old), table.take(new)
    source = np.concatenate([np.where(written[old], matches[old], -1), new])
    ignore = np.concatenate([first.ignore, others.ignore])
    as_read = np.flatnonzero((source[: len(old)] >= 0) & ~memory.ignore[old])
    ignore[as_read] = table.ignore[source[as_read]]
    boxes = others.boxes if table.layout is first.layout else now.boxes(first.layout)[new]
    return Annotations(
        np.concatenate([rows_before[first.image_rows], rows_now[others.image_rows]]),
        np.concatenate([first.category_rows, of_now[others.category_rows]]),
        np.concatenate([first.boxes, boxes]),
        first.layout,
        _with_new_ids(first.ids, len(new)),
        ignore,
        _merge_extras(memory.annotations, table.extra, source, place),
    )


def _with_new_ids(ids: Rows, count: int) -> Rows:
    return np.concatenate([ids, ids.max(initial=0) + 1 + np.arange(count)]).astype(np.int64)


def _merge_extras(changes: Changes, others: Extra, source: Rows, place: Rows) -> dict[str, NDArray[np.object_]]:
    """Extras of all rows: as read now, with what changed changed back.

    Args:
        changes: by row before.
        others: as read now.
        source: which row of `others` each row is (-1: none).
        place: which row each row before is (-1: it is gone).
    """
    merged = {}
    for key in dict.fromkeys((*changes, *others)):
        column = np.full(len(source), ABSENT, object)
        if key in others:
            column[source >= 0] = others[key][source[source >= 0]]
        at = place.tolist()
        for row, change in changes.get(key, {}).items():
            if at[row] >= 0:
                column[at[row]] = _restored(column[at[row]], change)
        if key in changes and all(value is ABSENT for value in column):
            continue
        merged[key] = column
    return merged


def _restored(now: Any, change: Change) -> Any:
    """A value as it was before, if it is as it was read."""
    before, read = change
    return before if (now is UNREAD and read is not ABSENT) or alike(now, read) else now


def alike(first: Any, second: Any) -> bool:
    """Whether two values are the same, written alike."""
    if first is second:
        return True
    if first is ABSENT or second is ABSENT or first is UNREAD or second is UNREAD:
        return False
    if type(first) is type(second) and isinstance(first, str | int):
        return bool(first == second)
    return _text(first) == _text(second)


def _text(value: Any) -> bytes:
    return bytes(value) if isinstance(value, Raw) else encode(value).encode()
