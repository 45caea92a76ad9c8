"""Run lengths, with pycocotools as judge."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as judge

from augsuite.dataset import rle

MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def whole(found, shape):
    left, top, pixels = found
    result = np.zeros(shape, bool)
    result[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return result


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
@settings(deadline=None)
@given(pixels=MASKS)
def test_a_window_holds_the_pixels_that_pycocotools_wrote(pixels):
    height, width = pixels.shape
    theirs = judge.encode(np.asfortranarray(pixels, np.uint8))
    text = {"size": theirs["size"], "counts": theirs["counts"].decode()}
    found = rle.window(text)
    assert (whole(found, pixels.shape) == pixels).all()
    assert found[2].any(axis=0).all() or not pixels.any() or (found[2][:, 0].any() and found[2][:, -1].any())
    ours = rle.encode(found[2], found[0], found[1], width, height)
    assert (judge.decode(judge.frPyObjects(ours, height, width)) == pixels).all()
    assert (whole(rle.window(msgspec.Raw(msgspec.json.encode(ours))), pixels.shape) == pixels).all()


@settings(deadline=None)
@given(pixels=MASKS)
def test_runs_along_the_rows_come_back(pixels):
    lengths = rle.runs(pixels)
    flat = [value for number, length in enumerate(lengths) for value in [number % 2 == 1] * length]
    assert flat == pixels.reshape(-1).tolist()
    height, width = pixels.shape
    assert (rle.from_runs(np.array(lengths), width, height) == pixels).all()


def test_counts_by_hand():
    # 2 rows, 3 columns; the pixels of column 1, and the upper one of column 2: down the columns 2 unset, 3 set, 1 unset
    found = rle.window({"size": [2, 3], "counts": [2, 3, 1]})
    assert (found[0], found[1], found[2].tolist()) == (1, 0, [[True, True], [True, False]])
    assert rle.encode(found[2], 1, 0, 3, 2) == {"size": [2, 3], "counts": [2, 3, 1]}
    assert rle.runs(found[2]) == [0, 3, 1]


@pytest.mark.parametrize(
    "value",
    [
        None, [], "x", {}, {"size": [2, 2]}, {"size": [2, 2], "counts": [1]}, {"size": [2, 2], "counts": [-1, 5]},
        {"size": [10**6, 10**6], "counts": [10**12]}, {"size": [2, 2], "counts": "~~~~"}, {"size": [0, 2], "counts": []},
        {"size": [2, 2], "counts": [10**30]}, msgspec.Raw(b"[[1,2,3"), {"size": [2**40, 2**40], "counts": [0]},
        {"size": [2, 2], "counts": [2**62, 2**62, 2**62, 2**62, 4]},
    ],
)  # fmt: skip
def test_what_is_no_rle_is_none(value):
    assert rle.window(value) is None


def test_a_box_of_whole_pixels_is_the_window():
    pixels = np.ones((1, 1), bool)
    left, top, grown = rle.grown(2, 1, pixels, (1, 1, 4, 3), 10, 10)
    assert (left, top, grown.tolist()) == (1, 1, [[False, True, False], [False, False, False]])
    assert rle.grown(2, 1, pixels, (1.5, 1, 4, 3), 10, 10)[2] is pixels
    assert rle.grown(2, 1, pixels, (1, 1, 4, 30), 10, 10)[2] is pixels
