"""A policy in somebody else's training code: arrays in, arrays out."""

import numpy as np
import pytest

import augsuite
from augsuite.errors import ConfigError, DataError


def picture(height=40, width=60):
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


def test_mirror_and_crop_by_hand():
    mirror = augsuite.policy([{"do": "hflip"}])
    image, boxes, labels = mirror.apply(picture(), [[5, 10, 25, 30]], [7], key=(0, 0, 0))
    np.testing.assert_array_equal(image, picture()[:, ::-1])
    np.testing.assert_array_equal(boxes, [[60 - 25, 10, 60 - 5, 30]])
    assert labels == [7]


def test_every_column_follows_its_box():
    """A shrink makes the second of three boxes smaller than a pixel; whatever belongs to it goes with it."""
    torch = pytest.importorskip("torch")
    shrink = augsuite.policy([{"do": "resize", "size": [6, 4]}])
    boxes = np.array([[0, 0, 30, 30], [1, 1, 3, 3], [20, 10, 60, 40]], np.float32)
    big = np.array([900_100_581_904, 3, 900_100_581_905])
    result = shrink.apply(picture(), boxes, big, ["a", "b", "c"], torch.tensor([True, False, True]), key=(0, 0, 0))
    image, moved, ids, names, flags = result
    assert image.shape == (4, 6, 3)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, boxes[[0, 2]] / 10)
    np.testing.assert_array_equal(ids, big[[0, 2]])
    assert ids.dtype == big.dtype
    assert names == ["a", "c"]
    assert torch.equal(flags, torch.tensor([True, True]))


def test_without_boxes():
    image, boxes = augsuite.policy("flip").apply(picture(), key=(0, 0, 1))
    assert boxes.shape == (0, 4)
    assert boxes.dtype == np.float64
    assert image.shape == (40, 60, 3)
    _, boxes = augsuite.policy("flip").apply(picture(), np.zeros((0, 4), np.float32), key=(0, 0, 1))
    assert boxes.shape == (0, 4)
    assert boxes.dtype == np.float32


def test_equals_the_policy_on_a_sample_and_leaves_what_it_was_given():
    policy, given = augsuite.policy("ssd"), picture(80, 120)
    kept = given.copy()
    boxes, labels = np.array([[10.0, 10.0, 60.5, 70.25], [50, 5, 110, 60]]), np.array([4, 9])
    for row in range(8):
        sample = policy(augsuite.Sample.of(given, boxes, labels), key=(1, 2, row))
        image, moved, chosen = policy.apply(given, boxes, labels, key=(1, 2, row))
        np.testing.assert_array_equal(image, sample.image)
        np.testing.assert_array_equal(moved, sample.boxes)
        np.testing.assert_array_equal(chosen, sample.labels)
    np.testing.assert_array_equal(given, kept)


def test_mistakes_are_one_line():
    policy = augsuite.policy("flip")
    with pytest.raises(DataError, match=r"columns\[1\] has 2 entries and there are 1 boxes"):
        policy.apply(picture(), [[0, 0, 5, 5]], [1], [1, 2], key=(0, 0, 0))
    with pytest.raises(DataError, match=r"expected an image of shape \(H, W, 3\) and dtype uint8"):
        policy.apply(picture().astype(np.float32), key=(0, 0, 0))
    with pytest.raises(ConfigError, match="mixes several images"):
        augsuite.policy([{"do": "mixup"}]).apply(picture(), key=(0, 0, 0))


def test_in_a_plain_torch_dataset():
    """Two workers give what none gives, epoch by epoch."""
    data = pytest.importorskip("torch.utils.data")
    loaders = [
        data.DataLoader(
            Plain(), batch_size=None, num_workers=workers, sampler=[(e, i) for e in (0, 1) for i in range(4)]
        )
        for workers in (0, 2)
    ]
    alone, together = ([tuple(np.asarray(part) for part in item) for item in loader] for loader in loaders)
    assert len(alone) == 8
    for first, second in zip(alone, together, strict=True):
        for left, right in zip(first, second, strict=True):
            np.testing.assert_array_equal(left, right)
    assert any(not np.array_equal(alone[i][0], alone[4 + i][0]) for i in range(4))


class Plain:
    """What somebody else's dataset looks like, with the three lines in it."""

    policy = augsuite.policy("flip")

    def __len__(self):
        return 4

    def __getitem__(self, at):
        epoch, index = at
        image, boxes, labels = np.roll(picture(), index, axis=1), np.array([[1.0, 2, 30, 20]]), np.array([index])
        return self.policy.apply(image, boxes, labels, key=(0, epoch, index))
