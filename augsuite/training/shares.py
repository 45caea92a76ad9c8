"""Which images of a batch are whose, where several processes train together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from augsuite.augment import Batch

T = TypeVar("T")


def share_of(batch: Sequence[T], rank: int, world: int) -> list[T]:
    """A process's share of a batch.

    A batch may have fewer images than there are processes. All must take part in each step, so those without any borrow the first, which
    does not count: the share of process `rank` counts if `rank < len(batch)`.
    """
    return list(batch[rank::world]) or list(batch[:1])


def stripped(batch: Batch) -> Batch:
    """A batch without its annotations."""
    return replace(
        batch,
        boxes=[boxes[:0] for boxes in batch.boxes],
        labels=[labels[:0] for labels in batch.labels],
        weights=[weights[:0] for weights in batch.weights],
        targets=batch.targets * 0,
    )


def interleaved(parts: Sequence[Sequence[T]]) -> list[T]:
    """`[[0, 2, 4], [1, 3]]` as `[0, 1, 2, 3, 4]`: what was dealt out, in its old order."""
    return [own[row] for row in range(max(map(len, parts), default=0)) for own in parts if row < len(own)]
