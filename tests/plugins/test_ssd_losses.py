import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional as F  # noqa: N812 - its usual name

from augsuite_ssd.anchors import decode
from augsuite_ssd.losses import Targets, class_loss, focal_loss, giou_loss, mine_negatives, offset_loss
from augsuite_ssd.matching import Truth, make_targets

NONE = torch.zeros((0, 2), dtype=torch.int64)


def targets_of(places, labels, offsets=None, weights=None, ignored=NONE):
    count = len(places)
    images, anchors = torch.tensor(places, dtype=torch.int64).reshape(-1, 2).T
    return Targets(
        images,
        anchors,
        torch.tensor(labels, dtype=torch.int64),
        torch.zeros(count, 4) if offsets is None else torch.tensor(offsets),
        torch.ones(count) if weights is None else torch.tensor(weights),
        ignored,
    )


def truth(boxes, labels, weights, ignored=()):
    return Truth(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(weights, np.float32),
        np.array(ignored, np.float64).reshape(-1, 4),
    )


ANCHORS = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0.5, 0.5, 1]], np.float32)


def test_targets_hold_class_and_weight_of_the_matched_box():
    found = make_targets([truth([[32, 16, 64, 32], [0, 0, 32, 16]], [1, 0], [0.25, 0.75])], (64, 32), ANCHORS, 0.5)
    assert found.images.tolist() == [0, 0]
    assert found.anchors.tolist() == [0, 1]
    assert found.labels.tolist() == [1, 2]
    assert found.weights.tolist() == [0.75, 0.25]
    assert found.offsets.abs().sum() == 0, "both boxes are their anchors"
    assert not len(found.ignored)


def test_what_an_ignored_box_covers_is_no_background():
    """It covers all of the third anchor, 60 % of the second and a fifth of the first, which has a box of its own."""
    ignored = [[0, 20, 32, 64], [12.8, 0, 32, 64], [44.8, 32, 64, 64]]
    found = make_targets(
        [truth([[0, 0, 32, 32]], [0], [1.0], ignored), truth([], [], [], [[0, 0, 6.4, 64]])], (64, 64), ANCHORS, 0.5
    )
    assert found.anchors.tolist() == [0]
    assert found.ignored.tolist() == [[0, 1], [0, 2]]
    logits = torch.randn(2, 3, 2, requires_grad=True)
    for loss in (class_loss(logits, found, 100.0), focal_loss(logits, found, 2.0, 0.25)):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient.abs().sum(dim=2) > 0).tolist() == [[True, False, False], [True, True, True]]


def test_hard_negatives_by_hand():
    cost = torch.tensor([[9.0, 1.0, 5.0, 2.0, 7.0, 3.0], [1.0, 6.0, 2.0, 5.0, 3.0, 4.0]])
    cost[0, 0] = -1.0  # matched
    matched = torch.tensor([1, 0])
    # One matched anchor: the 2 x 1 hardest of the others. None: as many as for one.
    images, anchors = mine_negatives(cost, matched, 2.0)
    assert list(zip(images.tolist(), anchors.tolist(), strict=True)) == [(0, 4), (0, 2), (1, 1), (1, 3)]
    assert not len(mine_negatives(cost, matched, 0.0)[0])
    images, anchors = mine_negatives(cost, matched, 100.0)
    assert len(images) == 5 + 6
    assert 0 not in anchors[images == 0]


def test_the_class_loss_by_hand():
    """Two classes and background, all logits 0: every counted anchor costs ln 3."""
    targets = targets_of([[0, 0], [0, 1]], [1, 2], weights=[1.0, 0.5])
    loss = class_loss(torch.zeros(1, 4, 3), targets, negatives=0.5)
    assert loss.item() == pytest.approx(np.log(3) * (1 + 0.5 + 1), rel=1e-6)  # one negative for two matched
    assert class_loss(torch.zeros(1, 9, 3), targets_of([], []), 3.0).item() == pytest.approx(3 * np.log(3), rel=1e-6)


def test_the_class_loss_is_pytorchs_over_the_hardest():
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 50, 4, generator=rng)
    targets = targets_of([[0, 3], [0, 9], [2, 49]], [1, 3, 2])
    labels = torch.zeros(3, 50, dtype=torch.int64)
    labels[targets.images, targets.anchors] = targets.labels
    cost = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    expected = cost[labels > 0].sum()
    for image, count in enumerate((6, 3, 3)):
        expected += cost[image, labels[image] == 0].sort(descending=True).values[:count].sum()
    assert class_loss(logits, targets, 3.0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_smoothing_by_hand():
    """A logit of ln 3 for the true of three classes: probabilities 3/5, 1/5, 1/5."""
    logits = torch.tensor([[[0.0, np.log(3), 0.0]]], dtype=torch.float32)
    targets = targets_of([[0, 0]], [1])
    expected = -0.7 * np.log(3 / 5) - 0.3 * (np.log(3 / 5) + 2 * np.log(1 / 5)) / 3
    assert class_loss(logits, targets, 3.0, 0.3).item() == pytest.approx(expected, rel=1e-6)
    assert focal_loss(logits, targets, 0.0, 1.0, 0.3).item() == pytest.approx(expected, rel=1e-6)


def test_focal_loss_by_hand():
    """Probabilities 3/5, 1/5, 1/5: a matched anchor of the first class with weight 1/2, background with 1/5, one ignored."""
    logits = torch.tensor([[[0.0, np.log(3), 0.0]] * 3], dtype=torch.float32)
    targets = targets_of([[0, 0]], [1], weights=[0.5], ignored=torch.tensor([[0, 2]]))
    expected = 0.5 * 0.4 * (2 / 5) ** 2 * -np.log(3 / 5) + 0.6 * (4 / 5) ** 2 * -np.log(1 / 5)
    assert focal_loss(logits, targets, 2.0, 0.4).item() == pytest.approx(expected, rel=1e-6)


def test_focal_loss_of_one_category_is_torchvisions():
    """With one category the softmax of two logits is the sigmoid of their difference."""
    rng = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 40, 2, generator=rng) * 3
    targets = targets_of([[0, 1], [1, 5], [1, 7]], [1, 1, 1])
    dense = torch.zeros(2, 40)
    dense[targets.images, targets.anchors] = 1
    difference = logits[:, :, 1] - logits[:, :, 0]
    expected = torchvision.ops.sigmoid_focal_loss(difference, dense, alpha=0.25, gamma=2.0, reduction="sum")
    assert focal_loss(logits, targets, 2.0, 0.25).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_certain_network_has_finite_gradients():
    for gamma in (0.0, 0.5, 2.0):
        logits = torch.tensor([[[200.0, 0.0], [0.0, 200.0], [0.0, 200.0]]], requires_grad=True)
        focal_loss(logits, targets_of([[0, 1]], [1]), gamma, 0.25).backward()
        assert logits.grad.isfinite().all()


def test_the_offset_loss_by_hand():
    targets = targets_of([[0, 0], [0, 1]], [1, 2], [[0.5, 0, 0, 0], [3.0, 0, 0, 0]], [1.0, 0.5])
    loss = offset_loss(torch.zeros(1, 4, 4), targets)
    assert loss.item() == pytest.approx(0.5 * 0.5**2 * 1 + (3 - 0.5) * 0.5, rel=1e-6)


def test_giou_is_torchvisions():
    rng = torch.Generator().manual_seed(3)
    low = torch.rand(30, 2, generator=rng) * 0.6
    anchors = torch.cat([low, low + 0.1 + torch.rand(30, 2, generator=rng) * 0.3], dim=1)
    offsets = torch.randn(2, 30, 4, generator=rng, requires_grad=True)
    wanted = torch.randn(3, 4, generator=rng)
    targets = targets_of([[0, 2], [1, 2], [1, 29]], [1, 1, 1], wanted.tolist(), [1.0, 0.5, 0.25])
    own = anchors[targets.anchors]
    first = decode(offsets[targets.images, targets.anchors], own)
    expected = torchvision.ops.generalized_box_iou_loss(first, decode(wanted, own), eps=0.0)
    expected = (expected * targets.weights).sum()
    loss = giou_loss(offsets, targets, anchors)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, offsets, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected, offsets)
    torch.testing.assert_close(gradient, theirs, rtol=1e-4, atol=1e-6)
