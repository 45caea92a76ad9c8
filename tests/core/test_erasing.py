"""Erased rectangles: what they take from boxes against points counted one by one, and their pixels against single steps."""

import math
import pickle

import numpy as np
import pytest

from augsuite.augment import Erase, Plan, Policy, Warp, policy, render
from augsuite.augment.erasing import erased_share
from augsuite.augment.field import Field
from augsuite.augment.plan import Origin
from augsuite.dataset import Sample

WIDTH, HEIGHT = 90, 70


def turn(degrees, width=WIDTH, height=HEIGHT):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return Warp((c, -s, x - c * x + s * y, s, c, y - s * x - c * y, 0, 0, 1), width, height)


def cut(left, top, width, height):
    return Warp((1, 0, -left, 0, 1, -top, 0, 0, 1), width, height)


def stretch(x, y, width, height):
    return Warp((x, 0, 0, 0, y, 0, 0, 0, 1), width, height)


def counted(ops, boxes, per_pixel=6):
    """The share of each box that is erased and would be seen without that, by following points through every operation."""
    shares = []
    for left, top, right, bottom in np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]):
        xs = np.arange(left + 0.5 / per_pixel, right, 1 / per_pixel)
        ys = np.arange(top + 0.5 / per_pixel, bottom, 1 / per_pixel)
        points = np.stack([*np.meshgrid(xs, ys), np.ones((len(ys), len(xs)))]).reshape(3, -1)
        seen, erased = np.ones(points.shape[1], bool), np.zeros(points.shape[1], bool)
        width, height = WIDTH, HEIGHT
        for op in ops:
            if isinstance(op, Warp):
                points = np.array(op.matrix).reshape(3, 3) @ points
                width, height = op.width, op.height
                seen &= (points[0] >= 0) & (points[0] < width) & (points[1] >= 0) & (points[1] < height)
            else:
                for a, b, c, d in op.rects:
                    erased |= (points[0] >= a) & (points[0] < c) & (points[1] >= b) & (points[1] < d)
        shares.append(np.mean(seen & erased))
    return np.array(shares)


BOXES = np.array([[10, 10, 50, 40], [0, 0, 90, 70], [60.5, 30.25, 88, 69], [-10, 20, 15, 30], [40, 60, 41, 61]], float)


class TestShares:
    def test_by_hand(self):
        # The first box has 40 x 30 = 1200 pixels; the two holes cover 10 x 10 each of it, and share 5 x 10.
        ops = [Erase(((10, 10, 20, 20), (15, 10, 25, 20)), (0, 0, 0))]
        assert erased_share(ops, WIDTH, HEIGHT, BOXES[:1]).tolist() == [150 / 1200]

    def test_what_a_crop_cuts_away_is_not_counted(self):
        # Half of the hole is cut away: its other half is 5 x 10 of 1200.
        ops = [Erase(((10, 10, 20, 20),), (0, 0, 0)), cut(15, 0, 60, 70)]
        assert erased_share(ops, WIDTH, HEIGHT, BOXES[:1]).tolist() == [50 / 1200]

    def test_nothing_erased(self):
        assert erased_share([turn(10)], WIDTH, HEIGHT, BOXES).tolist() == [0] * 5
        assert erased_share([Erase(((0, 0, 9, 9),))], WIDTH, HEIGHT, np.zeros((0, 4))).shape == (0,)
        assert erased_share([Erase(((-9, 0, 0, 9), (90, 0, 99, 9)))], WIDTH, HEIGHT, BOXES).tolist() == [0] * 5

    @pytest.mark.parametrize("seed", range(30))
    def test_as_counted(self, seed):
        random = np.random.default_rng(seed)
        ops = []
        width, height = WIDTH, HEIGHT
        for _ in range(random.integers(2, 6)):
            kind = random.integers(4)
            if kind == 0:
                ops.append(turn(random.uniform(-180, 180), width, height))
            elif kind == 1:
                left, top = (int(value) for value in random.integers(0, (width // 3, height // 3)))
                width, height = width - left, height - top - 1
                ops.append(cut(left, top, width, height))
            elif kind == 2:
                x, y = random.uniform(0.5, 2, 2)
                width, height = max(1, round(width * x)), max(1, round(height * y))
                ops.append(stretch(x, y, width, height))
            else:
                corners = random.integers(-10, (width, height), (4, 2))
                sizes = random.integers(1, (width, height), (4, 2))
                rects = np.concatenate([corners, corners + sizes // 2 + 1], axis=1)
                ops.append(Erase(tuple(tuple(rect) for rect in rects.tolist())))
        shares = erased_share(ops, WIDTH, HEIGHT, BOXES)
        # A point stands for 1/36 pixel; the border between erased and not runs through few of them.
        room = 0.01 + 0.03 * (np.arange(5) == 4)
        assert (np.abs(shares - counted(ops, BOXES)) < room).all()


class TestBends:
    """Perspectives and fields: the share that the boxes lose is that of the pixels painted."""

    @pytest.mark.parametrize("bend", ["perspective", "elastic", "grid_distortion"])
    @pytest.mark.parametrize("seed", range(4))
    def test_as_counted_in_pixels(self, bend, seed):
        # The object fills its box with white; erased before the step, or after it, black is what is missing of it.
        image = np.zeros((210, 270, 3), np.uint8)
        image[60:180, 60:200] = 255
        sample = Sample.of(image, [[60, 60, 200, 180]], [0])
        hide = {"do": "coarse_dropout", "holes": [6, 6], "height_frac": [0.2, 0.3], "width_frac": [0.2, 0.3]}
        for steps in ([hide, {"do": bend}], [{"do": bend}, hide]):
            plan = policy(steps).plan(sample, (seed, 0, 0))
            (share,) = erased_share(plan.ops, 270, 210, sample.boxes)
            bent = Plan(plan.start, tuple(op for op in plan.ops if isinstance(op, Warp)))
            whole = render(bent, sample).image[..., 0] > 127
            left = render(plan, sample).image[..., 0] > 127
            # Bends stretch some places more than others, so that shares of the result are only close to original ones.
            assert abs((1 - left.sum() / whole.sum()) - share) < 0.05
            assert share > 0.05

    def test_a_field_that_shifts(self):
        # Everything is shown 10 to the left: the hole lies at 10..20 on the canvas after it, at 20..30 on the first.
        shift = Field(1, ((10.0, 10.0), (10.0, 10.0)), ((0.0, 0.0), (0.0, 0.0)))
        warp = Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), WIDTH, HEIGHT, field=shift)
        shares = erased_share([warp, Erase(((10, 0, 20, 70),))], WIDTH, HEIGHT, BOXES[:1])
        assert abs(shares[0] - 0.25) < 1 / 32


class TestBoxes:
    def judge(self, min_visible_frac, holes):
        plan = Plan(Origin(-1, WIDTH, HEIGHT), (Erase(holes, (0, 0, 0)),), min_visible_frac=min_visible_frac)
        return render(plan, Sample.of(np.full((HEIGHT, WIDTH, 3), 9, np.uint8), [BOXES[0]], [4])).boxes.tolist()

    def test_the_share_that_is_left_decides(self):
        # 40 x 22 + 20 x 1 = 900 of 1200 pixels are gone: a quarter is left.
        holes = ((10, 10, 50, 32), (10, 32, 30, 33))
        assert self.judge(0.25, holes) == [[10, 10, 50, 40]]
        assert self.judge(0.2501, holes) == []
        assert self.judge(0.25, (*holes, (35, 33, 36, 34))) == []

    def test_the_box_keeps_its_extent(self):
        assert self.judge(0.1, ((0, 0, 90, 30),)) == [[10, 10, 50, 40]]

    def test_a_later_step_does_not_see_a_box_that_is_gone(self):
        seen = []

        class Spy:
            def draw(self, rng, scene):
                seen.append(scene.boxes.tolist())

        from augsuite.augment import draw as drawing
        from augsuite.augment.steps import Drawer

        class Hide:
            def draw(self, rng, scene):
                return Erase(((0, 0, 55, 70),), (0, 0, 0))

        steps = [Drawer("hide", "hide", 1.0, "erase", {}, Hide()), Drawer("spy", "spy", 1.0, "geometric", {}, Spy())]
        sample = Sample.of(np.zeros((HEIGHT, WIDTH, 3), np.uint8), BOXES[:3], [0, 1, 2])
        drawing.draw(steps, Policy(name="p")._empty, sample, (0, 0, 0), None)
        assert seen == [BOXES[1:3].tolist()]


class TestKeypoints:
    """A visible keypoint under a rectangle becomes a hidden one; polygons and masks stay."""

    def points(self, shape=(HEIGHT, WIDTH)):
        ys, xs = np.mgrid[5 : shape[0] - 5 : 6, 5 : shape[1] - 5 : 6] + 0.5
        return np.stack([xs.ravel(), ys.ravel(), np.full(xs.size, 2.0)], axis=1)[None]

    def sample(self, points):
        image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
        ring = [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]]
        return Sample.of(image, [[0, 0, WIDTH, HEIGHT]], [0], keypoints=points, polygons=[ring])

    def test_as_albumentations_tells_which_lie_in_holes(self):
        dropout = pytest.importorskip("albumentations.augmentations.dropout.functional")
        sample = self.sample(self.points())
        holes = ((3, 4, 30, 40), (60, 0, 95, 20))
        result = render(Plan(Origin(-1, WIDTH, HEIGHT), (Erase(holes, (0, 0, 0)),)), sample).shapes
        free = dropout.filter_keypoints_in_holes(self.points()[0], np.array(holes))
        visible = result.keypoints[0][result.keypoints[0, :, 2] == 2]
        np.testing.assert_array_equal(visible, free)
        assert set(result.keypoints[0, :, 2]) == {1.0, 2.0}
        np.testing.assert_array_equal(result.keypoints[..., :2], self.points()[..., :2])
        assert result.mask(0, WIDTH, HEIGHT).all()

    @pytest.mark.parametrize("bend", ["hflip", "rotate", "crop", "perspective", "elastic", "expand"])
    @pytest.mark.parametrize("seed", range(3))
    def test_what_is_painted_over_is_hidden(self, bend, seed):
        """Black is erased, white is not: the pixel at each keypoint says it, but for those at a border between both."""
        hide = {"do": "coarse_dropout", "holes": [3, 5], "height_frac": [0.2, 0.4], "width_frac": [0.2, 0.4]}
        fill = {} if bend in {"hflip", "crop"} else {"fill": [255, 255, 255]}
        fill |= {"max_ratio": 1.5} if bend == "expand" else {}
        for steps in ([hide, {"do": bend, **fill}], [{"do": bend, **fill}, hide]):
            result = policy({"steps": steps, "min_visible_frac": 0.0})(self.sample(self.points()), key=(seed, 0, 0))
            hidden = 0
            for x, y, seen in result.shapes.keypoints[0]:
                around = result.image[max(int(y - 1.5), 0) : int(y + 2.5), max(int(x - 1.5), 0) : int(x + 2.5), 0]
                if seen and around.size and around.min() == around.max():
                    assert seen == (2 if around[0, 0] == 255 else 1)
                    hidden += seen == 1
            assert hidden > 0

    def test_hidden_and_unlabelled_ones_stay_so(self):
        points = np.array([[[5.5, 5.5, 1], [0, 0, 0], [50.5, 50.5, 2]]])
        result = render(Plan(Origin(-1, WIDTH, HEIGHT), (Erase(((0, 0, 20, 20),)),)), self.sample(points))
        assert result.shapes.keypoints[0].tolist() == points[0].tolist()
        assert pickle.loads(pickle.dumps(result)).shapes.keypoints.tolist() == points.tolist()


def single_steps(plan, image):
    """Execute mirrors, whole shifts and erasures one by one, each on its own canvas."""
    for op in plan.ops:
        if isinstance(op, Erase):
            image = image.copy()
            for left, top, right, bottom in op.rects:
                image[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = op.fill
            continue
        canvas = np.empty((op.height, op.width, 3), np.uint8)
        canvas[...] = op.fill
        back = np.linalg.inv(np.array(op.matrix).reshape(3, 3))
        for row in range(op.height):
            for column in range(op.width):
                x, y, _ = np.floor(back @ (column + 0.5, row + 0.5, 1)).astype(int)
                if 0 <= x < image.shape[1] and 0 <= y < image.shape[0]:
                    canvas[row, column] = image[y, x]
        image = canvas
    return image


class TestPixels:
    def image(self):
        return np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)

    @pytest.mark.parametrize("seed", range(12))
    def test_exact_through_whole_pixel_steps(self, seed):
        steps = [
            {"do": "coarse_dropout", "fill": [1, 2, 3]},
            {"do": "hflip", "p": 0.5},
            {"do": "expand", "max_ratio": 1.5, "p": 0.5},
            {"do": "cutout", "fill": [9, 8, 7]},
            {"do": "crop", "area_frac": [0.3, 0.8]},
            {"do": "random_erasing", "fill": [200, 100, 0], "area_frac": [0.05, 0.2]},
        ]
        chosen = policy(steps)
        sample = Sample.of(self.image())
        plan = chosen.plan(sample, (seed, 0, 0))
        np.testing.assert_array_equal(render(plan, sample).image, single_steps(plan, sample.image))

    def test_a_turned_hole_covers_its_area(self):
        plan = Plan(Origin(-1, WIDTH, HEIGHT), (Erase(((30, 20, 50, 45),), (255, 255, 255)), turn(33)))
        image = render(plan, Sample.of(np.zeros((HEIGHT, WIDTH, 3), np.uint8))).image
        assert set(np.unique(image)) == {0, 255}
        assert abs((image[..., 0] == 255).sum() - 20 * 25) <= 8
        ys, xs = np.nonzero(image[..., 0])
        # The hole's centre (40, 32.5), turned by 33 degrees about (45, 35).
        c, s = math.cos(math.radians(33)), math.sin(math.radians(33))
        assert abs(xs.mean() + 0.5 - (45 - 5 * c + 2.5 * s)) < 0.3
        assert abs(ys.mean() + 0.5 - (35 - 5 * s - 2.5 * c)) < 0.3

    def test_noise_is_uniform_and_depends_on_its_seed(self):
        def noise(seed):
            plan = Plan(Origin(-1, 256, 256), (Erase(((0, 0, 256, 256),), None, seed),))
            return render(plan, Sample.of(np.zeros((256, 256, 3), np.uint8))).image

        counts = np.bincount(noise(1).ravel(), minlength=256)
        expected = 256 * 3
        # Chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6.
        assert ((counts - expected) ** 2 / expected).sum() < 255 + 4 * 22.6
        assert np.array_equal(noise(1), noise(1))
        assert not np.array_equal(noise(1), noise(2))
