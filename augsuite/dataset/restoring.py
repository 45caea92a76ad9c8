"""Two versions of one dataset to one: what was read of it now, and what was known of it when it was written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset.checks import Intake
from augsuite.dataset.tables import ABSENT, Annotations, Categories, Dataset, Extra, Images, Rows, objects

_CLOSE_PX = 1e-3
"""How far a coordinate may be from the one that was written and still be the same: formats round."""


def restore(
    now: Dataset,
    before: Dataset,
    paths: Sequence[str],
    written: NDArray[np.bool_],
    keeps: Collection[str],
    where: Path,
    intake: Intake,
) -> Dataset:
    """What was read now, with what was known before.

    Args:
        now: as read.
        before: as it was; images without files.
        paths: for each image of `before` where its file was written; "" if the format could not hold it.
        written: for each annotation of `before` whether the format could hold it.
        keeps: what the format keeps; for this `now` counts.
        where: the sidecar, for the note.
        intake: told what is new.

    Returns:
        The images and annotations of `before` that are still there, and those that the format could not hold, in their order; then
        what is new.
    """
    images = _match_images(now, paths)
    data, rows_now, rows_before = _merge_images(now, before, images, np.array(paths, object) == "", keeps)
    categories, of_now, of_before = _merge_categories(now.categories, before.categories)
    matches = _match_annotations(now, before, images, written, of_now, of_before)
    table = _merge_annotations(now, before, matches, written, rows_now, rows_before, of_now, of_before, keeps)
    new = (
        len(table)
        - int((matches >= 0).sum())
        - int((~written & (rows_before[before.annotations.image_rows] >= 0)).sum())
    )
    changed = int((written & (matches < 0)).sum())
    if new or changed:
        intake.note(
            f"{where}: {changed:,} annotations are no longer as they were written and {new:,} are new; these have the values "
            "of the files alone"
        )
    return replace(data, categories=categories, annotations=table, extra={**now.extra, **before.extra})


def _match_images(now: Dataset, paths: Sequence[str]) -> Rows:
    """For each image of `now` its row among those written, or -1: by its file's path, else by the end of a path that only one has."""
    by_path = {path: row for row, path in enumerate(paths) if path}
    matched = np.array([by_path.get(file, -1) for file in now.images.files.tolist()], np.int64)
    rest = np.flatnonzero(matched < 0).tolist()
    if not rest:
        return matched
    endings: dict[str, int] = {}
    for path, row in by_path.items():
        for ending in _endings(path):
            endings[ending] = -1 if ending in endings else row
    taken = set(matched.tolist())
    for row in rest:
        name, split = now.images.names[row], now.images.splits[row]
        for ending in (f"{split}/{name}", name, name.rpartition(".")[0] or name):
            found = endings.get(ending, -1)
            if found >= 0 and found not in taken:
                matched[row] = found
                taken.add(found)
                break
    return matched


def _endings(path: str) -> set[str]:
    """`a/b.jpg`, `b.jpg` and, for formats whose files name no suffix, `a/b` and `b`."""
    parts = path.split("/")
    whole = {"/".join(parts[place:]) for place in range(len(parts))}
    return whole | {ending.rpartition(".")[0] for ending in whole if "." in ending.rpartition("/")[2]}


def _merge_images(
    now: Dataset, before: Dataset, matched: Rows, unwritten: NDArray[np.bool_], keeps: Collection[str]
) -> tuple[Dataset, Rows, Rows]:
    """The images; and the row in them of each image of `now` and of `before` (-1 for one that is gone)."""
    place_now = np.full(len(before), -1, np.int64)
    place_now[matched[matched >= 0]] = np.flatnonzero(matched >= 0)
    stays = (place_now >= 0) | unwritten
    old = np.flatnonzero(stays)
    new = np.flatnonzero(matched < 0)
    rows_before = np.full(len(before), -1, np.int64)
    rows_before[old] = np.arange(len(old))
    rows_now = np.where(matched >= 0, rows_before[matched], -1)
    rows_now[new] = len(old) + np.arange(len(new))
    first, others = before.images.take(old), now.images.take(new)
    back = place_now[old]
    files = first.files.copy()
    files[back >= 0] = now.images.files[back[back >= 0]]
    splits = first.splits.copy()
    if "splits" in keeps:
        splits[back >= 0] = now.images.splits[back[back >= 0]]
    sizes = np.concatenate([first.sizes, others.sizes])
    known = back >= 0
    unknown = (sizes[: len(old)] <= 0).any(axis=1) & known
    sizes[: len(old)][unknown] = now.images.sizes[back[unknown]]
    source = np.concatenate([back, new])
    images = Images(
        np.concatenate([first.names, others.names]),
        sizes,
        _with_new_ids(first.ids, len(new)),
        np.concatenate([splits, others.splits]),
        np.concatenate([files, others.files]),
        _merge_extras(first.extra, now.images.extra, source),
    )
    return replace(now, images=images, annotations=now.annotations.take(np.zeros(0, np.int64))), rows_now, rows_before


def _with_new_ids(ids: Rows, count: int) -> Rows:
    return np.concatenate([ids, ids.max(initial=0) + 1 + np.arange(count)]).astype(np.int64)


def _merge_extras(first: Extra, others: Extra, source: Rows) -> dict[str, NDArray[np.object_]]:
    """Extras of all rows: `first` begins them, `source` says which row of `others` each is (-1: none)."""
    merged = {}
    for key, values in others.items():
        column = np.full(len(source), ABSENT, object)
        column[source >= 0] = values[source[source >= 0]]
        merged[key] = column
    for key, values in first.items():
        column = np.full(len(source), ABSENT, object)
        column[: len(values)] = values
        merged[key] = column
    return merged


def _merge_categories(now: Categories, before: Categories) -> tuple[Categories, Rows, Rows]:
    """The categories; and the row in them of each category of `now` and of `before`."""
    rows = {name: row for row, name in enumerate(before.names.tolist())}
    new = [row for row, name in enumerate(now.names.tolist()) if name not in rows]
    for row in new:
        rows[now.names[row]] = len(rows)
    of_now = np.array([rows[name] for name in now.names.tolist()], np.int64)
    source = np.full(len(rows), -1, np.int64)
    source[of_now] = np.arange(len(now))
    categories = Categories(
        objects(rows), _with_new_ids(before.ids, len(new)), _merge_extras(before.extra, now.extra, source)
    )
    return categories, of_now, np.arange(len(before))


def _match_annotations(
    now: Dataset, before: Dataset, images: Rows, written: NDArray[np.bool_], of_now: Rows, of_before: Rows
) -> Rows:
    """For each annotation of `before` the row in `now` that it became, or -1."""
    matches = np.full(len(written), -1, np.int64)
    image_now, image_before = images[now.annotations.image_rows], before.annotations.image_rows
    class_now, class_before = of_now[now.annotations.category_rows], of_before[before.annotations.category_rows]
    order_now = np.argsort(image_now, kind="stable")
    order_now = order_now[image_now[order_now] >= 0]
    order_before = np.flatnonzero(written)[np.argsort(image_before[written], kind="stable")]
    corners_now = now.boxes(Layout.XYXY_PX)
    corners_before = replace(before, images=_sized(before.images, now.images, images)).boxes(Layout.XYXY_PX)

    def same(rows: Rows, others: Rows) -> NDArray[np.bool_]:
        gap = np.abs(corners_before[rows] - corners_now[others]).max(axis=1, initial=0)
        labels = np.isnan(corners_before[rows, 0]) & np.isnan(corners_now[others, 0])
        found: NDArray[np.bool_] = (class_before[rows] == class_now[others]) & ((gap <= _CLOSE_PX) | labels)
        return found

    if len(order_now) == len(order_before) and (image_now[order_now] == image_before[order_before]).all():
        alike = same(order_before, order_now)
        matches[order_before[alike]] = order_now[alike]
        rest_now, rest_before = order_now[~alike], order_before[~alike]
    else:
        rest_now, rest_before = order_now, order_before
    free: dict[int, list[int]] = defaultdict(list)
    for row in rest_now.tolist():
        free[int(image_now[row])].append(row)
    for row in rest_before.tolist():
        candidates = np.array(free.get(int(image_before[row]), []), np.int64)
        if not len(candidates):
            continue
        fits = np.flatnonzero(same(np.full(len(candidates), row), candidates))
        if len(fits):
            matches[row] = candidates[fits[0]]
            free[int(image_before[row])].pop(int(fits[0]))
    return matches


def _sized(images: Images, now: Images, matched: Rows) -> Images:
    """The images with sizes from now where they were not known."""
    sizes = images.sizes.copy()
    found = np.flatnonzero(matched >= 0)
    unknown = (sizes[matched[found]] <= 0).any(axis=1)
    sizes[matched[found[unknown]]] = now.sizes[found[unknown]]
    return replace(images, sizes=sizes)


def _merge_annotations(
    now: Dataset,
    before: Dataset,
    matches: Rows,
    written: NDArray[np.bool_],
    rows_now: Rows,
    rows_before: Rows,
    of_now: Rows,
    of_before: Rows,
    keeps: Collection[str],
) -> Annotations:
    table, earlier = now.annotations, before.annotations
    old = np.flatnonzero((rows_before[earlier.image_rows] >= 0) & (~written | (matches >= 0)))
    is_new = np.ones(len(table), bool)
    is_new[matches[matches >= 0]] = False
    new = np.flatnonzero(is_new)
    first, others = earlier.take(old), table.take(new)
    source = np.concatenate([np.where(written[old], matches[old], -1), new])
    ignore = np.concatenate([first.ignore, others.ignore])
    if "ignore" in keeps:
        ignore[source >= 0] = table.ignore[source[source >= 0]]
    boxes = others.boxes if table.layout is first.layout else now.boxes(first.layout)[new]
    return Annotations(
        np.concatenate([rows_before[first.image_rows], rows_now[others.image_rows]]),
        np.concatenate([of_before[first.category_rows], of_now[others.category_rows]]),
        np.concatenate([first.boxes, boxes]),
        first.layout,
        _with_new_ids(first.ids, len(new)),
        ignore,
        _merge_extras(first.extra, table.extra, source),
    )
