"""A choice in which every option draws for itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

_HIGHEST = 1 << 64


def race(rng: np.random.Generator, weights: Mapping[str, float]) -> str | None:
    """Choose a name with a probability in proportion to its weight.

    Each name gets a time from a number of its own, exponential with its weight as the rate, and the first wins. So an option
    that is taken away, or a new one that loses, changes nothing for the others.

    Args:
        rng: gives one number, however many options there are.
        weights: name -> weight, at least 0.

    Returns:
        The name; None where no weight is above 0.

    Source: the exponential race; Efraimidis and Spirakis 2006, Weighted random sampling with a reservoir,
    doi:10.1016/j.ipl.2005.11.003.
    """
    seed = int(rng.integers(1 << 63))
    times = {}
    for name, weight in weights.items():
        if weight > 0:
            digest = blake2b(f"{seed},{name}".encode(), digest_size=8).digest()
            times[name] = -math.log((int.from_bytes(digest, "little") + 0.5) / _HIGHEST) / weight
    return min(times, key=times.__getitem__, default=None)
