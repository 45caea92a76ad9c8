import numpy as np
import pytest
import torch
import torchvision

from augsuite_ssd.anchors import encode
from augsuite_ssd.detection import find, soften
from augsuite_ssd.settings import Config


def test_detection_by_hand():
    """Overlapping boxes of one class lose the less sure one; of two classes both stay; boxes are cut to the image."""
    anchors = torch.tensor([[0, 0, 0.5, 0.5], [0.02, 0, 0.52, 0.5], [0.5, 0.5, 1, 1.5]])
    logits = torch.tensor([[[0.0, 5, 3], [3, 4, -9], [0, 0, 9]]])
    found = find(logits, torch.zeros(1, 3, 4), anchors, Config())
    assert found.images.tolist() == [0, 0, 0]
    assert found.labels.tolist() == [1, 0, 1]
    torch.testing.assert_close(found.boxes, torch.tensor([[0.5, 0.5, 1, 1], [0, 0, 0.5, 0.5], [0, 0, 0.5, 0.5]]))
    chances = logits[0].softmax(dim=1)
    torch.testing.assert_close(found.scores, torch.stack([chances[2, 2], chances[0, 1], chances[0, 2]]))


def random_outputs(images, count, classes, seed=0):
    rng = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=rng) * 0.7
    anchors = torch.cat([low, low + 0.1 + torch.rand(count, 2, generator=rng) * 0.2], dim=1)
    logits = torch.randn(images, count, 1 + classes, generator=rng) * 2
    return logits, torch.randn(images, count, 4, generator=rng) * 0.5, anchors


@pytest.mark.parametrize("images", [1, 3])
def test_suppression_is_torchvisions_class_by_class(images):
    logits, offsets, anchors = random_outputs(images, 300, 4)
    config = Config(min_score=0.05, nms_iou=0.4)
    found = find(logits, offsets, anchors, config)
    for image in range(images):
        scores = logits[image].softmax(dim=1)[:, 1:]
        coder = torchvision.models.detection._utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
        boxes = coder.decode_single(offsets[image], anchors).clamp(0, 1)
        kept = []
        for label in range(4):
            rows = torch.nonzero(scores[:, label] >= 0.05).flatten()
            rows = rows[torchvision.ops.nms(boxes[rows], scores[rows, label], 0.4)]
            kept += [(scores[row, label].item(), label, boxes[row].tolist()) for row in rows]
        kept.sort(reverse=True)
        own = found.images == image
        assert len(kept) > 100
        np.testing.assert_allclose(found.scores[own], [score for score, _, _ in kept[:100]], rtol=1e-5)
        assert found.labels[own].tolist() == [label for _, label, _ in kept[:100]]
        np.testing.assert_allclose(found.boxes[own], [box for _, _, box in kept[:100]], atol=1e-6)


def test_nothing_sure_enough_is_nothing():
    logits, offsets, anchors = random_outputs(2, 10, 3)
    for kind in ("hard", "linear", "gaussian"):
        assert not len(find(logits, offsets, anchors, Config(min_score=1.0, nms=kind)).scores)


A, B, C = [0, 0, 1.0, 1.0], [0, 0.5, 1.0, 1.0], [0, 0.25, 1.0, 1.0]
"""B lies in A and in C; IoU of A and B is 1/2, of A and C 3/4, of B and C 2/3."""


def test_linear_soft_suppression_by_hand():
    """A first: B keeps 0.8 x 1/2, C 0.6 x 1/4; then B, by which C keeps another third."""
    scores = soften(torch.tensor([[A, B, C]]), torch.tensor([[0.9, 0.8, 0.6]]), 0.01, 0.5)
    torch.testing.assert_close(scores, torch.tensor([[0.9, 0.4, 0.6 / 4 / 3]]))
    # With a threshold of 0.6, A leaves B alone; C loses to A, then to B.
    scores = soften(torch.tensor([[A, B, C]]), torch.tensor([[0.9, 0.8, 0.6]]), 0.01, 0.6)
    torch.testing.assert_close(scores, torch.tensor([[0.9, 0.8, 0.6 / 4 / 3]]))


def test_the_order_follows_the_softened_scores():
    """C is surer than B until A has taken most of it: then B comes first, and costs C once more."""
    scores = soften(torch.tensor([[A, C, B]]), torch.tensor([[0.9, 0.8, 0.7]]), 0.01, 0.5)
    torch.testing.assert_close(scores, torch.tensor([[0.9, 0.8 / 4 / 3, 0.35]]))


def test_gaussian_soft_suppression_by_hand():
    boxes, before = torch.tensor([[A, B, C]]), torch.tensor([[0.9, 0.8, 0.6]])
    second, third = 0.8 * np.exp(-(0.5**2) / 0.5), 0.6 * np.exp(-(0.75**2) / 0.5) * np.exp(-((2 / 3) ** 2) / 0.5)
    torch.testing.assert_close(
        soften(boxes, before, 0.01, 0.5, 0.5), torch.tensor([[0.9, second, third]], dtype=torch.float32)
    )
    assert soften(boxes, before, 0.1, 0.5, 0.5)[0, 2] == -1, "it fell below what is reported"


def test_groups_do_not_touch():
    boxes = torch.tensor([[A, B], [A, A]])
    scores = soften(boxes, torch.tensor([[0.9, 0.8], [0.3, 0.5]]), 0.01, 0.5)
    torch.testing.assert_close(scores, torch.tensor([[0.9, 0.4], [-1.0, 0.5]]))


def test_soft_detections_are_sorted_and_more():
    logits, offsets, anchors = random_outputs(2, 60, 2)
    hard = find(logits, offsets, anchors, Config(min_score=0.2))
    soft = find(logits, offsets, anchors, Config(min_score=0.2, nms="linear"))
    assert len(soft.scores) > len(hard.scores)
    for image in range(2):
        assert (soft.scores[soft.images == image].diff() <= 0).all()
    assert (soft.images.diff() >= 0).all()


def test_the_mirror_image_finds_what_was_missed():
    """The image shows its box weakly, its mirror image strongly and elsewhere, where mirroring brings it back."""
    anchors = torch.tensor([[0.1, 0.2, 0.3, 0.5], [0.7, 0.2, 0.9, 0.5]])
    box, mirrored = np.float32([[0.12, 0.2, 0.3, 0.6]]), np.float32([[0.7, 0.2, 0.88, 0.6]])
    offsets = torch.zeros(2, 2, 4)
    offsets[0, 0] = torch.from_numpy(encode(box, anchors[:1].numpy()))[0]
    offsets[1, 1] = torch.from_numpy(encode(mirrored, anchors[1:].numpy()))[0]
    logits = torch.tensor([[[0.0, 0.5], [9, 0]], [[9, 0], [0.0, 3]]])
    found = find(logits, offsets, anchors, Config(), mirrored=True)
    assert found.images.tolist() == [0]
    torch.testing.assert_close(found.scores, torch.tensor([3.0]).sigmoid())
    torch.testing.assert_close(found.boxes, torch.from_numpy(box), atol=1e-6, rtol=0)
