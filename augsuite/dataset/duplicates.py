"""Images that show the same: copies of a file, and files that differ in compression, size or brightness only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.inspection import Condition, Inspection, inspect
from augsuite.dataset.neighbours import MOST, near_pairs
from augsuite.dataset.tables import Dataset
from augsuite.errors import ConfigError, nearest

Rows = NDArray[np.int64]

DISTANCE = 32
"""Bits of 255 in which the hashes of one picture may differ. Of photographs compressed, scaled and brightened anew, none differed in
more than 18, and of those cut by 1 % on each side none in more than 34; no two that show different things differed in less than 90."""

_PREFERRED = (("test",), ("val", "dev"), (), ("train",))
"""Beginnings of the names of splits, those whose images stay first; () stands for all others."""


class Copy(msgspec.Struct, frozen=True):
    """An image that shows the same as another one.

    Attributes:
        image: its name.
        split: its split.
        distance: bits in which the hashes differ; 0 for the same file.
        same_file: whether both files hold the same bytes.
        same_labels: whether both have as many annotations of each category.
    """

    image: str
    split: str
    distance: int
    same_file: bool
    same_labels: bool


class Group(msgspec.Struct, frozen=True):
    """One image that stays, and its copies.

    Attributes:
        image: the name of the one that stays.
        split: its split.
        copies: the others, in the dataset's order.
    """

    image: str
    split: str
    copies: list[Copy]


class Leak(msgspec.Struct, frozen=True):
    """How many images of one split are copies of images of another one that stay."""

    split: str
    of: str
    images: int


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    """What `dedupe` found.

    Attributes:
        images: how many were compared.
        not_compared: images whose file is missing or cannot be read.
        one_colour: images that show nothing; they are copies only of files of the same bytes.
        distance: the largest distance of a copy, in bits.
        copies: images that are copies of one that stays.
        leaks: those of them whose original is in another split.
        groups: each original with its copies, in the order of the originals.
    """

    images: int
    not_compared: int
    one_colour: int
    distance: int
    copies: int
    leaks: list[Leak]
    groups: list[Group]


@dataclass(frozen=True)
class Alike:
    """Which images show the same.

    Attributes:
        contents: `(I,)` a number for each image, equal where the files hold the same bytes.
        first: `(P,)` contents that look like `second`.
        second: `(P,)`.
        distances: `(P,)` bits between both.
    """

    contents: Rows
    first: Rows
    second: Rows
    distances: Rows


def alike(found: Inspection, distance: int = DISTANCE) -> Alike:
    """Compare all images with all others.

    Raises:
        ConfigError: if the distance is negative or too large.
    """
    if not 0 <= distance <= MOST:
        raise ConfigError(f"the distance of two hashes lies between 0 and {MOST} bits, got {distance}")
    present = found.conditions < Condition.MISSING
    contents = np.arange(len(present)) + len(present)  # a number of its own for what is not there
    _, at, contents[present] = np.unique(found.contents[present], axis=0, return_index=True, return_inverse=True)
    originals = np.flatnonzero(present)[at]
    originals = originals[found.comparable[originals]]
    first, second, distances = near_pairs(found.hashes[originals], distance)
    return Alike(contents, contents[originals[first]], contents[originals[second]], distances)


def dedupe(
    data: Dataset,
    *,
    distance: int = DISTANCE,
    prefer: Sequence[str] = (),
    across: bool = False,
    inspection: Inspection | None = None,
) -> tuple[Dataset, Duplicates]:
    """Leave out images that show the same as another one.

    Every image that goes shows the same as one that stays, within `distance`. Of several the one stays whose split comes first
    (those of `prefer`; then test, validation, others, train: an evaluation set stays what it is, and training images that it holds
    go), then the one with the most pixels, then with the most annotations, then the first.

    Args:
        data: the dataset. Images whose file is missing or cannot be read stay.
        distance: bits of 255 in which two hashes may differ, 0 to 48.
        prefer: splits whose images stay, the first before the second.
        across: leave out only what stands in another split too.
        inspection: of the same dataset, where the files were looked at before.

    Returns:
        The dataset without the copies, and what was found.

    Raises:
        ConfigError: if a split does not exist, or the distance is out of range.
    """
    ranks = _ranks(data, prefer)
    found = inspect(data) if inspection is None else inspection
    pairs = alike(found, distance)
    originals, distances = _originals(data, found, pairs, ranks, across=across)
    copies = np.flatnonzero(originals >= 0)
    report = _report(data, found, pairs, originals, distances, distance)
    return data.take(np.setdiff1d(np.arange(len(data)), copies)), report


def _ranks(data: Dataset, prefer: Sequence[str]) -> Rows:
    """`(I,)` which images rather stay: the smaller."""
    splits = data.images.splits.tolist()
    known = set(splits)
    for name in prefer:
        if name not in known:
            raise ConfigError(f"unknown split {name!r}. {nearest(name, known - {''})}")
    rank = {name: len(prefer) + _usual_rank(name) for name in known}
    rank.update({name: place for place, name in enumerate(prefer)})
    return np.array([rank[name] for name in splits], np.int64)


def _usual_rank(split: str) -> int:
    others = _PREFERRED.index(())
    return next((at for at, names in enumerate(_PREFERRED) if names and split.lower().startswith(names)), others)


def _originals(data: Dataset, found: Inspection, pairs: Alike, ranks: Rows, *, across: bool) -> tuple[Rows, Rows]:
    """`(I,)` the row of the image that stays in place of each, -1 for those that stay; and how far it is."""
    count = len(data)
    neighbours: dict[int, list[tuple[int, int]]] = {}
    for one, other, far in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.distances.tolist(), strict=True):
        neighbours.setdefault(one, []).append((far, other))
        neighbours.setdefault(other, []).append((far, one))
    shared = np.bincount(pairs.contents, minlength=1)[pairs.contents] > 1
    concerned = shared | np.isin(pairs.contents, list(neighbours))
    annotations = np.bincount(data.annotations.image_rows, minlength=count)
    order = np.lexsort((np.arange(count), -annotations, -found.sizes.prod(axis=1), ranks))
    splits = data.images.splits
    staying: dict[int, dict[str, int]] = {}
    originals, distances = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    for row in order[concerned[order]].tolist():
        content = int(pairs.contents[row])
        for far, other in [(0, content), *sorted(neighbours.get(content, []))]:
            kept = staying.get(other, {})
            near = [at for split, at in kept.items() if not across or split != splits[row]]
            if near:
                originals[row], distances[row] = near[0], far
                break
        else:
            staying.setdefault(content, {}).setdefault(splits[row], row)
    return originals, distances


def _report(
    data: Dataset, found: Inspection, pairs: Alike, originals: Rows, distances: Rows, distance: int
) -> Duplicates:
    names, splits = data.images.names, data.images.splits
    groups: dict[int, list[Copy]] = {}
    leaks: Counter[tuple[str, str]] = Counter()
    for row in np.flatnonzero(originals >= 0).tolist():
        kept = int(originals[row])
        if splits[row] != splits[kept]:
            leaks[splits[row], splits[kept]] += 1
        groups.setdefault(kept, []).append(
            Copy(
                names[row],
                splits[row],
                int(distances[row]),
                same_file=bool(pairs.contents[row] == pairs.contents[kept]),
                same_labels=_labels(data, row) == _labels(data, kept),
            )
        )
    return Duplicates(
        images=int(found.usable.sum()),
        not_compared=int((~found.usable).sum()),
        one_colour=int((found.usable & ~found.comparable).sum()),
        distance=distance,
        copies=int((originals >= 0).sum()),
        leaks=[Leak(split, of, count) for (split, of), count in sorted(leaks.items())],
        groups=[Group(names[row], splits[row], groups[row]) for row in sorted(groups)],
    )


def _labels(data: Dataset, row: int) -> list[int]:
    return sorted(data.annotations.category_rows[data.rows_of(row)].tolist())
