"""Rendering against two judges: a step-by-step execution of the same plan, and boxes painted into the image."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warpkit import EXACT, MOVING, black_fill, steps_of, stepwise

from augsuite.augment import Plan, Policy, Warp, policy, render
from augsuite.augment.plan import Origin
from augsuite.augment.render import arrange
from augsuite.dataset import ArraySource, FileSource, Sample
from augsuite.dataset.images import decode
from augsuite.errors import ConfigError, DataError


def smooth(width=160, height=120):
    """An image without detail finer than a few pixels, different in every corner."""
    y, x = np.mgrid[:height, :width].astype(float)
    channels = [np.sin(x / 17 + y / 29), np.cos(x / 23 - y / 19), np.sin(x / 31) * np.cos(y / 13)]
    return np.rint(127.5 + 110 * np.stack(channels, axis=2)).astype(np.uint8)


@pytest.fixture(scope="module")
def photos():
    root = os.environ.get("AUGSUITE_DATA")
    if not root:
        pytest.skip("AUGSUITE_DATA is not set: no photos to judge by")
    return sorted(Path(root, "raccoon", "images").glob("*.jpg"))[:12]


class TestAgainstStepwise:
    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps_of(EXACT), st.integers(0, 10**6))
    def test_whole_pixel_steps_are_exact(self, steps, seed):
        sample = Sample.of(smooth(), [[20, 20, 90, 80]], [0])
        chosen = policy(steps)
        result = chosen(sample, key=(seed, 0, 0))
        np.testing.assert_array_equal(result.image, stepwise(chosen.plan(sample, (seed, 0, 0)), sample.image))

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps_of(MOVING), st.integers(0, 10**6))
    def test_one_warp_equals_many(self, steps, seed):
        sample = Sample.of(smooth(), [[20, 20, 90, 80]], [0])
        chosen = policy(steps)
        result = chosen(sample, key=(seed, 0, 0)).image.astype(float)
        slow = stepwise(chosen.plan(sample, (seed, 0, 0)), sample.image)
        difference = np.abs(result - slow).max(axis=2)
        # Pixels that the edge of a canvas runs through may fall to either side of it; elsewhere they agree.
        assert np.median(difference) <= 2
        edges = 8 * sum(result.shape[:2])
        assert (difference > 12).sum() <= edges

    def test_photos(self, photos):
        chosen = policy(
            [
                {"do": "photometric"},
                {"do": "expand", "p": 0.5, "max_ratio": 2},
                {"do": "iou_crop"},
                {"do": "hflip", "p": 0.5},
                {"do": "rotate", "p": 0.3},
                {"do": "resize", "size": [300, 300]},
            ]
        )
        for row, path in enumerate(photos):
            # Softened, since the slow way interpolates twice and so blurs what is finer than its pixels.
            image = cv2.GaussianBlur(decode(path), (0, 0), 1.5)
            height, width = image.shape[:2]
            sample = Sample.of(image, [[width * 0.2, height * 0.2, width * 0.8, height * 0.8]], [0])
            plan = chosen.plan(sample, (0, 0, row))
            shrink = np.linalg.svd(chosen(sample, key=(0, 0, row)).matrix[:2, :2])[1].min()
            if shrink < 0.5:
                continue  # there the render averages and the slow way does not
            fast = render(plan, sample).image.astype(float)
            assert np.abs(fast - stepwise(plan, image)).mean() < 2, path

    @pytest.mark.parametrize("name", MOVING)
    def test_each_step_on_photos(self, photos, name):
        for row, path in enumerate(photos[:4]):
            image = decode(path)
            sample = Sample.of(image, [[20.0, 20.0, 90.0, 80.0]], [0])
            chosen = policy([{"do": name}])
            result = chosen(sample, key=(0, 0, row))
            if np.linalg.svd(result.matrix[:2, :2])[1].min() < 0.5:
                continue  # there the render averages and the slow way does not
            slow = stepwise(chosen.plan(sample, (0, 0, row)), image)
            if name in EXACT:
                np.testing.assert_array_equal(result.image, slow)
            assert np.abs(result.image.astype(float) - slow).mean() < 2

    @pytest.mark.parametrize(
        "pair", [("rotate", "perspective"), ("elastic", "rotate"), ("perspective", "grid_distortion")]
    )
    def test_bends_on_photos(self, photos, pair):
        for row, path in enumerate(photos[:4]):
            image = cv2.GaussianBlur(decode(path), (0, 0), 1.5)  # as in the test above
            sample = Sample.of(image)
            plan = policy([{"do": name} for name in pair]).plan(sample, (0, 0, row))
            assert np.abs(render(plan, sample).image.astype(float) - stepwise(plan, image)).mean() < 2

    def test_turns_are_exact(self):
        image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
        for quarter, warp in {
            1: Warp((0, 1, 0, -1, 0, 70, 0, 0, 1), 40, 70),  # counter-clockwise: x' = y, y' = W - x
            2: Warp((-1, 0, 70, 0, -1, 40, 0, 0, 1), 70, 40),
            3: Warp((0, -1, 40, 1, 0, 0, 0, 0, 1), 40, 70),
        }.items():
            plan = Plan(Origin(0, 70, 40), (warp,))
            np.testing.assert_array_equal(render(plan, Sample.of(image)).image, np.rot90(image, quarter))

    def test_mirror_of_a_two_decimal_box_is_exact(self):
        boxes = [[0.1, 0.2, 33.33, 44.44], [12.07, 3.3, 63.99, 47.99]]
        result = policy([{"do": "hflip"}])(Sample.of(np.zeros((48, 64, 3), np.uint8), boxes, [0, 1]))
        expected = [[64 - x2, y1, 64 - x1, y2] for x1, y1, x2, y2 in boxes]
        assert result.boxes.tolist() == expected


class TestPaintedBoxes:
    """A box painted into a black image, rendered, has the extent of the box rendered, to within a pixel of the result.

    The result is looked at through a magnifying glass: a last warp that enlarges it. A sharp corner covers less than half of the
    pixel that its tip is in, and the enlarged pixels are so much smaller.
    """

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        steps_of(MOVING),
        st.integers(0, 10**6),
        st.tuples(st.integers(0, 100), st.integers(0, 70), st.integers(24, 60), st.integers(24, 50)),
    )
    def test_extent(self, steps, seed, place):
        left, top, width, height = place
        image = np.zeros((120, 160, 3), np.uint8)
        image[top : top + height, left : left + width] = 255
        black = [black_fill(step) for step in steps]
        chosen = Policy("painted", tuple(black), min_visible_frac=0.0, min_size=4.0)
        sample = Sample.of(image, [[left, top, left + width, top + height]], [3])
        plan = chosen.plan(sample, (seed, 0, 0))
        result = arrange(plan, sample, None)
        if not len(result.boxes):
            return
        wide, high = result.source.width, result.source.height
        glass = int(max(1, min(8, 1500 / max(wide, high))))
        enlarge = Warp((glass, 0, 0, 0, glass, 0, 0, 0, 1), wide * glass, high * glass)
        seen = render(msgspec.structs.replace(plan, ops=(*plan.ops, enlarge)), sample).image
        painted = seen[..., 0] > 127
        x1, y1, x2, y2 = result.boxes[0]
        if not painted.any():
            assert min(x2 - x1, y2 - y1) < 8
            return
        columns, rows = np.flatnonzero(painted.any(axis=0)), np.flatnonzero(painted.any(axis=1))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / glass
        turned = not np.isclose(result.matrix[[0, 1], [1, 0]], 0, atol=1e-12).all()
        slack = 1.0 + (1.5 / glass if turned else 0)
        assert np.abs(found - result.boxes[0]).max() <= slack, (found, result.boxes[0], plan)


class TestVisibleFraction:
    def test_five_crops_count_once(self):
        """Five crops that each keep the left 70 % of the width of what is left: 0.7^5 = 16.8 % of the box."""
        warps, width = [], 1000
        for _ in range(5):
            width = round(width * 0.7)
            warps.append(Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), width, 100))
        assert width == 168  # 1000, 700, 490, 343, 240, 168
        sample = Sample.of(np.zeros((100, 1000, 3), np.uint8), [[0, 0, 1000, 100]], [0])
        for least, kept in ((0.167, 1), (0.168, 1), (0.169, 0), (0.3, 0)):
            plan = Plan(Origin(0, 1000, 100), tuple(warps), min_visible_frac=least)
            assert len(render(plan, sample).boxes) == kept

    def test_what_the_image_cuts_off_does_not_count(self):
        sample = Sample.of(np.zeros((100, 100, 3), np.uint8), [[-90, 0, 10, 100]], [0])
        result = render(Plan(Origin(0, 100, 100), (), min_visible_frac=1.0), sample)
        assert result.boxes.tolist() == [[0, 0, 10, 100]]

    def test_rotation_by_hand(self):
        """A square turned by 45 degrees about its centre, on a canvas that cuts the right half off."""
        half = np.sqrt(0.5)
        matrix = (half, -half, 50 - 0, half, half, 50 - 100 * half, 0, 0, 1)  # (50, 50) -> (50, 50)
        sample = Sample.of(np.zeros((100, 100, 3), np.uint8), [[40, 40, 60, 60]], [0])
        plan = Plan(Origin(0, 100, 100), (Warp(matrix, 50, 100),), min_visible_frac=0.5)
        result = render(plan, sample)
        reach = 10 * np.sqrt(2)
        np.testing.assert_allclose(result.boxes, [[50 - reach, 50 - reach, 50, 50 + reach]], atol=1e-9)
        plan = Plan(Origin(0, 100, 100), (Warp(matrix, 50, 100),), min_visible_frac=0.51)
        assert not len(render(plan, sample).boxes)

    def test_frames_that_differ_by_rounding_errors_cut_nothing(self):
        """The image and its resized canvas have one frame: two of its corners, 1e-15 pixels apart, are no edge."""
        cos, sin = 0.9971058545365854, 0.07602575122197641
        warps = (
            Warp((0.053125, 0, 0, 0, 0.30833333333333335, 0, 0, 0, 1), 34, 148),
            Warp((1, 0, 7, 0, 1, 32, 0, 0, 1), 62, 270),
            Warp((cos, -sin, 10.353194924332668, sin, cos, -1.9660886503203017, 0, 0, 1), 62, 270),
        )
        sample = Sample.of(np.zeros((480, 640, 3), np.uint8), [[540, 0, 640, 423], [300, 200, 340, 280]], [0, 1])
        result = render(Plan(Origin(0, 640, 480), warps, min_visible_frac=1.0), sample)
        assert result.labels.tolist() == [0, 1]

    def test_small_boxes_go(self):
        sample = Sample.of(np.zeros((100, 100, 3), np.uint8), [[0, 0, 9, 50], [0, 0, 10, 50]], [5, 6])
        result = policy([{"do": "resize", "size": [10, 10]}])(sample)
        assert result.labels.tolist() == [6]

    def test_one_mask_for_all_columns(self):
        sample = replace(
            Sample.of(np.zeros((100, 100, 3), np.uint8), [[0, 0, 20, 20], [60, 60, 90, 90]], [5, 6]),
            rows=np.array([70, 71]),
            weights=np.array([0.25, 0.75], np.float32),
        )
        result = render(Plan(Origin(0, 100, 100), (Warp((1, 0, -50, 0, 1, -50, 0, 0, 1), 50, 50),)), sample)
        assert (result.labels.tolist(), result.rows.tolist(), result.weights.tolist()) == ([6], [71], [0.75])
        assert result.boxes.tolist() == [[10, 10, 40, 40]]


class TestFill:
    def test_the_last_warp_missed_decides(self):
        """Red canvas around the image, then a shift that brings in blue from outside of the red one."""
        image = np.full((10, 10, 3), 50, np.uint8)
        red = Warp((1, 0, 5, 0, 1, 0, 0, 0, 1), 20, 10, (255, 0, 0))
        blue = Warp((1, 0, -10, 0, 1, 0, 0, 0, 1), 20, 10, (0, 0, 255))
        result = render(Plan(Origin(0, 10, 10), (red, blue)), Sample.of(image)).image
        assert (result[:, :5] == 50).all()
        assert (result[:, 5:10] == (255, 0, 0)).all()
        assert (result[:, 10:] == (0, 0, 255)).all()

    def test_colour_before_a_canvas_leaves_its_fill_alone(self):
        image = np.full((10, 10, 3), 100, np.uint8)
        steps = [
            {"do": "brightness", "factor": [0.5, 0.5]},
            {"do": "letterbox", "size": [30, 10], "fill": [9, 99, 199]},
        ]
        before = policy(steps)(Sample.of(image)).image
        assert (before[:, :10] == (9, 99, 199)).all()
        assert (before[:, 10:20] == 50).all()
        after = policy(steps[::-1])(Sample.of(image)).image
        assert np.abs(after[:, :10].astype(int) - (4, 49, 99)).max() <= 1

    def test_a_cut_corner_stays_cut(self):
        """A pixel that left the canvas and comes back is filled, not restored."""
        image = np.full((10, 10, 3), 50, np.uint8)
        out = Warp((1, 0, 6, 0, 1, 0, 0, 0, 1), 10, 10, (1, 2, 3))
        back = Warp((1, 0, -6, 0, 1, 0, 0, 0, 1), 10, 10, (4, 5, 6))
        result = render(Plan(Origin(0, 10, 10), (out, back)), Sample.of(image, [[0, 0, 10, 10]], [0]))
        assert (result.image[:, :4] == 50).all()
        assert (result.image[:, 4:] == (4, 5, 6)).all()
        assert result.boxes.tolist() == [[0, 0, 4, 10]]


class TestDecoding:
    def test_reduced_jpeg_is_close_to_the_area_mean(self, photos):
        for path in photos:
            full = decode(path)
            result = policy([{"do": "resize", "size": [64, 64]}])(Sample.of(path)).image
            judge = cv2.resize(full, (64, 64), interpolation=cv2.INTER_AREA)
            assert np.abs(result.astype(float) - judge).mean() < 5, path

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_turns_pixels_and_leaves_boxes_where_annotators_saw_them(self, orientation, tmp_path):
        """A white box at (40, 16) to (96, 48) of the upright image, stored turned or mirrored, through a turn and a size."""
        upright = np.zeros((80, 128, 3), np.uint8)
        upright[16:48, 40:96] = 255
        undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
        stored = PIL.Image.fromarray(upright) if undo is None else PIL.Image.fromarray(upright).transpose(undo)
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
        steps = [{"do": "rot90", "turns": [1]}, {"do": "resize", "size": [40, 64]}]
        result = policy(steps)(Sample.of(tmp_path / "a.jpg", [[40, 16, 96, 48]], [0]))
        assert result.boxes.tolist() == [[8, 16, 24, 44]]
        seen = result.image[..., 0] > 127
        assert seen[16:44, 8:24].all()
        assert seen.sum() == 28 * 16

    def test_large_arrays_are_averaged(self):
        """A checkerboard of single pixels is grey from afar; looking at every eighth pixel would give stripes."""
        board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
        result = policy([{"do": "resize", "size": [60, 60]}])(Sample.of(np.repeat(board[..., None], 3, axis=2))).image
        assert np.abs(result.astype(float) - 127.5).max() <= 4

    def test_wrong_size_is_an_error(self, tmp_path):
        path = tmp_path / "a.png"
        cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
        sample = replace(Sample.of(path), source=FileSource(path, 40, 20))
        with pytest.raises(DataError, match=r"a\.png: the annotations say 40x20 pixels, the file has 30x20"):
            policy([{"do": "hflip"}])(sample)

    def test_too_large_a_canvas_is_said_before_it_takes_memory(self):
        with pytest.raises(
            ConfigError, match=r"ends on a canvas of 100,000x100,000, over the limit of [\d,]+ pixels\."
        ):
            policy([{"do": "resize", "size": [100_000, 100_000]}])(Sample.of(smooth()))

    def test_too_long_an_image_is_said(self):
        long = Sample.of(np.zeros((10, 33_000, 3), np.uint8), [[0, 0, 9, 9]], [0])
        with pytest.raises(
            DataError, match=r"image: warping takes a side of 33,000 pixels, and OpenCV's limit is 32,766"
        ):
            policy([{"do": "rotate"}])(long)
        assert policy([{"do": "rotate"}, {"do": "resize", "size": [300, 10]}])(long).image.shape == (10, 300, 3)

    def test_the_sample_keeps_its_pixels(self):
        image = smooth()
        for steps in ([], [{"do": "photometric"}], [{"do": "crop"}]):
            before = image.copy()
            sample = Sample.of(image)
            result = policy(steps)(replace(sample, source=ArraySource(image)), key=(1, 2, 3))
            assert not np.shares_memory(result.image, image)
            np.testing.assert_array_equal(image, before)
