"""Box functions against torchvision, pycocotools and sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from augsuite import boxes
from augsuite.boxes import Layout

torchvision_ops = pytest.importorskip("torchvision.ops")
torch = pytest.importorskip("torch")

XYXY = Layout.XYXY_PX


def corners(most: int = 12):
    """`(N, 4)` XYXY boxes with sides of 0 or more."""
    numbers = st.floats(0, 500, allow_nan=False, width=32)
    return st.integers(0, most).flatmap(
        lambda count: arrays(np.float64, (count, 4), elements=numbers).map(
            lambda drawn: np.concatenate([drawn[:, :2], drawn[:, :2] + drawn[:, 2:]], axis=1)
        )
    )


@given(corners(), corners())
def test_iou_is_torchvisions(first, second):
    ours = boxes.iou(first, second)
    theirs = torchvision_ops.box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    assert ours.shape == (len(first), len(second))
    assert np.allclose(ours, np.nan_to_num(theirs), atol=1e-9)


def test_iou_is_pycocotools():
    mask = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    xywh = rng.uniform(1, 50, (20, 4))
    xyxy = boxes.convert(xywh, Layout.XYWH_PX, XYXY)
    assert np.allclose(boxes.iou(xyxy, xyxy), mask.iou(xywh, xywh, [0] * 20), atol=1e-12)


@pytest.mark.parametrize(("layout", "name"), [(Layout.XYWH_PX, "xywh"), (Layout.CXCYWH_PX, "cxcywh")])
def test_layouts_are_torchvisions(layout, name):
    xyxy = np.array([[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 5.5, 2.25]])
    theirs = torchvision_ops.box_convert(torch.from_numpy(xyxy), "xyxy", name).numpy()
    assert np.array_equal(boxes.convert(xyxy, XYXY, layout), theirs)
    assert np.array_equal(boxes.convert(theirs, layout, XYXY), xyxy)


def test_fractions_by_hand():
    sizes = np.array([[200, 100]])
    unit = np.array([[0.5, 0.5, 0.5, 0.2]])
    assert boxes.convert(unit, Layout.CXCYWH_UNIT, XYXY, sizes).tolist() == [[50, 40, 150, 60]]
    assert boxes.convert(np.array([[50.0, 40, 150, 60]]), XYXY, Layout.CXCYWH_UNIT, sizes).tolist() == unit.tolist()


def test_fractions_need_sizes():
    with pytest.raises(ValueError, match="width and height"):
        boxes.convert(np.ones((1, 4)), Layout.XYXY_UNIT, XYXY)
    with pytest.raises(ValueError, match="width and height"):
        boxes.convert(np.ones((1, 4)), Layout.XYXY_UNIT, XYXY, np.array([[0, 5]]))


def test_the_same_layout_is_the_same_array():
    stored = np.array([[0.1, 0.2, 0.3, 0.4]])
    assert boxes.convert(stored, Layout.XYWH_PX, Layout.XYWH_PX) is stored


def test_area_clip_centres_and_corners_by_hand():
    xyxy = np.array([[-10.0, 10.0, 30.0, 50.0], [90.0, 90.0, 80.0, 95.0]])
    assert boxes.area(xyxy).tolist() == [1600, 0]
    assert boxes.clip(xyxy, 20, 40).tolist() == [[0, 10, 20, 40], [20, 40, 20, 40]]
    assert boxes.centers(xyxy)[0].tolist() == [10, 30]
    points = boxes.corner_points(xyxy[:1])
    assert points[0].tolist() == [[-10, 10], [30, 10], [30, 50], [-10, 50]]
    assert boxes.bounds(points).tolist() == xyxy[:1].tolist()


def test_empty_stays_typed_and_empty():
    empty = np.zeros((0, 4))
    assert boxes.iou(empty, np.ones((3, 4))).shape == (0, 3)
    assert boxes.convert(empty, XYXY, Layout.CXCYWH_PX).shape == (0, 4)
    assert boxes.clip(empty, 5, 5).dtype == np.float64
