"""Mosaics against sums by hand, boxes painted into the images, and albumentations."""

from dataclasses import replace

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from augsuite.augment import Feed, Plan, Policy, Step, Warp, policy, render
from augsuite.augment.transforms import make
from augsuite.boxes import Layout
from augsuite.dataset import Annotations, ArraySource, Categories, Dataset, FileSource, Images, Sample

GREY = 114


class Pool:
    """Images of one grey each: 10, 20, 30, ..., each with one box and a class of its own."""

    def __init__(self, sizes):
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def original(self, row):
        width, height = self.sizes[row]
        targets = np.eye(len(self), dtype=np.float32)[row]
        image = np.full((height, width, 3), 10 * (row + 1), np.uint8)
        sample = Sample.of(image, [[0, 0, width / 2, height / 2]], [row], targets)
        return replace(sample, rows=np.array([100 + row]), image_row=row)


def mixed(params, drawn, samples):
    return make("mosaic", params, "mosaic").mix(samples, drawn)


class TestByHand:
    def test_contain(self):
        """Crossing at (6, 10) of a 20 x 20 canvas; tiles of 10 x 10; images of 10 x 5, so each is laid out at its own size."""
        pool = Pool([(10, 5)] * 4)
        samples = [pool.original(row) for row in range(4)]
        result = mixed({"size": [20, 20]}, {"xs": [-4, 6, 16], "ys": [0, 10, 20], "place": 3}, samples)
        # The own image, row 0, has the last place; the others follow in their order.
        expected = np.full((20, 20), GREY)
        expected[5:10, 0:6] = 20  # pushed to the crossing; its first four columns are cut off
        expected[5:10, 6:16] = 30
        expected[10:15, 0:6] = 40
        expected[10:15, 6:16] = 10
        np.testing.assert_array_equal(result.image, np.repeat(expected[..., None], 3, axis=2))
        assert result.boxes.tolist() == [[0, 5, 1, 7.5], [6, 5, 11, 7.5], [0, 10, 1, 12.5], [6, 10, 11, 12.5]]
        assert result.labels.tolist() == [1, 2, 3, 0]
        assert result.rows.tolist() == [101, 102, 103, 100]
        assert result.labels.dtype == np.int64
        # 30, 50, 30 and 50 pixels are shown.
        np.testing.assert_allclose(result.targets, np.array([50, 30, 50, 30]) / 160, rtol=1e-6)
        assert result.image_row == 0
        np.testing.assert_array_equal(result.matrix, [[1, 0, 6], [0, 1, 10], [0, 0, 1]])

    def test_cover_leaves_no_gap(self):
        pool = Pool([(10, 5), (7, 20), (3, 3), (40, 30)])
        samples = [pool.original(row) for row in range(4)]
        drawn = {"xs": [-4, 6, 16], "ys": [5, 15, 25], "place": 0}
        result = mixed({"size": [20, 20], "fit": "cover"}, drawn, samples)
        expected = np.repeat(np.repeat([[10, 20], [30, 40]], [15, 5], axis=0), [6, 14], axis=1)
        np.testing.assert_array_equal(result.image, np.repeat(expected[..., None], 3, axis=2))
        # Tile 10 x 10, canvas 6 x 15: the first image, 10 x 5, grows threefold to 30 x 15, its right edge at 6.
        assert result.boxes[result.labels == 0].tolist() == []
        np.testing.assert_allclose(result.matrix, [[3, 0, -24], [0, 3, 0], [0, 0, 1]])

    def test_three_columns_by_two_rows(self):
        """The middle column lies in the middle of its tile."""
        pool = Pool([(4, 10)] * 6)
        samples = [pool.original(row) for row in range(6)]
        drawn = {"xs": [0, 10, 20, 30], "ys": [0, 10, 20], "place": 0}
        result = mixed({"size": [30, 20], "grid": [3, 2]}, drawn, samples).image[..., 0]
        row = np.full(30, GREY)
        row[6:10], row[13:17], row[20:24] = 10, 20, 30
        np.testing.assert_array_equal(result[0], row)
        row[6:10], row[13:17], row[20:24] = 40, 50, 60
        np.testing.assert_array_equal(result[19], row)

    def test_lines_are_drawn_within_half_a_tile(self):
        transform = make("mosaic", {"size": [400, 200]}, "mosaic")
        pool = Pool([(10, 10)] * 5)
        lines, places, partners = [], [], []
        for key in range(2000):
            mix = policy([{"do": "mosaic", "size": [400, 200]}]).plan(pool.original(2), (0, key, 2), pool).start
            lines.append((mix.drawn["xs"][1], mix.drawn["ys"][1]))
            places.append(mix.drawn["place"])
            partners += [part.start.row for part in mix.parts[1:]]
        lines = np.array(lines)
        assert transform.tile is None
        assert lines.min(axis=0).tolist() == pytest.approx([100, 50], abs=3)
        assert lines.max(axis=0).tolist() == pytest.approx([300, 150], abs=3)
        assert np.abs(np.bincount(places, minlength=4) - 500).max() < 5 * np.sqrt(2000 * 3 / 16)
        counts = np.bincount(partners, minlength=5)
        assert counts[2] == 0
        assert np.abs(np.delete(counts, 2) - 1500).max() < 5 * np.sqrt(6000 * 3 / 16)


@pytest.mark.parametrize("fit", ["contain", "cover"])
@pytest.mark.parametrize("tile", [320, 400])
def test_as_albumentations(fit, tile):
    """Crossing in the middle, four times the same square image: then nothing is random there, and no side is cut or padded."""
    import albumentations

    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8), (0, 0), 4)
    boxes = [[40.0, 30.0, 240.0, 480.0], [300.0, 200.0, 499.0, 499.0]]
    judge = albumentations.Compose(
        [
            albumentations.Mosaic(
                grid_yx=(2, 2),
                target_size=(640, 640),
                cell_shape=(tile, tile),
                center_range=(0.5, 0.5),
                fit_mode=fit,
                p=1,
            )
        ],
        bbox_params=albumentations.BboxParams("pascal_voc", label_fields=["labels"]),
    )
    one = {"image": image, "bboxes": np.array(boxes), "labels": [1, 2]}
    said = judge(**one, mosaic_metadata=[dict(one) for _ in range(3)])
    lines = [320 - tile, 320, 320 + tile]
    params = {"size": [640, 640], "tile": [tile, tile], "fit": fit}
    result = mixed(params, {"xs": lines, "ys": lines, "place": 0}, [Sample.of(image, boxes, [1, 2])] * 4)
    assert np.abs(result.image.astype(int) - said["image"]).max() <= 2
    order = np.lexsort(np.rint(said["bboxes"]).T)
    own = np.lexsort(np.rint(result.boxes).T)
    np.testing.assert_allclose(result.boxes[own], np.asarray(said["bboxes"])[order], atol=1e-3)
    assert result.labels[own].tolist() == np.asarray(said["labels"])[order].tolist()


class Painted:
    """Black images, each with a white box of its own place."""

    sizes = ((160, 120), (90, 140), (121, 77), (64, 64), (200, 150))

    def __len__(self):
        return len(self.sizes)

    def original(self, row):
        width, height = self.sizes[row]
        image = np.zeros((height, width, 3), np.uint8)
        left, top = 3 + 4 * row, 11 - row
        right, bottom = left + width // 2, top + height // 2
        image[top:bottom, left:right] = 255
        return replace(Sample.of(image, [[left, top, right, bottom]], [row]), image_row=row)


AFTER = st.lists(
    st.sampled_from(
        [
            {"do": "hflip"},
            {"do": "resize", "size": [170, 150]},
            {"do": "affine", "fill": [0, 0, 0]},
            {"do": "crop", "area_frac": [0.6, 1.0]},
            {"do": "rotate", "fill": [0, 0, 0]},
        ]
    ),
    max_size=2,
    unique_by=lambda step: step["do"],
)


class TestPainted:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 10**6), AFTER, st.sampled_from(["contain", "cover"]), st.booleans())
    @example(50769, [{"do": "affine", "fill": [0, 0, 0]}], "contain", False)
    def test_extents(self, seed, after, fit, before):
        """Each image painted alone, the others black: the extent of what is white is the box."""
        pool = Painted()
        steps = [{"do": "hflip"}] if before else []
        steps += [{"do": "mosaic", "size": [200, 180], "fit": fit, "fill": [0, 0, 0]}, *after]
        chosen = replace_rules(policy(steps))
        plan = chosen.plan(pool.original(0), (seed, 0, 0), pool)
        whole = render(plan, pool.original(0), pool)
        # The sharp end of a turned corner covers less than half of its last pixels, however many: those are looked at enlarged.
        scale = 4 if any(step["do"] in {"affine", "rotate"} for step in after) else 1
        last = Warp((scale, 0, 0, 0, scale, 0, 0, 0, 1), whole.source.width * scale, whole.source.height * scale)
        enlarged = msgspec.structs.replace(plan, ops=(*plan.ops, last) if scale > 1 else plan.ops)
        shown = [part.start.row for part in plan.start.parts]
        for label in range(len(pool)):
            mine = whole.boxes[whole.labels == label]
            if shown.count(label) != 1 or not len(mine):
                continue  # not drawn, drawn twice, or nothing of it is seen
            alone = render(enlarged, blackened(pool, label).original(0), blackened(pool, label)).image[..., 0] > 127
            if not alone.any():
                x1, y1, x2, y2 = mine[0]
                assert min(x2 - x1, y2 - y1) < 8
                continue
            columns, rows = np.flatnonzero(alone.any(axis=0)), np.flatnonzero(alone.any(axis=1))
            found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / scale
            assert np.abs(found - mine[0]).max() <= 1


def blackened(pool, label):
    class Alone:
        def __len__(self):
            return len(pool)

        def original(self, row):
            sample = pool.original(row)
            return sample if row == label else replace(sample, source=ArraySource(np.zeros_like(sample.image)))

    return Alone()


def replace_rules(chosen):
    return Policy("painted", chosen.steps, min_visible_frac=0.0, min_size=4.0)


def test_fused_as_step_by_step(tmp_path):
    """What follows a mosaic is rendered with it; the mosaic rendered first and then warped looks the same."""
    rng = np.random.default_rng(3)
    samples = []
    for row, size in enumerate([(320, 240), (300, 400), (500, 340)]):
        noise = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{row}.jpg"), noise)
        samples.append(Sample.of(tmp_path / f"{row}.jpg", [[10, 10, 200, 200]], [row]))

    class Photos:
        def __len__(self):
            return 3

        def original(self, row):
            return samples[row]

    after = [Step("affine"), Step("resize", {"size": [300, 300]})]
    mosaic = Step("mosaic", {"size": [600, 600]})
    for seed in range(6):
        plan = policy([mosaic, *after]).plan(samples[0], (seed, 0, 0), Photos())
        fused = render(plan, samples[0], Photos())
        first = render(Plan(plan.start, (), plan.min_visible_frac, plan.min_size), samples[0], Photos())
        slow = cv2.warpAffine(
            first.image,
            matrix_of(plan, first)[:2],
            (300, 300),
            flags=cv2.INTER_AREA,
            borderValue=(124, 116, 104),
        )
        assert np.abs(fused.image.astype(float) - slow).mean() < 3.5


def matrix_of(plan, first):
    """From pixels, as OpenCV counts them (centres at whole numbers), of the first canvas to those of the last."""
    matrix = np.eye(3)
    for op in plan.ops:
        matrix = np.array(op.matrix).reshape(3, 3) @ matrix
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(half) @ matrix @ half


def test_tiles_of_jpegs_are_decoded_small(tmp_path, monkeypatch):
    asked = []
    decode = FileSource.decode

    def watched(self, reduce=1, rows=None):
        asked.append(reduce)
        return decode(self, reduce, rows)

    monkeypatch.setattr(FileSource, "decode", watched)
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((960, 1280, 3), np.uint8))
    sample = Sample.of(tmp_path / "a.jpg", [[0, 0, 1280, 960]], [0])

    class Same:
        def __len__(self):
            return 4

        def original(self, row):
            del row
            return sample

    chosen = policy([{"do": "mosaic", "size": [1280, 1280]}, {"do": "resize", "size": [640, 640]}])
    assert chosen(sample, pool=Same()).image.shape == (640, 640, 3)
    assert asked == [4, 4, 4, 4]  # 1280 -> 640 -> 320


def test_a_pool_of_one_leaves_the_sample():
    pool = Pool([(8, 8)])
    assert policy([{"do": "mosaic"}])(pool.original(0), pool=pool).image.shape == (8, 8, 3)


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.none() | st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.sampled_from(["contain", "cover"]),
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=2, max_size=5),
    st.integers(0, 10**6),
)
def test_any_sizes(size, grid, tile, fit, images, seed):
    pool = Pool(images)
    step = {"do": "mosaic", "size": list(size), "grid": list(grid), "fit": fit, "tile": tile and list(tile)}
    result = policy([step])(pool.original(0), key=(seed, 0, 0), pool=pool)
    assert result.image.shape == (size[1], size[0], 3)
    assert (result.boxes >= 0).all()
    assert (result.boxes <= [*size, *size]).all()
    covered = (result.image != GREY).any()
    assert covered or fit == "contain"
    assert result.targets is None or result.targets.sum() == pytest.approx(1, abs=1e-5)
    assert (result.targets is not None) == covered
    if fit == "cover":
        assert (result.image != GREY).all()


def test_the_same_with_a_cache_and_from_files(tmp_path):
    """Files are decoded in part, a cache holds them whole: not a pixel differs."""
    rng = np.random.default_rng(3)
    for row, size in enumerate([(320, 240), (301, 400), (500, 341), (640, 480)]):
        noise = cv2.resize(rng.integers(0, 256, (30, 40, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f"{row}.jpg"), noise)
    data = Dataset(
        images=Images.of([f"{row}.jpg" for row in range(4)], files=[f"{row}.jpg" for row in range(4)]),
        categories=Categories.of(["thing"]),
        annotations=Annotations.of(range(4), [0] * 4, [[10, 10, 200, 200]] * 4, Layout.XYXY_PX),
        root=tmp_path,
    )
    for steps in (
        [{"do": "mosaic", "size": [256, 192]}],
        [{"do": "mosaic", "size": [256, 192], "fit": "cover"}, {"do": "affine"}],
        [{"do": "hflip"}, {"do": "mosaic", "size": [256, 192], "grid": [3, 1]}, {"do": "cutmix"}, {"do": "mixup"}],
        [{"do": "crop"}, {"do": "copy_paste", "rectangles": True}, {"do": "resize", "size": [256, 192]}],
    ):
        feeds = [Feed(data, policy(steps)), Feed(data, policy(steps), cache=True)]
        for epoch in range(3):
            plain, cached = (next(iter(feed.batches(epoch, 4, (256, 192)))) for feed in feeds)
            np.testing.assert_array_equal(plain.images, cached.images)
            for first, second in zip(plain.boxes, cached.boxes, strict=True):
                np.testing.assert_array_equal(first, second)
            assert plain.images.shape == (4, 192, 256, 3)
