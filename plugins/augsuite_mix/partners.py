"""What the mixes share: who is mixed with whom, and class targets in shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from augsuite.augment import Scene
from augsuite.dataset import Sample


def others(rng: np.random.Generator, scene: Scene, count: int) -> tuple[int, ...] | None:
    """Draw images of the pool with equal chances, never the own one; one may come twice. None where there are no others."""
    held = 0 <= scene.row < scene.pool
    most = scene.pool - held
    if most < 1:
        return None
    rows = [int(rng.integers(most)) for _ in range(count)]
    return tuple(row + (held and row >= scene.row) for row in rows)


def shared_targets(samples: Sequence[Sample], shares: Sequence[float]) -> NDArray[np.float32] | None:
    """`(C,)` class targets, each sample's times its share; one without leaves its share to the others.

    Args:
        samples: those that are mixed.
        shares: of each, that sum to 1.
    """
    labeled = [
        (np.float32(share), sample.targets)
        for sample, share in zip(samples, shares, strict=True)
        if sample.targets is not None and share > 0
    ]
    if not labeled:
        return None
    total = sum(targets * share for share, targets in labeled)
    known = sum(share for share, _ in labeled)
    return np.asarray(total if len(labeled) == len(samples) else total / known, np.float32)
