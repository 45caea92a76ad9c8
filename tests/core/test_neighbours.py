"""Hashes of few different bits: brute force is the judge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augsuite.dataset.neighbours import near_pairs


def brute(hashes, distance):
    flags = np.unpackbits(hashes.view(np.uint8).reshape(len(hashes), 32), axis=1)
    differ = (flags[:, None] != flags[None]).sum(-1)
    first, second = np.nonzero(np.triu(differ <= distance, 1))
    return first, second, differ[first, second]


@pytest.mark.parametrize("distance", [0, 1, 2, 7, 31, 32, 33, 48])
def test_all_pairs_and_no_others(distance):
    rng = np.random.default_rng(distance)
    hashes = rng.integers(0, 2**63, (300, 4), dtype=np.uint64)
    near = hashes[rng.integers(0, 300, 400)].copy()
    for row in range(len(near)):
        for bit in rng.integers(0, 256, rng.integers(0, 60)):
            near[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    hashes = np.concatenate([hashes, near, hashes[:7], hashes[:7]])
    expected = brute(hashes, distance)
    found = near_pairs(hashes, distance)
    assert len(found[0]) >= 21  # three of each of the seven
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours == theirs).all()


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.lists(st.sampled_from([0, 1, 3, 2**63, 2**64 - 1]), min_size=4, max_size=4), max_size=12),
    distance=st.integers(0, 48),
)
def test_crowded_hashes(rows, distance):
    hashes = np.array(rows, np.uint64).reshape(-1, 4)
    for ours, theirs in zip(near_pairs(hashes, distance), brute(hashes, distance), strict=True):
        assert (ours == theirs).all()


def test_a_distance_out_of_range():
    with pytest.raises(ValueError, match="0 to 48"):
        near_pairs(np.zeros((2, 4), np.uint64), 49)
