import numpy as np
import pytest
import torch
import torchvision
from torchvision.models.detection._utils import SSDMatcher

from augsuite.boxes import iou as core_iou
from augsuite_ssd.anchors import anchor_shapes, decode, encode, make_anchors
from augsuite_ssd.matching import covered, match, overlaps


def test_sizes_and_ratios_by_hand():
    anchors = make_anchors([(1, 2)], anchor_shapes([(0.5, 0.25)], (1.0, 4.0, 0.25)))
    assert anchors.shape == (1 * 2 * (2 + 3 - 1), 4)
    first = anchors[:4]
    np.testing.assert_allclose((first[:, :2] + first[:, 2:]) / 2, [[0.25, 0.5]] * 4)
    # Every size with the first ratio, then the first size with the others: a ratio of 4 is twice as wide, half as high.
    np.testing.assert_allclose(first[:, 2:] - first[:, :2], [[0.5, 0.5], [0.25, 0.25], [1.0, 0.25], [0.25, 1.0]])
    np.testing.assert_allclose((anchors[4:, :2] + anchors[4:, 2:]) / 2, [[0.75, 0.5]] * 4)


def test_given_shapes_take_the_place_of_the_nearest_scale():
    # Sides 0.1, 0.11 and 0.4; in ratio, 0.11 is nearer to 0.1 than to 0.3, and 0.4 nearer to 0.3 than to 0.9.
    given = [(0.2, 0.05), (0.11, 0.11), (0.8, 0.2)]
    shapes = anchor_shapes([(0.05, 0.1), (0.3,), (0.9,)], (1.0, 4.0), given)
    assert shapes[:2] == [[(0.2, 0.05), (0.11, 0.11)], [(0.8, 0.2)]]
    assert shapes[2] == [(0.9, 0.9), (1.8, 0.45)]
    anchors = make_anchors([(2, 2), (1, 1), (1, 1)], shapes)
    assert len(anchors) == 4 * 2 + 1 + 2
    np.testing.assert_allclose(anchors[8], [0.1, 0.4, 0.9, 0.6], rtol=1e-6)


def test_anchors_stand_row_by_row_scale_by_scale():
    anchors = make_anchors([(2, 3), (1, 1)], [[(0.1, 0.1)], [(0.9, 0.9)]])
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    expected = [[1 / 6, 0.25], [0.5, 0.25], [5 / 6, 0.25], [1 / 6, 0.75], [0.5, 0.75], [5 / 6, 0.75], [0.5, 0.5]]
    np.testing.assert_allclose(centers, expected, rtol=1e-6)


def test_overlaps_are_those_of_torchvision_and_of_the_core():
    rng = np.random.default_rng(0)
    first, second = (
        np.sort(rng.random((count, 2, 2)), axis=1).reshape(count, 4).astype(np.float32) for count in (9, 300)
    )
    measured = overlaps(first, second)
    expected = torchvision.ops.box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    np.testing.assert_allclose(measured, expected, atol=1e-6)
    np.testing.assert_allclose(measured, core_iou(first.astype(np.float64), second.astype(np.float64)), atol=1e-6)


def test_matching_as_in_the_book():
    """Nine anchors and four boxes, as in section 14.4.3.1 of Dive into Deep Learning: A2-B3, A7-B1, A5-B4, A9-B2, then the rest."""
    x = np.zeros((9, 4), np.float32)  # rows are anchors, columns boxes, as the book writes them
    x[1, 2] = 0.95  # largest of all: A2 to B3, row 2 and column 3 are struck out
    x[1, 0] = 0.90  # ... so this cannot give A2 to B1
    x[6, 2] = 0.85  # ... nor this A7 to B3
    x[6, 0] = 0.80  # largest of what is left: A7 to B1
    x[4, 3] = 0.70  # A5 to B4
    x[4, 1] = 0.65  # struck out with A5
    x[8, 1] = 0.10  # A9 to B2, below the threshold though it is
    x[0, 0], x[0, 3] = 0.55, 0.60  # A1 goes to its best, B4
    x[2, 2] = 0.50  # A3 just reaches the threshold
    x[3, 2] = 0.49  # A4 does not
    assert match(np.ascontiguousarray(x.T), 0.5).tolist() == [3, 2, 2, -1, 3, -1, 0, -1, 1]


def greedy(iou, threshold):
    """The same, as slowly and plainly as it is described."""
    left = iou.copy()
    assigned = np.full(iou.shape[1], -1)
    for anchor in range(iou.shape[1]):
        if len(iou) and iou[:, anchor].max() >= threshold:
            assigned[anchor] = iou[:, anchor].argmax()
    for _ in range(min(left.shape)):
        box, anchor = np.unravel_index(left.argmax(), left.shape)
        if left[box, anchor] <= 0:
            break
        assigned[anchor] = box
        left[box], left[:, anchor] = -1, -1
    return assigned


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (4, 9), (12, 7), (20, 400)])
def test_matching_equals_the_slow_description(shape):
    rng = np.random.default_rng(1)
    for _ in range(50):
        # Few distinct values make ties, and zeros, likely.
        iou = (rng.integers(0, 8, shape) / 8).astype(np.float32) * (rng.random(shape) < 0.6)
        iou = iou.astype(np.float32)
        np.testing.assert_array_equal(match(iou, 0.5), greedy(iou, 0.5))


def test_offsets_by_hand():
    anchor, box = np.array([[0.2, 0.2, 0.4, 0.6]], np.float32), np.array([[0.3, 0.2, 0.7, 0.4]], np.float32)
    # Centres (0.3, 0.4) and (0.5, 0.3); sizes (0.2, 0.4) and (0.4, 0.2).
    expected = [[0.2 / 0.2 / 0.1, -0.1 / 0.4 / 0.1, np.log(2) / 0.2, np.log(0.5) / 0.2]]
    np.testing.assert_allclose(encode(box, anchor), expected, rtol=1e-5)


def test_decode_inverts_encode():
    rng = np.random.default_rng(2)
    low = rng.random((2, 200, 2))
    boxes, anchors = np.concatenate([low, low + 0.05 + rng.random((2, 200, 2))], axis=2).astype(np.float32)
    restored = decode(torch.from_numpy(encode(boxes, anchors)), torch.from_numpy(anchors))
    np.testing.assert_allclose(restored.numpy(), boxes, atol=2e-6)


def test_a_wild_offset_stays_finite():
    anchors = torch.tensor([[0.4, 0.4, 0.6, 0.6]])
    assert torch.isfinite(decode(torch.tensor([[1e6, -1e6, 1e6, 1e6]]), anchors)).all()


def test_where_torchvision_defines_the_same_it_matches_the_same():
    """Boxes whose best anchors differ and overlap a little: there both matchers promise the same."""
    rng = np.random.default_rng(5)
    anchors = make_anchors([(16, 16), (8, 8)], anchor_shapes([(0.1, 0.15), (0.3,)], (1.0, 2.0, 0.5)))
    matcher, agreed = SSDMatcher(0.5), 0
    for _ in range(200):
        low = rng.random((5, 2)) * 0.7
        boxes = np.concatenate([low, low + 0.05 + rng.random((5, 2)) * 0.25], axis=1).astype(np.float32)
        iou = overlaps(boxes, anchors)
        if len(set(iou.argmax(axis=1).tolist())) < 5 or np.diff(np.sort(iou, axis=1)[:, -2:]).min() == 0:
            continue  # two boxes with one best anchor, or two best anchors of one box
        expected = matcher(torch.from_numpy(iou)).numpy()
        np.testing.assert_array_equal(match(iou, 0.5), np.maximum(expected, -1))
        agreed += 1
    assert agreed > 20


def test_where_two_boxes_want_one_anchor_torchvision_leaves_one_out():
    iou = np.array([[0.9, 0.4], [0.8, 0.3]], np.float32)
    assert match(iou, 0.5).tolist() == [0, 1], "the second box gets what is left, below the threshold though it is"
    assert SSDMatcher(0.5)(torch.from_numpy(iou)).tolist() == [1, -1]


def test_the_share_of_an_anchor_that_is_covered():
    anchors = np.array([[0, 0, 0.2, 0.2], [0.4, 0.4, 0.6, 0.8], [0.9, 0.9, 1.1, 1.1]], np.float32)
    boxes = np.array([[0, 0, 0.1, 0.1], [0.5, 0, 1, 1]], np.float32)
    np.testing.assert_allclose(covered(anchors, boxes), [0.25, 0.5, 0.25], rtol=1e-5)
    assert covered(anchors, np.zeros((0, 4), np.float32)).tolist() == [0, 0, 0]
