"""CutMix against torchvision, sums by hand, and painted boxes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augsuite.augment import Plan, policy, render
from augsuite.augment.covering import covered
from augsuite.augment.plan import Mix, Origin
from augsuite.augment.transforms import make
from augsuite.dataset import Sample


class Pool:
    def __init__(self, sizes=((40, 30), (40, 30), (20, 60))):
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def original(self, row):
        width, height = self.sizes[row]
        image = np.full((height, width, 3), 10 * (row + 1), np.uint8)
        sample = Sample.of(image, [[2, 2, 12, 12]], [row], np.eye(3, dtype=np.float32)[row])
        return replace(sample, image_row=row, rows=np.array([row + 50]))


def test_as_torchvision():
    """The same rectangle gives the same pixels and targets."""
    torch = pytest.importorskip("torch")
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (2, 30, 40, 3), np.uint8)
    labels = torch.tensor([0, 2])
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    cutmix = v2.CutMix(num_classes=3)
    for seed in range(20):
        torch.manual_seed(seed)
        pixels, targets = cutmix(batch, labels)
        torch.manual_seed(seed)
        left, top, right, bottom = cutmix.make_params([tv_tensors.Image(batch)])["box"]
        samples = [Sample.of(images[i], (), (), np.eye(3)[labels[i]]) for i in range(2)]
        if left == right or top == bottom:
            continue
        result = make("cutmix", {}, "cutmix").mix(samples, {"rect": [left, top, right, bottom]})
        np.testing.assert_array_equal(result.image, pixels[0].permute(1, 2, 0).numpy())
        np.testing.assert_allclose(result.targets, targets[0].numpy(), atol=1e-6)


def test_the_rectangle_is_drawn_as_in_the_paper():
    """Its size is the canvas times the root of 1 - lam, with lam uniform, before the border cuts it."""
    chosen, pool = policy([{"do": "cutmix"}]), Pool()
    roots = []
    for epoch in range(3000):
        start = chosen.plan(pool.original(0), (0, epoch, 0), pool).start
        if not isinstance(start, Mix):
            roots.append(0.0)
            continue
        left, top, right, bottom = start.drawn["rect"]
        assert 0 <= left < right <= 40
        assert 0 <= top < bottom <= 30
        assert start.parts[1].start.row in {1, 2}
        if left > 0 and right < 40:  # not cut at the sides
            roots.append((right - left) / 40)
    assert max(roots) <= 1
    # Uncut, a rectangle of root r is less likely the larger it is: P(uncut | r) = 1 - r, density of r is 2 r.
    judge = np.random.default_rng(0)
    lam, middle = judge.random(200_000), judge.random(200_000)
    root = np.sqrt(1 - lam)
    uncut = (middle - root / 2 > 0) & (middle + root / 2 < 1)
    assert abs(np.mean([root for root in roots if root]) - root[uncut].mean()) < 0.03


def test_boxes_by_hand():
    """The rectangle hides the right half of the first box, 30 % of the second, all of the third."""
    own = Sample.of(
        np.zeros((100, 100, 3), np.uint8),
        [[30.5, 42, 50.5, 52], [45, 60, 65, 80], [45, 45, 60, 60], [0, 0, 10, 10]],
        [1, 2, 3, 4],
    )
    other = Sample.of(np.full((50, 50, 3), 200, np.uint8), [[10, 10, 30, 30], [0, 0, 10, 10]], [5, 6])
    result = make("cutmix", {}, "cutmix").mix([own, other], {"rect": [40, 40, 70, 66]})
    assert result.labels.tolist() == [1, 2, 4, 5]
    # The other image is twice as large here: its box 20..60 shows 40..60 across and 40..60 down.
    assert result.boxes.tolist() == [[30.5, 42, 40, 52], [45, 66, 65, 80], [0, 0, 10, 10], [40, 40, 60, 60]]
    np.testing.assert_allclose(result.seen_frac, [9.5 / 20, 14 / 20, 1, 20 * 20 / 1600])
    assert result.weights.tolist() == [1, 1, 1, 1]
    assert result.weights.dtype == np.float32


def test_judged_against_the_original_area():
    """A box of which the rectangle leaves 60 %, and a crop after it 60 % of that: 36 %."""
    own = Sample.of(np.zeros((100, 100, 3), np.uint8), [[0, 0, 100, 10]], [1])
    parts = (Plan(Origin(0, 100, 100)), Plan(Origin(1, 100, 100)))

    class Two:
        def __len__(self):
            return 2

        def original(self, row):
            del row
            return Sample.of(np.zeros((100, 100, 3), np.uint8))

    from augsuite.augment import Warp

    crop = Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 36, 100)
    mix = Mix("cutmix", "cutmix", {}, {"rect": [60, 0, 100, 100]}, parts)
    for least, kept in ((0.35, 1), (0.37, 0)):
        assert len(render(Plan(mix, (crop,), least), own, Two()).boxes) == kept


def test_an_image_without_a_target_leaves_it_to_the_other():
    pool = Pool()
    samples = [pool.original(0), replace(pool.original(1), targets=None)]
    result = make("cutmix", {}, "cutmix").mix(samples, {"rect": [0, 0, 20, 30]})
    np.testing.assert_allclose(result.targets, [1, 0, 0], rtol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_covered_counts_like_painting(seed, outlined):
    """Boxes on whole pixels, or circles, under a blot of pixels: what is left is what painting leaves."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 30, 2)
    wide, high = rng.integers(1, 20, 2)
    shape = np.zeros((60, 60), bool)
    shape[y : y + high, x : x + wide] = True
    if outlined:
        rows, columns = np.mgrid[:60, :60]
        shape &= ((rows - y - high / 2) / high) ** 2 + ((columns - x - wide / 2) / wide) ** 2 <= 0.25
        if not shape.any():
            return
    blot = np.zeros((60, 60), bool)
    left, top = rng.integers(0, 40, 2)
    blot[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = True
    if seed % 2:
        blot &= rng.random((60, 60)) < 0.8
    found = bounds(shape)
    sample = Sample.of(np.zeros((60, 60, 3), np.uint8), [found], [7], masks=[shape] if outlined else None)
    rest = covered(sample, (left, top, blot[top : top + 20, left : left + 20]))
    painted = shape & ~blot
    if not painted.any():
        assert len(rest.boxes) == 0
        return
    assert rest.boxes.tolist() == [bounds(painted)]
    share = 1.0 if rest.seen_frac is None else float(rest.seen_frac[0])
    assert share == pytest.approx(painted.sum() / shape.sum())
    if outlined:
        np.testing.assert_array_equal(rest.shapes.mask(0, 60, 60), painted)


def bounds(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_a_covered_keypoint_is_hidden():
    points = [[[5, 5, 2], [20, 20, 2], [20, 5, 1]]]
    sample = Sample.of(np.zeros((30, 30, 3), np.uint8), [[0, 0, 30, 30]], [1], keypoints=points)
    rest = covered(sample, (15, 0, np.ones((25, 15), bool)))
    assert rest.shapes.keypoints[0, :, 2].tolist() == [2, 1, 1]
