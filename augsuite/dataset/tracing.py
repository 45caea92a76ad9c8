"""Which row of a dataset each row of another became, when it was written to files and read from them again."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes, Layout
from augsuite.dataset.tables import Categories, Dataset, Images, Rows

CLOSE_PX = 1e-3
"""How far a coordinate may be from the one that was written and still be the same: formats round."""


@dataclass(frozen=True)
class Place:
    """Where an image was found when its dataset was read.

    Attributes:
        file: as in `Images.files`.
        split: its split.
        name: its name.
    """

    file: str
    split: str
    name: str


def trace_images(now: Dataset, places: Sequence[Place | None]) -> Rows:
    """For each image of `now` the row among `places` where it stood, or -1.

    By its file, else by its split and name, else by the end of a path that only one of them has; several of one name in their order.
    """
    by_file = {place.file: row for row, place in enumerate(places) if place and place.file}
    matched = np.array([by_file.get(file, -1) for file in now.images.files.tolist()], np.int64)
    taken = set(matched.tolist())
    named = [((place.split, place.name), row) for row, place in enumerate(places) if place and row not in taken]
    often = Counter(key for key, _ in named)
    by_name = {key: row for key, row in named if often[key] == 1}  # a writer keeps two of one name apart by their paths
    for row in np.flatnonzero(matched < 0).tolist():
        matched[row] = by_name.pop((now.images.splits[row], now.images.names[row]), -1)
    rest = np.flatnonzero(matched < 0).tolist()
    if not rest:
        return matched
    taken = set(matched.tolist())
    endings: dict[str, int] = {}
    for row, place in enumerate(places):
        for ending in _endings(place.file or place.name) if place and row not in taken else ():
            endings[ending] = -1 if ending in endings else row
    for row in rest:
        name, split = now.images.names[row], now.images.splits[row]
        for ending in (f"{split}/{name}", name, name.rpartition(".")[0] or name):
            found = endings.get(ending, -1)
            if found >= 0 and found not in taken:
                matched[row] = found
                taken.add(found)
                break
    waiting: dict[tuple[str, str], list[int]] = defaultdict(list)
    for key, row in reversed(named):
        if row not in taken:
            waiting[key].append(row)
    for row in np.flatnonzero(matched < 0).tolist():
        if same := waiting.get((now.images.splits[row], now.images.names[row])):
            matched[row] = same.pop()
    return matched


def _endings(path: str) -> set[str]:
    """`a/b.jpg`, `b.jpg` and, for formats whose files name no suffix, `a/b` and `b`."""
    parts = path.split("/")
    whole = {"/".join(parts[place:]) for place in range(len(parts))}
    return whole | {ending.rpartition(".")[0] for ending in whole if "." in ending.rpartition("/")[2]}


def trace_categories(now: Categories, names: Sequence[str]) -> dict[int, int]:
    """Row of `now` -> row of the category that was called so; those that are new are left out."""
    rows = {name: row for row, name in enumerate(names)}
    return {row: rows[name] for row, name in enumerate(now.names.tolist()) if name in rows}


def trace_annotations(
    now: Dataset,
    before: Dataset,
    expected: Boxes,
    written: NDArray[np.bool_],
    images: Rows,
    categories: Mapping[int, int],
) -> Rows:
    """For each annotation of `before` the row in `now` that it became, or -1.

    Args:
        now: as read.
        before: as it was.
        expected: `(N, 4)` corners in pixels that each is expected to have; NaN for labels.
        written: `(N,)` which are expected at all.
        images: for each image of `now` its row in `before`, or -1.
        categories: for each category of `now` its row in `before`, if it has one.
    """
    matches = np.full(len(written), -1, np.int64)
    class_of = np.array([categories.get(row, -1) for row in range(len(now.categories))] or [-1], np.int64)
    image_now, image_before = images[now.annotations.image_rows], before.annotations.image_rows
    class_now, class_before = class_of[now.annotations.category_rows], before.annotations.category_rows
    order_now = np.argsort(image_now, kind="stable")
    order_now = order_now[image_now[order_now] >= 0]
    order_before = np.flatnonzero(written)[np.argsort(image_before[written], kind="stable")]
    corners = now.boxes(Layout.XYXY_PX)

    def same(rows: Rows, others: Rows) -> NDArray[np.bool_]:
        gap = np.abs(expected[rows] - corners[others]).max(axis=1, initial=0)
        labels = np.isnan(expected[rows, 0]) & np.isnan(corners[others, 0])
        found: NDArray[np.bool_] = (class_before[rows] == class_now[others]) & ((gap <= CLOSE_PX) | labels)
        return found

    rest_now, rest_before = order_now, order_before
    if len(order_now) == len(order_before) and (image_now[order_now] == image_before[order_before]).all():
        alike = same(order_before, order_now)
        matches[order_before[alike]] = order_now[alike]
        rest_now, rest_before = order_now[~alike], order_before[~alike]
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


def pair_the_rest(
    now: Dataset,
    before: Dataset,
    matches: Rows,
    written: NDArray[np.bool_],
    images: Rows,
    categories: Mapping[int, int],
) -> None:
    """Match what a writer changed, if nobody else did: the annotations left of a class in an image, in order, if they are as many."""
    used = np.zeros(len(now.annotations), bool)
    used[matches[matches >= 0]] = True
    theirs: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero(~used).tolist():
        image = int(images[now.annotations.image_rows[row]])
        theirs[image, categories.get(int(now.annotations.category_rows[row]), -1)].append(row)
    ours: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero(written & (matches < 0)).tolist():
        ours[int(before.annotations.image_rows[row]), int(before.annotations.category_rows[row])].append(row)
    for key, rows in ours.items():
        if len(rows) == len(theirs.get(key, ())):
            matches[rows] = theirs[key]


def with_sizes_of(before: Dataset, now: Images, matched: Rows) -> Dataset:
    """`before` with the sizes that only `now` knows."""
    sizes = before.images.sizes.copy()
    found = np.flatnonzero(matched >= 0)
    unknown = (sizes[matched[found]] <= 0).any(axis=1)
    sizes[matched[found[unknown]]] = now.sizes[found[unknown]]
    return replace(before, images=replace(before.images, sizes=sizes))
