"""Hashes that differ in few bits, found without comparing each with each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]

MOST = 48
"""The largest distance that is searched for: the search takes seconds for 100,000 images up to 32 bits, and minutes beyond 48."""

_BATCH = 1 << 20  # candidates compared at once
_WIDEST = 32  # bits of a band


def near_pairs(hashes: Hashes, distance: int) -> tuple[Rows, Rows, Rows]:
    """All pairs of hashes that differ in at most `distance` bits.

    The bits are cut into more than `distance / 2` bands. Hashes that differ in at most `distance` bits differ in at most one bit of
    some band (the pigeonhole principle); so in each band those that agree, or differ in one bit, are looked up and compared whole.

    Args:
        hashes: `(N, W)`.
        distance: bits, 0 to 48.

    Returns:
        `(P,)` the first and the second row of each pair, the first the smaller, in order; and `(P,)` how many bits differ.

    Source: Norouzi et al. 2012, Fast search in Hamming space with multi-index hashing, section 2, arXiv:1307.2982.

    Raises:
        ValueError: if the distance is too large or negative.
    """
    if not 0 <= distance <= MOST:
        raise ValueError(f"a distance of 0 to {MOST} bits can be searched for, got {distance}")
    unique, member = np.unique(hashes, axis=0, return_inverse=True)
    first, second = _near(unique, distance)
    # Images with one hash are common (copies), and would be found again in every band.
    order = np.argsort(member.reshape(-1), kind="stable")
    counts = np.bincount(member.reshape(-1), minlength=len(unique))
    starts = np.concatenate([[0], np.cumsum(counts)])
    same = np.flatnonzero(counts > 1)
    first, second = np.concatenate([same, first]), np.concatenate([same, second])
    pairs = [np.empty((0, 2), np.int64)]
    sizes = counts[first] * counts[second]
    for left, right, of in _expanded(sizes, counts[second]):
        a = order[starts[first[of]] + left]
        b = order[starts[second[of]] + right]
        kept = (first[of] != second[of]) | (a < b)
        pairs.append(np.sort(np.column_stack([a[kept], b[kept]]), axis=1))
    found = np.concatenate(pairs)
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    return found[:, 0], found[:, 1], _differing(hashes, found[:, 0], found[:, 1])


def _near(hashes: Hashes, distance: int) -> tuple[Rows, Rows]:
    """Pairs of different rows of unique hashes."""
    count, bits = len(hashes), 64 * hashes.shape[1]
    bands = max(distance // 2 + 1, bits // _WIDEST)
    found = [np.empty(0, np.int64)]
    flags = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1)
    edges = np.linspace(0, bits, bands + 1).astype(int)
    for start, end in itertools.pairwise(edges.tolist()):
        keys = flags[:, start:end] @ (1 << np.arange(end - start, dtype=np.int64))
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        for probe, rows in _probes(ordered, end - start):
            low, high = np.searchsorted(ordered, probe, "left"), np.searchsorted(ordered, probe, "right")
            same = probe is ordered
            if same:
                low = np.arange(1, count + 1)  # each with those after it
            sizes = np.maximum(high - low, 0)
            for _, place, of in _expanded(sizes, sizes):
                a, b = order[rows[of]], order[low[of] + place]
                close = _differing(hashes, a, b) <= distance
                found.append(np.minimum(a, b)[close] * count + np.maximum(a, b)[close])
        found = [np.unique(np.concatenate(found))]
    return np.divmod(found[0], max(count, 1))


def _probes(ordered: Rows, width: int) -> Iterator[tuple[Rows, Rows]]:
    """The keys themselves, and those with one of their bits set that was not."""
    yield ordered, np.arange(len(ordered))
    for bit in range(width):
        rows = np.flatnonzero(ordered & (1 << bit) == 0)
        yield ordered[rows] | (1 << bit), rows


def _expanded(sizes: Rows, widths: Rows) -> Iterator[tuple[Rows, Rows, Rows]]:
    """For rectangles of `sizes` cells, `widths` wide: row and column of each cell and the number of its rectangle, in batches."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    for at in range(0, total, _BATCH):
        cell = np.arange(at, min(at + _BATCH, total))
        of = np.searchsorted(ends, cell, "right")
        inside = cell - (ends[of] - sizes[of])
        yield inside // widths[of], inside % widths[of], of


def _differing(hashes: Hashes, first: Rows, second: Rows) -> Rows:
    """`(P,)` how many bits differ."""
    total = np.zeros(len(first), np.int64)
    for word in range(hashes.shape[1]):
        column = hashes[:, word]
        total += _count_bits(column[first] ^ column[second])
    return total


def _count_bits(words: Hashes) -> Rows:
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.asarray(np.bitwise_count(words), np.int64)
    return np.asarray(np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1), np.int64)
