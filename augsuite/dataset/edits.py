"""Edits of a dataset; each returns a new one and leaves its argument alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.tables import Dataset, Rows
from augsuite.errors import ConfigError, nearest

Empty = Literal["keep", "drop"]
"""What happens to an image that an edit leaves without annotations. One that had none to begin with always stays."""


def check_known(kind: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse names that do not exist.

    Raises:
        ConfigError: if one does not; says the nearest.
    """
    for name in given:
        if name not in known:
            raise ConfigError(f"unknown {kind} {name!r}. {nearest(name, [other for other in known if other])}")


def where(
    data: Dataset, *, categories: Collection[str] | None = None, splits: Collection[str] | None = None
) -> Dataset:
    """Keep what matches.

    Args:
        data: the dataset.
        categories: names to keep. Annotations of other categories go, and so do images that then have none left; images
            that had none to begin with stay.
        splits: names of splits to keep.

    Raises:
        ConfigError: if a name does not exist; says the nearest.
    """
    if splits is not None:
        data = data.take(np.flatnonzero(in_splits(data, splits)))
    if categories is not None:
        data = keep_categories(data, categories, "drop")
    return data


def in_splits(data: Dataset, splits: Collection[str]) -> NDArray[np.bool_]:
    """`(I,)` which images belong to some splits.

    Raises:
        ConfigError: if there is no split of a name; says the nearest.
    """
    check_known("split", splits, set(data.images.splits.tolist()))
    wanted = set(splits)
    return np.array([split in wanted for split in data.images.splits.tolist()], bool)


def keep_categories(data: Dataset, names: Collection[str], empty: Empty) -> Dataset:
    """Keep some categories, in the dataset's order, and their annotations.

    Raises:
        ConfigError: if there is no category of a name; says the nearest.
    """
    known = data.categories.names.tolist()
    check_known("category", names, known)
    wanted = set(names)
    return renumber(data, np.flatnonzero([name in wanted for name in known]), empty)


def renumber(data: Dataset, rows: Rows, empty: Empty) -> Dataset:
    """Keep the categories at `rows`, in that order, and their annotations."""
    position = np.full(len(data.categories), -1, np.int64)
    position[rows] = np.arange(len(rows))
    kept = keep_annotations(data, position[data.annotations.category_rows] >= 0, empty)
    table = kept.annotations
    return replace(
        kept,
        categories=data.categories.take(rows),
        annotations=replace(table, category_rows=position[table.category_rows]),
    )


def keep_annotations(data: Dataset, chosen: NDArray[np.bool_], empty: Empty) -> Dataset:
    """Keep some annotations.

    Args:
        data: the dataset.
        chosen: `(N,)` which ones.
        empty: whether images that this leaves without annotations stay.

    Raises:
        ConfigError: if `empty` is neither `keep` nor `drop`.
    """
    if empty not in get_args(Empty):
        raise ConfigError(f"empty: expected 'keep' or 'drop', got {empty!r}.")
    if chosen.all():
        return data
    before = np.bincount(data.annotations.image_rows, minlength=len(data))
    kept = replace(data, annotations=data.annotations.take(chosen))
    after = np.bincount(kept.annotations.image_rows, minlength=len(data))
    emptied = (before > 0) & (after == 0)
    return kept.take(np.flatnonzero(~emptied)) if empty == "drop" and emptied.any() else kept


def split(data: Dataset, first: float, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Cut the images in two at random; `augsuite.dataset.splitting` stratifies and groups.

    Args:
        data: the dataset.
        first: share of the images in the first part, in [0, 1].
        seed: the same seed gives the same cut.

    Returns:
        Both parts; images stay in their order within each.
    """
    if not 0 <= first <= 1:
        raise ConfigError(f"the share of a split lies between 0 and 1, got {first}")
    order = np.random.default_rng(seed).permutation(len(data))
    count = round(first * len(data))
    return data.take(np.sort(order[:count])), data.take(np.sort(order[count:]))
