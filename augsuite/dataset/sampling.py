"""Draw some images of a dataset at random, all alike or balanced."""

from __future__ import annotations

import heapq
from typing import Literal, get_args

import numpy as np

from augsuite.dataset.splitting import memberships
from augsuite.dataset.tables import Dataset, Rows
from augsuite.errors import ConfigError

Balance = Literal["class", "split"]


def draw(data: Dataset, count: float, seed: int = 0, *, balance: Balance | None = None) -> Dataset:
    """Take some images at random, in their order.

    Args:
        data: the dataset.
        count: how many, as an integer (all of them where there are fewer); or a share of them in [0, 1], as a float.
        seed: the same seed gives the same images.
        balance: `class` takes one image after the other for whichever category has the fewest images so far and has some left (images
            without annotations count as one more); `split` does so for splits. By default each image is as likely as any other.

    Raises:
        ConfigError: if `count` or `balance` is no such value.
    """
    if not count >= 0 or (isinstance(count, float) and count > 1):
        raise ConfigError(f"the number of images is an integer, or a share between 0.0 and 1.0; got {count}.")
    number = round(count * len(data)) if isinstance(count, float) else count
    order = np.random.default_rng(seed).permutation(len(data)).astype(np.int64)
    if balance is None:
        return data.take(np.sort(order[:number]))
    if balance not in get_args(Balance):
        raise ConfigError(f"balance: expected 'class' or 'split', got {balance!r}.")
    return data.take(np.sort(_even(data, order, number, balance)))


def _even(data: Dataset, order: Rows, number: int, balance: Balance) -> Rows:
    """The rows of `number` images, for whichever class or split has the fewest so far."""
    image_rows, class_rows, classes = _classes(data, balance)
    rank = np.empty(len(data), np.int64)
    rank[order] = np.arange(len(data))
    by_image = np.argsort(image_rows, kind="stable")
    of_image = np.split(class_rows[by_image], np.cumsum(np.bincount(image_rows, minlength=len(data)))[:-1])
    by_class = np.lexsort((rank[image_rows], class_rows))
    waiting = [
        iter(rows.tolist())
        for rows in np.split(image_rows[by_class], np.cumsum(np.bincount(class_rows, minlength=classes))[:-1])
    ]
    have = [0] * classes
    taken: set[int] = set()
    # Of classes with equally many images the rarest goes first: its images may serve the others too.
    totals = np.bincount(class_rows, minlength=classes).tolist()
    heap = [(0, total, which) for which, total in enumerate(totals)]
    heapq.heapify(heap)
    while heap and len(taken) < number:
        count, total, which = heapq.heappop(heap)
        if count == have[which]:
            row = next((row for row in waiting[which] if row not in taken), None)
            if row is None:
                continue
            taken.add(row)
            for each in of_image[row].tolist():
                have[each] += 1
        heapq.heappush(heap, (have[which], total, which))
    return np.array(sorted(taken), np.int64)


def _classes(data: Dataset, balance: Balance) -> tuple[Rows, Rows, int]:
    """Pairs of an image and a class, and how many classes there are."""
    if balance == "class":
        pairs = memberships(data)
        return pairs[:, 0], pairs[:, 1], len(data.categories) + 1
    names, rows = np.unique(data.images.splits.astype(str), return_inverse=True)
    return np.arange(len(data), dtype=np.int64), rows.reshape(-1).astype(np.int64), max(len(names), 1)
