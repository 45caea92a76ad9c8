"""Polygons, masks, keypoints and oriented boxes through a policy, judged by hand and by pycocotools."""

import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as judge
from warpkit import EXACT, MOVING, black_fill, steps_of

from augsuite.augment import Policy, policy, render
from augsuite.augment.plan import Origin, Plan, Warp
from augsuite.augment.render import arrange
from augsuite.dataset import Annotations, Categories, Dataset, Images, Sample, objects
from augsuite.dataset.raster import fill

# pycocotools 2.0.11 itself, under numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def encoded(pixels):
    return judge.encode(np.asfortranarray(pixels.astype(np.uint8)))


def blob(height=60, width=80, seed=0):
    y, x = np.mgrid[:height, :width]
    return ((x - 30) / 17) ** 2 + ((y - 25) / 12) ** 2 + 0.4 * np.sin(x / 3 + seed) < 1


def sample(**shapes):
    return Sample.of(np.zeros((60, 80, 3), np.uint8), [[10, 10, 50, 40]], [3], **shapes)


@pytest.mark.parametrize(("step", "truth"), [("hflip", np.fliplr), ("vflip", np.flipud)])
def test_flipped_masks_are_those_of_pycocotools_decoded(step, truth):
    pixels = blob()
    rle = encoded(pixels)
    for mask in (pixels, {"size": rle["size"], "counts": rle["counts"].decode()}):
        result = policy([{"do": step}])(sample(masks=[mask]))
        expected = judge.decode(encoded(truth(pixels))).astype(bool)
        np.testing.assert_array_equal(result.shapes.mask(0, 80, 60), expected)


def test_polygon_as_pixels_is_close_to_pycocotools():
    ring = [10.0, 10.0, 50.5, 12.25, 44.0, 39.75, 27.0, 22.5, 12.0, 40.0]
    ours = sample(polygons=[[ring]]).shapes.mask(0, 80, 60)
    theirs = judge.decode(judge.merge(judge.frPyObjects([ring], 60, 80)))
    assert judge.iou([encoded(ours)], [encoded(theirs)], [0])[0, 0] > 0.93


def test_pixel_whose_centre_is_inside_by_hand():
    ring = [1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0]
    pixels = sample(polygons=[[ring]]).shapes.mask(0, 80, 60)
    assert pixels[1:3, 1:4].all()
    assert pixels.sum() == 6


def test_keypoints_by_hand():
    points = [[[20.25, 15, 2], [40, 20.5, 1], [0, 0, 0]]]
    result = policy([{"do": "hflip"}])(sample(keypoints=points))
    assert result.shapes.keypoints.tolist() == [[[59.75, 15, 2], [40, 20.5, 1], [0, 0, 0]]]


def test_left_and_right_trade_places_in_a_mirror():
    data = Dataset(
        Images.of(["a.png"], [[80, 60]], files=["a.png"]),
        Categories.of(["person"], extra={"coco.keypoints": objects([["nose", "left_eye", "right_eye"]])}),
        Annotations.of(
            [0],
            [0],
            [[10, 10, 50, 40]],
            extra={"coco.keypoints": objects([[30, 20, 2, 25, 15, 2, 35, 15, 1]])},
        ),
    )
    mirror = Warp((-1, 0, 80, 0, 1, 0, 0, 0, 1), 80, 60)
    result = arrange(Plan(Origin(0, 80, 60), (mirror,)), data.sample(0), None)
    assert result.shapes.keypoints.tolist() == [[[50, 20, 2], [45, 15, 1], [55, 15, 2]]]


def test_one_mask_filters_all():
    two = Sample.of(
        np.zeros((60, 80, 3), np.uint8),
        [[0, 0, 20, 20], [50, 30, 70, 50]],
        [5, 6],
        polygons=[[[0, 0, 20, 0, 20, 20]], [[50, 30, 70, 30, 70, 50]]],
        quads=[[[0, 0], [20, 0], [20, 20], [0, 20]], [[50, 30], [70, 30], [70, 50], [50, 50]]],
    ).take(np.array([False, True]))
    assert two.labels.tolist() == [6]
    assert two.shapes.polygons[0][0].tolist() == [[50, 30], [70, 30], [70, 50]]
    assert two.shapes.quads[0].tolist() == [[50, 30], [70, 30], [70, 50], [50, 50]]


def test_no_shapes_are_typed_and_empty():
    result = policy([{"do": "crop"}])(Sample.of(np.zeros((60, 80, 3), np.uint8)))
    shapes = result.shapes
    assert (len(shapes), shapes.keypoints.shape, shapes.quads.shape) == (0, (0, 0, 3), (0, 4, 2))
    assert (shapes.extents().shape, shapes.extents().dtype) == ((0, 4), np.float64)


@pytest.mark.parametrize("step", ["hflip", "rotate", "perspective", "elastic"])
def test_a_sample_travels_to_another_process(step):
    """As a loader's worker sends it: small, whether or not its shapes were looked at before."""
    result = policy([{"do": step}, {"do": "resize", "size": [300, 300]}])(
        sample(polygons=[[[10, 10, 50, 10, 50, 40]]], keypoints=[[[20, 15, 2]]])
    )
    early = pickle.loads(pickle.dumps(result))
    expected = result.shapes
    for one in (early, pickle.loads(pickle.dumps(result))):
        np.testing.assert_array_equal(one.shapes.keypoints, expected.keypoints)
        np.testing.assert_array_equal(one.shapes.polygons[0][0], expected.polygons[0][0])
    assert len(pickle.dumps(result)) < 300 * 300 * 3 + 20_000


def test_wrong_numbers_are_said():
    with pytest.raises(ValueError, match="1 boxes but 2 polygons"):
        sample(polygons=[None, None])
    with pytest.raises(ValueError, match=r"expected keypoints of shape \(1, K, 3\), got \(2, 3\)"):
        sample(keypoints=[[0, 0, 1], [1, 1, 1]])


class TestThroughRandomSteps:
    """What is painted into the image and rendered is what the shapes say."""

    ring = np.array([[30, 25], [95, 20], [118, 60], [80, 55], [60, 98], [36, 70.0]])

    def painted(self, steps, seed):
        """The pixels of a polygon as a white object, through a policy that drops no box for its size or share."""
        left, top, pixels = fill([self.ring], 160, 120)
        mask = np.zeros((120, 160), bool)
        mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        points = np.concatenate([self.ring, [[0, 0]]])
        kinds = np.array([[2.0]] * 6 + [[0.0]])
        keypoints = np.hstack([points, kinds])[None]
        chosen = Policy("painted", tuple(map(black_fill, steps)), min_visible_frac=0.0, min_size=0.0)
        before = Sample.of(
            np.repeat(mask[..., None] * np.uint8(255), 3, axis=2),
            [[30, 20, 118, 98], [30, 20, 118, 98]],
            [0, 1],
            polygons=[[self.ring], None],
            masks=[None, mask],
            keypoints=np.repeat(keypoints, 2, axis=0),
        )
        result = chosen(before, key=(seed, 0, 0))
        return result, result.image[..., 0] > 127

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps_of(MOVING), st.integers(0, 10**6))
    def test_masks(self, steps, seed):
        result, seen = self.painted(steps, seed)
        if not len(result.boxes) or seen.sum() < 150:
            return
        height, width = seen.shape
        border = 2 * np.sqrt(seen.sum()) + 40  # pixels that the outline runs through may fall to either side
        for row in range(len(result.boxes)):
            found = result.shapes.mask(row, width, height)
            overlap = judge.iou([encoded(found)], [encoded(seen)], [0])[0, 0]
            assert overlap > 1 - 2 * border / seen.sum(), (result.labels[row], overlap, seen.sum())

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps_of(EXACT), st.integers(0, 10**6))
    def test_masks_are_exact_where_pixels_are(self, steps, seed):
        result, seen = self.painted(steps, seed)
        for row, label in enumerate(result.labels.tolist()):
            if label == 1:
                found = result.shapes.mask(row, seen.shape[1], seen.shape[0])
                np.testing.assert_array_equal(found, judge.decode(encoded(seen)).astype(bool))

    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps_of(MOVING), st.integers(0, 10**6))
    def test_keypoints(self, steps, seed):
        """Each keypoint is a corner of the polygon: where it is seen, it is a corner of what is seen, and on the canvas."""
        result, seen = self.painted(steps, seed)
        height, width = seen.shape
        for row in np.flatnonzero(result.labels == 0):
            corners = np.concatenate([*result.shapes.polygons[row], np.zeros((0, 2))])
            for x, y, kind in result.shapes.keypoints[row]:
                if not kind:
                    assert (x, y) == (0, 0)
                    continue
                assert 0 <= x <= width
                assert 0 <= y <= height
                assert np.abs(corners - [x, y]).max(axis=1).min() < 1e-3
            assert result.shapes.keypoints[row, 6].tolist() == [0, 0, 0]

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps_of([name for name in MOVING if name not in EXACT]), st.integers(0, 10**6))
    def test_tight_boxes_are_around_what_is_seen(self, steps, seed):
        result, seen = self.painted(steps, seed)
        matrix = result.matrix
        turned = not np.allclose(matrix[[0, 1], [1, 0]], 0, atol=1e-9) or any(
            s.do in {"elastic", "grid_distortion"} for s in steps
        )
        if not turned or not len(result.boxes) or seen.sum() < 100:
            return
        columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        # The tip of a corner covers less than half of its pixel: two to three pixels of it may be missing.
        assert np.abs(result.boxes - found).max() <= 4


class TestTight:
    image = np.zeros((100, 100, 3), np.uint8)

    def turned(self, degrees, sample, **rules):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        warp = Warp((cos, -sin, 50 - 50 * cos + 50 * sin, sin, cos, 50 - 50 * sin - 50 * cos, 0, 0, 1), 100, 100)
        times = rules.pop("times", 1)
        return render(Plan(Origin(0, 100, 100), (warp,) * times, **rules), sample)

    def test_three_turns_of_thirty_degrees(self):
        """A box of 40 x 20 turned by 90 degrees in all is one of 20 x 40, not one seven times as large."""
        sample = Sample.of(self.image, [[30, 40, 70, 60]], [0])
        np.testing.assert_allclose(self.turned(30, sample, times=3).boxes, [[40, 30, 60, 70]], atol=1e-9)

    @pytest.mark.parametrize(
        ("mode", "sides"),
        [
            # Widths and heights of a 40 x 20 rectangle: 40 cos t + 20 sin t, 40 sin t + 20 cos t.
            ("corners", [(44.6410, 37.3205), (37.3205, 44.6410), (20, 40)]),
            # Of the ellipse in it: 2 sqrt(400 cos^2 t + 100 sin^2 t), 2 sqrt(400 sin^2 t + 100 cos^2 t).
            ("ellipse", [(36.0555, 26.4575), (26.4575, 36.0555), (20, 40)]),
            # Of the diamond in it: max(40 cos t, 20 sin t), max(40 sin t, 20 cos t).
            ("polygon", [(34.6410, 20), (20, 34.6410), (20, 40)]),
        ],
    )
    def test_a_turned_box_does_not_grow(self, mode, sides):
        """Once, twice and three times 30 degrees, worked out by hand."""
        shapes = {"polygons": [[[50, 40, 70, 50, 50, 60, 30, 50]]]} if mode == "polygon" else {}
        sample = Sample.of(self.image, [[30, 40, 70, 60]], [0], **shapes)
        for times, (width, height) in enumerate(sides, 1):
            rules = {"box_from": "ellipse"} if mode == "ellipse" else {}
            box = self.turned(30, sample, times=times, **rules).boxes
            expected = [[50 - width / 2, 50 - height / 2, 50 + width / 2, 50 + height / 2]]
            np.testing.assert_allclose(box, expected, atol=0.01 if mode == "ellipse" else 1e-4)

    def test_ellipse_by_hand(self):
        """The ellipse of half axes a and b, turned by t, reaches sqrt(a^2 cos^2 t + b^2 sin^2 t) from its centre."""
        sample = Sample.of(self.image, [[30, 40, 70, 60]], [0])
        across = np.sqrt((20 * np.cos(np.pi / 6)) ** 2 + (10 * np.sin(np.pi / 6)) ** 2)
        down = np.sqrt((20 * np.sin(np.pi / 6)) ** 2 + (10 * np.cos(np.pi / 6)) ** 2)
        expected = [[50 - across, 50 - down, 50 + across, 50 + down]]
        np.testing.assert_allclose(self.turned(30, sample, box_from="ellipse").boxes, expected, atol=0.01)
        corners = self.turned(30, sample).boxes
        reach = 20 * np.cos(np.pi / 6) + 10 * np.sin(np.pi / 6)
        np.testing.assert_allclose(corners[0, [0, 2]], [50 - reach, 50 + reach])

    def test_a_polygon_wins_unless_told_otherwise(self):
        diamond = [50, 40, 70, 50, 50, 60, 30, 50]
        sample = Sample.of(self.image, [[30, 40, 70, 60]], [0], polygons=[[diamond]])
        points = np.array(diamond).reshape(-1, 2) - 50
        turn = np.radians(30)
        moved = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + 50
        expected = [[*moved.min(axis=0), *moved.max(axis=0)]]
        for box_from in ("corners", "ellipse"):
            np.testing.assert_allclose(self.turned(30, sample, box_from=box_from).boxes, expected)
        told = self.turned(30, sample, use_shapes=False).boxes
        np.testing.assert_allclose(told, self.turned(30, Sample.of(self.image, sample.boxes, [0])).boxes)

    def test_a_mask_and_an_oriented_box_serve_too(self):
        """A box that lies askew, turned upright again: the tight box is the box itself, 40 x 20."""
        turn = np.radians(30)
        back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        quad = (np.array([[-20, -10], [20, -10], [20, 10], [-20, 10]]) @ back) + 50
        around = [[*quad.min(axis=0), *quad.max(axis=0)]]
        sample = Sample.of(self.image, around, [0], quads=[quad])
        result = self.turned(30, sample)
        np.testing.assert_allclose(result.boxes, [[30, 40, 70, 60]], atol=1e-9)
        np.testing.assert_allclose(result.shapes.quads[0], [[30, 40], [70, 40], [70, 60], [30, 60]], atol=1e-9)
        mask = Sample.of(self.image, around, [0], polygons=[[quad]]).shapes.mask(0, 100, 100)
        result = self.turned(30, Sample.of(self.image, around, [0], masks=[mask]))
        assert np.abs(result.boxes - [[30, 40, 70, 60]]).max() < 1.5

    def test_the_share_seen_is_that_of_the_box(self):
        """Half of the box leaves the canvas, of the polygon nearly all: what stays is decided by the box."""
        sample = Sample.of(self.image, [[0, 40, 40, 60]], [0], polygons=[[[0, 40, 40, 40, 39, 60]]])
        shear = Warp((1, 0.001, -20, 0, 1, 0, 0, 0, 1), 100, 100)
        assert len(render(Plan(Origin(0, 100, 100), (shear,), min_visible_frac=0.49), sample).boxes) == 1
        assert len(render(Plan(Origin(0, 100, 100), (shear,), min_visible_frac=0.51), sample).boxes) == 0

    def test_share_in_a_perspective_is_of_the_original_area(self):
        """A crop that cuts a box in half before the perspective leaves half of it, however the perspective squeezes it."""
        crop = Warp((1, 0, -50, 0, 1, 0, 0, 0, 1), 50, 100)
        squeeze = Warp((1, 0, 0, 0, 1, 0, 0.01, 0.002, 1), 50, 100)
        sample = Sample.of(self.image, [[40, 40, 60, 60]], [0])
        for least, kept in ((0.499, 1), (0.501, 0)):
            plan = Plan(Origin(0, 100, 100), (crop, squeeze), min_visible_frac=least, min_size=0)
            assert len(render(plan, sample).boxes) == kept

    def test_policy_says_it_in_yaml(self):
        one = Policy.from_yaml("policy: a\nbox_from: ellipse\nuse_shapes: false\nsteps: [{do: rotate}]\n")
        assert (one.box_from, one.use_shapes) == ("ellipse", False)
        assert Policy.from_yaml(one.to_yaml()) == one
        plan = one.plan(Sample.of(self.image))
        assert (plan.box_from, plan.use_shapes) == ("ellipse", False)
