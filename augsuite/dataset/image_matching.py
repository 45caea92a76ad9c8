"""Which image of one dataset is which of another."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import Dataset

Rows = NDArray[np.int64]


def match_images(first: Dataset, second: Dataset) -> tuple[Rows, Rows]:
    """Pair the images of two datasets: first by split and name, then by name, then by the file's name without folder and suffix.

    In the second and third step only what is unique on both sides is paired; in the first, images of one name and split are paired in
    order.

    Returns:
        `(P,)` rows of the first and `(P,)` of the second dataset, in the order of the first.
    """
    left, right = list(range(len(first))), list(range(len(second)))
    pairs: list[tuple[int, int]] = []
    for key, numbered in ((_place, True), (_name, False), (_stem, False)):
        if not (left and right):
            break
        found = _paired(first, left, second, right, key, numbered)
        pairs += found
        taken, given = {one for one, _ in found}, {other for _, other in found}
        left = [row for row in left if row not in taken]
        right = [row for row in right if row not in given]
    listed = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return listed[:, 0], listed[:, 1]


def _paired(
    first: Dataset,
    left: list[int],
    second: Dataset,
    right: list[int],
    key: Callable[[Dataset, int], object],
    numbered: bool,
) -> list[tuple[int, int]]:
    keys = [[key(data, row) for row in rows] for data, rows in ((first, left), (second, right))]
    if numbered:
        keys = [_numbered(each) for each in keys]
    else:
        counts = [Counter(each) for each in keys]
        once = {name for name, times in counts[0].items() if times == 1 and counts[1].get(name) == 1}
        keys = [[name if name in once else None for name in each] for each in keys]
    there = dict(zip(keys[1], right, strict=True))
    return [(row, there[name]) for name, row in zip(keys[0], left, strict=True) if name is not None and name in there]


def _numbered(keys: list[object]) -> list[object]:
    """Each key with how often it stood before."""
    seen: Counter[object] = Counter()
    result: list[object] = []
    for key in keys:
        result.append((key, seen[key]))
        seen[key] += 1
    return result


def _place(data: Dataset, row: int) -> object:
    return data.images.splits[row], data.images.names[row]


def _name(data: Dataset, row: int) -> object:
    return data.images.names[row]


def _stem(data: Dataset, row: int) -> object:
    return posixpath.splitext(data.images.names[row].replace("\\", "/").rpartition("/")[2])[0]
