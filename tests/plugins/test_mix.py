import numpy as np
import pytest

from augsuite.augment import Plan, Scene, Warp, policy, render
from augsuite.augment.draw import Keyed
from augsuite.augment.plan import Mix, Origin
from augsuite.augment.render import begin
from augsuite.augment.transforms import make
from augsuite.dataset import Sample
from augsuite.errors import ConfigError


class Pool:
    """Images of one grey each: 10, 20, 30, ... of growing width."""

    def __init__(self, count=4):
        self.count = count

    def __len__(self):
        return self.count

    def original(self, row):
        image = np.full((20, 30 + 2 * row, 3), 10 * (row + 1), np.uint8)
        targets = np.eye(self.count, dtype=np.float32)[row]
        return Sample.of(image, [[row, 0, row + 10, 10]], [row], targets)


def test_pixels_boxes_weights_and_targets_by_hand():
    pool, chosen = Pool(), policy([{"do": "mixup"}])
    for epoch in range(20):
        own = pool.original(1)
        drawn = chosen.plan(own, (0, epoch, 1), pool).start
        lam, other = drawn.drawn["lam"], drawn.parts[1].start.row
        result = chosen(own, key=(0, epoch, 1), pool=pool)
        width = 30 + 2 * max(1, other)
        assert result.image.shape == (20, width, 3)
        assert (
            np.abs(result.image[:, :30].astype(float) - (lam * 20 + (1 - lam) * 10 * (other + 1))).max() <= 0.5 + 1e-6
        )
        alone = 1 if other == 0 else other  # the wider image's share over black
        share = lam if alone == 1 else 1 - lam
        assert (
            np.abs(result.image[:, 32 if alone > 1 else 30 :].astype(float) - share * 10 * (alone + 1)).max()
            <= 0.5 + 1e-6
        )
        assert result.labels.tolist() == [1, other]
        assert result.boxes.tolist() == [[1, 0, 11, 10], [other, 0, other + 10, 10]]
        np.testing.assert_allclose(result.weights, [lam, 1 - lam], rtol=1e-6)
        expected = np.zeros(4)
        expected[1], expected[other] = lam, 1 - lam
        np.testing.assert_allclose(result.targets, expected, rtol=1e-6)
        assert result.image_row == own.image_row


def test_partners_are_others_with_equal_chances():
    transform = make("mixup", {}, "mixup")
    scene = Scene(10, 10, np.zeros((0, 4)), pool=4, row=2)
    rows = [transform.draw(Keyed((0, 0, key)).of("mixup"), scene)[1][0] for key in range(3000)]
    counts = np.bincount(rows, minlength=4)
    assert counts[2] == 0
    assert np.abs(counts[[0, 1, 3]] - 1000).max() < 4 * np.sqrt(3000 * 2 / 9)


def test_a_pool_of_one_or_none_leaves_the_sample():
    transform = make("mixup", {}, "mixup")
    for pool in (0, 1):
        assert transform.draw(Keyed((0, 0, 0)).of("mixup"), Scene(9, 9, np.zeros((0, 4)), pool=pool, row=0)) is None
    assert policy([{"do": "mixup"}])(Pool(1).original(0), pool=Pool(1)).labels.tolist() == [0]


def test_lam_is_beta():
    from scipy import stats

    transform = make("mixup", {"alpha": 0.7}, "mixup")
    scene = Scene(9, 9, np.zeros((0, 4)), pool=4, row=0)
    lams = [transform.draw(Keyed((1, 0, key)).of("mixup"), scene)[0]["lam"] for key in range(2000)]
    assert stats.kstest(lams, stats.beta(0.7, 0.7).cdf).pvalue > 1e-4


def test_partners_are_augmented_by_the_steps_before_with_draws_of_their_own():
    pool = Pool()
    chosen = policy([{"do": "rotate", "max_deg": 90}, {"do": "mixup"}, {"do": "hflip"}])
    plan = chosen.plan(pool.original(1), (0, 0, 1), pool)
    own, other = plan.start.parts
    assert [op.step for op in own.ops] == [op.step for op in other.ops] == ["rotate"]
    assert own.ops[0].matrix != other.ops[0].matrix
    alone = policy([{"do": "rotate", "max_deg": 90}]).plan(pool.original(1), (0, 0, 1))
    assert own.ops == alone.ops
    assert [op.step for op in plan.ops] == ["hflip"]


def test_steps_after_see_the_boxes_of_both():
    pool = Pool()
    result = policy([{"do": "mixup"}, {"do": "hflip"}])(pool.original(1), key=(0, 0, 1), pool=pool)
    plain = policy([{"do": "mixup"}])(pool.original(1), key=(0, 0, 1), pool=pool)
    width = plain.image.shape[1]
    np.testing.assert_array_equal(result.image, plain.image[:, ::-1])
    assert result.boxes.tolist() == [[width - x2, y1, width - x1, y2] for x1, y1, x2, y2 in plain.boxes.tolist()]
    np.testing.assert_array_equal(result.weights, plain.weights)


@pytest.mark.parametrize("first", [True, False])
def test_an_image_without_a_label_leaves_the_targets_to_the_other(first):
    from dataclasses import replace

    transform = make("mixup", {}, "mixup")
    samples = [Pool().original(0), Pool().original(1)]
    samples[0 if first else 1] = replace(samples[0 if first else 1], targets=None)
    mixed = transform.mix(samples, {"lam": 0.25})
    assert mixed.targets.tolist() == ([0, 1, 0, 0] if first else [1, 0, 0, 0])


def test_a_reduced_blend_is_close_to_the_full_one(tmp_path):
    import PIL.Image

    from augsuite.dataset import ArraySource, FileSource
    from augsuite_mix.mixup import Blend

    sources = []
    for row, size in enumerate([(161, 120), (130, 141)]):
        coarse = np.random.default_rng(row).integers(0, 256, (6, 8, 3), np.uint8)
        PIL.Image.fromarray(coarse).resize(size).save(tmp_path / f"{row}.jpg", quality=95)
        sources.append(FileSource(tmp_path / f"{row}.jpg", *size))
    full = Blend(*sources, 0.4).decode()
    assert full.shape == (141, 161, 3)
    judge = full[:140, :160].reshape(70, 2, 80, 2, 3).mean(axis=(1, 3))
    stuck = ArraySource(sources[1].decode())  # one that cannot be decoded smaller
    for second in (sources[1], stuck):
        small = Blend(sources[0], second, 0.4).decode(2)
        assert small.shape == (71, 81, 3)
        assert np.abs(small[:70, :80] - judge).mean() < 2


def test_a_uniform_share():
    transform = make("mixup", {"lam": [0.3, 0.5]}, "mixup")
    scene = Scene(9, 9, np.zeros((0, 4)), pool=4, row=0)
    lams = [transform.draw(Keyed((1, 0, key)).of("mixup"), scene)[0]["lam"] for key in range(2000)]
    assert 0.3 <= min(lams) < 0.301
    assert 0.499 < max(lams) <= 0.5
    assert abs(np.mean(lams) - 0.4) < 4 * 0.2 / np.sqrt(12 * 2000)
    with pytest.raises(ConfigError, match="smaller number first"):
        make("mixup", {"lam": [0.6, 0.5]}, "mixup")


def test_a_box_is_judged_once_against_its_original_area():
    """Two crops of 70 %, one before and one after the mix: 49 % of the box is left."""
    image = np.zeros((100, 100, 3), np.uint8)

    class Two:
        def __len__(self):
            return 2

        def original(self, row):
            return Sample.of(image, [[0, 0, 100, 100]], [row])

    crop = Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 70, 100)
    again = Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 49, 100)
    for least, kept in ((0.48, 2), (0.5, 0)):
        parts = tuple(Plan(Origin(row, 100, 100), (crop,), least) for row in range(2))
        plan = Plan(Mix("mixup", "mixup", {}, {"lam": 0.5}, parts), (again,), least)
        assert len(render(plan, Two().original(0), Two()).boxes) == kept
        assert len(render(Plan.from_json(plan.to_json()), Two().original(0), Two()).boxes) == kept


def test_a_box_that_gets_larger_after_the_mix_is_not_too_small():
    class Two:
        def __len__(self):
            return 2

        def original(self, row):
            return Sample.of(np.zeros((10, 10, 3), np.uint8), [[2, 2, 2.5, 2.5]], [row])

    chosen = policy([{"do": "mixup"}, {"do": "resize", "size": [100, 100]}])
    assert chosen(Two().original(0), key=(0, 0, 0), pool=Two()).boxes.tolist() == [[20, 20, 25, 25]] * 2


def test_keep_chooses_among_the_boxes_of_the_mix():
    """A crop that keeps boxes by their centre, after a mosaic that cuts some away."""
    pool = Pool(6)
    chosen = policy([{"do": "mosaic", "size": [40, 40]}, {"do": "iou_crop", "min_iou": [0.1]}])
    for epoch in range(60):
        plan = chosen.plan(pool.original(1), (0, epoch, 1), pool)
        result = render(plan, pool.original(1), pool)
        if not plan.ops:
            continue
        start = begin(plan, pool.original(1), pool)
        left, top = -plan.ops[0].matrix[2], -plan.ops[0].matrix[5]
        middles = (start.boxes[:, :2] + start.boxes[:, 2:]) / 2 - [left, top]
        held = ((middles > 0) & (middles < [plan.ops[0].width, plan.ops[0].height])).all(axis=1)
        assert set(result.rows.tolist()) <= set(start.rows[held].tolist())
        assert set(plan.ops[0].keep) <= set(np.flatnonzero(held).tolist())
