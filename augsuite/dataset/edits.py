"""Edits of a dataset; each returns a new one and leaves its argument alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from augsuite.dataset.tables import Dataset
from augsuite.errors import ConfigError, nearest


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
        known = set(data.images.splits.tolist())
        for name in splits:
            if name not in known:
                raise ConfigError(f"unknown split {name!r}. {nearest(name, known - {''})}")
        wanted = set(splits)
        data = data.take(np.flatnonzero([split in wanted for split in data.images.splits]))
    if categories is not None:
        names = data.categories.names.tolist()
        for name in categories:
            if name not in names:
                raise ConfigError(f"unknown category {name!r}. {nearest(name, names)}")
        data = _keep_categories(data, np.flatnonzero([name in set(categories) for name in names]))
    return data


def _keep_categories(data: Dataset, rows: np.ndarray) -> Dataset:
    position = np.full(len(data.categories), -1, np.int64)
    position[rows] = np.arange(len(rows))
    before = np.bincount(data.annotations.image_rows, minlength=len(data))
    kept = data.annotations.take(position[data.annotations.category_rows] >= 0)
    after = np.bincount(kept.image_rows, minlength=len(data))
    result = replace(
        data,
        categories=data.categories.take(rows),
        annotations=replace(kept, category_rows=position[kept.category_rows]),
    )
    return result.take(np.flatnonzero((before == 0) | (after > 0)))


def split(data: Dataset, first: float, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Cut the images in two at random.

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


def draw(data: Dataset, count: int, seed: int = 0) -> Dataset:
    """Take `count` images at random (all of them where there are fewer), in their order."""
    order = np.random.default_rng(seed).permutation(len(data))
    return data.take(np.sort(order[:count]))
