import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augsuite.augment import Scene, policy
from augsuite.augment.draw import Keyed
from augsuite.augment.transforms import make
from augsuite.dataset import Sample
from augsuite.errors import ConfigError

SCENE = Scene(640, 400, np.array([[100.0, 50.0, 300.0, 250.0], [400.0, 200.0, 600.0, 390.0]]))


def draws(name, count=500, scene=SCENE, **params):
    transform = make(name, params, name)
    return [transform.draw(Keyed((0, 0, row)).of(name), scene) for row in range(count)]


def test_hflip_and_vflip_by_hand():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    sample = Sample.of(image, [[0, 0, 1, 2]], [7])
    result = policy({"min_size": 0, "steps": [{"do": "hflip"}]})(sample)
    assert result.image.tolist() == image[:, ::-1].tolist()
    assert result.boxes.tolist() == [[2, 0, 3, 2]]
    result = policy([{"do": "vflip"}])(sample)
    assert result.image.tolist() == image[::-1].tolist()
    assert result.boxes.tolist() == [[0, 0, 1, 2]]


class TestTurns:
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)

    @pytest.mark.parametrize("turns", [0, 1, 2, 3])
    def test_rot90_is_that_of_numpy(self, turns):
        box = [[10, 5, 30, 12]]
        painted = np.zeros((40, 70, 3), np.uint8)
        painted[5:12, 10:30] = 1
        result = policy([{"do": "rot90", "turns": [turns]}])(Sample.of(painted, box, [0]))
        np.testing.assert_array_equal(result.image, np.rot90(painted, turns))
        left, top, right, bottom = result.boxes[0].astype(int)
        assert result.image[top:bottom, left:right].all()
        assert result.image.sum() == 3 * (bottom - top) * (right - left)

    def test_each_turn_is_as_likely(self):
        found = [warp.matrix[:2] if warp else None for warp in draws("rot90", 2000)]
        shares = [found.count(kind) / 2000 for kind in (None, (0, 1), (-1, 0), (0, -1))]
        assert np.abs(np.array(shares) - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 2000)

    def test_transpose_is_that_of_numpy(self):
        result = policy([{"do": "transpose"}])(Sample.of(self.image, [[10.25, 5, 30, 12.5]], [0]))
        np.testing.assert_array_equal(result.image, self.image.transpose(1, 0, 2))
        assert result.boxes.tolist() == [[5, 10.25, 12.5, 30]]


class TestCenterAndSafeCrop:
    @pytest.mark.parametrize("size", [[30, 20], [31, 21], [90, 20], [90, 60], [71, 41]])
    def test_center_crop_is_that_of_torchvision(self, size):
        import torch
        from torchvision.transforms.v2.functional import center_crop

        image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
        result = policy([{"do": "center_crop", "size": size}])(Sample.of(image))
        judge = center_crop(torch.from_numpy(image).permute(2, 0, 1), size[::-1]).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(result.image, judge)

    def test_safe_crop_holds_every_box(self):
        lefts, rights = [], []
        for warp in draws("safe_crop", 1000):
            left, top = -warp.matrix[2], -warp.matrix[5]
            assert 0 <= left <= 100
            assert 0 <= top <= 50
            assert 600 <= left + warp.width <= 640
            assert 390 <= top + warp.height <= 400
            lefts.append(left)
            rights.append(left + warp.width)
        # Uniform on 0..100 and 600..640, whole numbers: mean within four standard errors, ends reached.
        assert abs(np.mean(lefts) - 50) < 4 * np.sqrt((101**2 - 1) / 12 / 1000)
        assert abs(np.mean(rights) - 620) < 4 * np.sqrt((41**2 - 1) / 12 / 1000)
        assert (min(lefts), max(lefts), min(rights), max(rights)) == (0, 100, 600, 640)

    @given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.integers(0, 1000))
    def test_safe_crop_is_large_enough(self, width, height, least, row):
        corner = np.random.default_rng(row).uniform(0, [width, height])
        boxes = np.array([[*corner, *np.minimum(corner + 1, [width, height])]])[: row % 2]
        warp = make("safe_crop", {"least_frac": least}, "").draw(
            Keyed((0, 0, row)).of("x"), Scene(width, height, boxes)
        )
        left, top = -warp.matrix[2], -warp.matrix[5]
        assert warp.width >= max(1, least * width)
        assert warp.height >= max(1, least * height)
        assert 0 <= left <= left + warp.width <= width
        assert 0 <= top <= top + warp.height <= height
        for x1, y1, x2, y2 in boxes:
            assert left <= x1 <= x2 <= left + warp.width
            assert top <= y1 <= y2 <= top + warp.height


class TestCrop:
    def test_ranges(self):
        for warp in draws("crop"):
            left, top = -warp.matrix[2], -warp.matrix[5]
            assert left >= 0
            assert top >= 0
            assert left + warp.width <= 640
            assert top + warp.height <= 400
            # Rounding to whole pixels moves area and shape by at most a pixel on each side.
            assert (warp.width + 1) * (warp.height + 1) >= 0.08 * 640 * 400
            assert (warp.width + 1) / (warp.height - 1) >= 3 / 4
            assert (warp.width - 1) / (warp.height + 1) <= 4 / 3

    def test_distribution_is_that_of_torchvision(self):
        """Mean and deviation of area, ratio and place over 2,000 draws, each within five standard errors of the judge's."""
        import torch
        from torchvision.transforms import RandomResizedCrop

        torch.manual_seed(0)
        judge = [
            RandomResizedCrop.get_params(torch.zeros(3, 400, 640), [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(2000)
        ]
        theirs = np.array([[h * w, np.log(w / h), top, left] for top, left, h, w in judge], float)
        ours = np.array(
            [[w.height * w.width, np.log(w.width / w.height), -w.matrix[5], -w.matrix[2]] for w in draws("crop", 2000)]
        )
        error = np.sqrt(theirs.var(axis=0) / 2000 + ours.var(axis=0) / 2000)
        assert (np.abs(theirs.mean(axis=0) - ours.mean(axis=0)) < 5 * error).all()
        np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.1)

    def test_falls_back_to_the_centre(self):
        """No part of a 1,000 x 10 image has an allowed shape and half of the area: the largest 4 : 3 in the centre."""
        warp = draws("crop", 1, Scene(1000, 10, np.zeros((0, 4))), area_frac=[0.5, 1.0])[0]
        assert (warp.width, warp.height, warp.matrix[2], warp.matrix[5]) == (13, 10, -493, 0)


class TestIouCrop:
    @pytest.mark.parametrize("least", [0.1, 0.5, 0.9])
    def test_overlap_and_centres(self, least):
        import torch
        from torchvision.ops import box_iou

        found = [warp for warp in draws("iou_crop", min_iou=[least]) if warp is not None]
        reached = 0
        for warp in found:
            left, top = -warp.matrix[2], -warp.matrix[5]
            part = torch.tensor([[left, top, left + warp.width, top + warp.height]], dtype=torch.float64)
            reached += bool(box_iou(part, torch.tensor(SCENE.boxes)).max() >= least)
            middles = [(200, 150), (500, 295)]
            inside = [left < x < left + warp.width and top < y < top + warp.height for x, y in middles]
            assert list(warp.keep) == [row for row, is_in in enumerate(inside) if is_in]
            assert any(inside)
            assert 0.5 * 640 / 400 * 0.97 <= warp.width / warp.height <= 2 * 640 / 400 * 1.03
            assert warp.width * warp.height >= 0.08 * 640 * 400
        # A third of the draws is free of the condition, a third leaves the image whole: within four standard errors.
        slack = 4 * np.sqrt(500 * 2 / 9)
        assert len(found) - reached <= 500 / 3 + slack
        assert len(found) <= 500 * 2 / 3 + slack
        assert least == 0.9 or reached > 100

    def test_whole_image_without_options(self):
        share = np.mean([warp is None for warp in draws("iou_crop", 2000, min_iou=[])])
        assert abs(share - 0.5) < 4 * np.sqrt(0.25 / 2000)

    def test_no_boxes(self):
        empty = Scene(640, 400, np.zeros((0, 4)))
        found = [warp for warp in draws("iou_crop", scene=empty) if warp is not None]
        assert found
        assert all(warp.keep is None for warp in found)

    def test_a_box_whose_centre_is_outside_goes(self):
        """Half a box is visible, far above the rule of 10 %: the centre rule alone decides."""
        image = np.zeros((400, 640, 3), np.uint8)
        sample = Sample.of(image, SCENE.boxes, [0, 1])
        chosen = policy([{"do": "iou_crop", "min_iou": [0.3]}])
        for row in range(100):
            plan = chosen.plan(sample, (0, 0, row))
            if plan.ops:
                result = chosen(sample, key=(0, 0, row))
                assert result.labels.tolist() == list(plan.ops[0].keep)

    def test_keep_counts_in_the_boxes_of_the_sample(self):
        """The first box is out of sight before the crop sees the scene, so its positions shift by one."""
        boxes = [[0, 0, 10, 10], [300, 100, 500, 300]]
        sample = Sample.of(np.zeros((400, 640, 3), np.uint8), boxes, [5, 6])
        steps = [{"do": "crop", "area_frac": [0.25, 0.3]}, {"do": "iou_crop", "min_iou": []}]
        seen = 0
        for row in range(60):
            plan = policy(steps).plan(sample, (0, 0, row))
            if len(plan.ops) == 2 and plan.ops[1].keep:
                result = policy(steps)(sample, key=(0, 0, row))
                if plan.ops[0].matrix[2] < -10:
                    assert plan.ops[1].keep == (1,)
                    assert result.labels.tolist() == [6]
                    seen += 1
        assert seen


class TestCanvas:
    def test_expand(self):
        warps = draws("expand", max_ratio=3)
        ratios = np.array([warp.width / 640 for warp in warps])
        assert abs(ratios.mean() - 2) < 4 * np.sqrt(4 / 12 / 500)
        for warp in warps:
            assert warp.fill == (124, 116, 104)
            assert 0 <= warp.matrix[2] <= warp.width - 640
            assert 0 <= warp.matrix[5] <= warp.height - 400

    def test_resize_is_width_then_height(self):
        result = policy([{"do": "resize", "size": [40, 20]}])(Sample.of(np.zeros((60, 60, 3), np.uint8)))
        assert result.image.shape == (20, 40, 3)

    def test_letterbox_by_hand(self):
        """200 x 100 into 100 x 100: halved, with bars of 25 above and below."""
        image = np.full((100, 200, 3), 200, np.uint8)
        step = {"do": "letterbox", "size": [100, 100]}
        result = policy([step])(Sample.of(image, [[0, 0, 200, 100], [20, 40, 60, 80]], [0, 1]))
        assert (result.image[:25] == 114).all()
        assert (result.image[75:] == 114).all()
        assert (result.image[25:75] == 200).all()
        assert result.boxes.tolist() == [[0, 25, 100, 75], [10, 45, 30, 65]]

    @given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 200), st.integers(1, 200))
    def test_letterbox_fits(self, width, height, wide, high):
        warp = draws("letterbox", 1, Scene(width, height, np.zeros((0, 4))), size=[wide, high])[0]
        if warp is not None:
            a, _, c, _, e, f, *_ = warp.matrix
            assert 0 <= c <= wide - a * width + 1e-9
            assert 0 <= f <= high - e * height + 1e-9
            assert min(wide - a * width, high - e * height) < 1


class TestSizes:
    @given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 900), st.integers(1, 1400))
    def test_resize_short_is_that_of_torchvision(self, width, height, short, most):
        """Sizes as torchvision draws them; ours round to the nearest pixel where theirs truncate."""
        from torchvision.transforms.v2 import RandomShortestSize
        from torchvision.tv_tensors import BoundingBoxes

        empty = BoundingBoxes(np.zeros((0, 4)), format="XYXY", canvas_size=(height, width))
        judge = RandomShortestSize([short], max_size=most).make_params([empty])["size"]
        warp = draws("resize_short", 1, Scene(width, height, np.zeros((0, 4))), sizes=[short], most=most)[0]
        found = (height, width) if warp is None else (warp.height, warp.width)
        assert max(abs(ours - max(theirs, 1)) for ours, theirs in zip(found, judge, strict=True)) <= 1

    def test_resize_long_by_hand(self):
        assert [(w.width, w.height) for w in draws("resize_long", 2, sizes=[320])] == [(320, 200)] * 2
        assert {w.width for w in draws("resize_long", 50, sizes=[320, 480])} == {320, 480}

    def test_pad_by_hand(self):
        warp = draws("pad", 1, least=[700, 1], multiple=64, place="center")[0]
        assert (warp.width, warp.height, warp.matrix[2], warp.matrix[5]) == (704, 448, 32, 24)
        assert draws("pad", 1, multiple=1) == [None]
        lefts = {warp.matrix[2] for warp in draws("pad", 200, least=[643, 400], multiple=1, place="random")}
        assert lefts == {0, 1, 2, 3}

    def test_scale_jitter(self):
        """At 1 the image fits; the factor is uniform; larger images are cut anywhere, smaller ones lie at the top left."""
        warps = draws("scale_jitter", 1000, size=[320, 320], scale=[0.5, 2])
        factors = np.array([warp.matrix[0] / 0.5 for warp in warps])
        assert abs(factors.mean() - 1.25) < 4 * 1.5 / np.sqrt(12 * 1000)
        for warp in warps:
            assert (warp.width, warp.height) == (320, 320)
            wide, high = round(warp.matrix[0] * 640), round(warp.matrix[4] * 400)
            assert min(320 - wide, 0) <= warp.matrix[2] <= 0
            assert min(320 - high, 0) <= warp.matrix[5] <= 0
        assert min(warp.matrix[2] for warp in warps) < -200


class TestPerspective:
    def test_matrix_is_that_of_torchvision(self):
        from torchvision.transforms.functional import _get_perspective_coeffs

        from augsuite_geometry.bends import homography

        start = np.array([[0, 0], [640, 0], [640, 400], [0, 400.0]])
        end = np.array([[40, 30], [600, 10], [610, 350], [20, 390.0]])
        judge = _get_perspective_coeffs(start.tolist(), end.tolist())  # of the way back
        back = np.linalg.inv(np.reshape(homography(start, end), (3, 3)))
        np.testing.assert_allclose((back / back[2, 2]).ravel()[:8], judge, atol=1e-4)

    def test_corners_move_inwards(self):
        for warp in draws("perspective", 300, shift_frac=0.3):
            matrix = np.reshape(warp.matrix, (3, 3))
            for corner in ([0, 0], [640, 0], [640, 400], [0, 400]):
                x, y, w = matrix @ [*corner, 1]
                assert w > 0
                moved = np.abs(np.array([x / w, y / w]) - corner) / [640, 400]
                assert (moved <= 0.3 + 1e-9).all()
                assert (np.array([x / w, y / w]) >= -1e-6).all()

    def test_box_by_hand(self):
        """x' = x / (1 + x / 100), y' = y / (1 + x / 100): the corners (0, 0) (100, 0) (100, 50) (0, 50) of a box go to
        (0, 0) (50, 0) (50, 25) (0, 50)."""
        from augsuite.augment import Plan, Warp
        from augsuite.augment.plan import Origin
        from augsuite.augment.render import arrange

        plan = Plan(Origin(0, 100, 100), (Warp((1, 0, 0, 0, 1, 0, 0.01, 0, 1), 100, 100),))
        result = arrange(
            plan, Sample.of(np.zeros((100, 100, 3), np.uint8), [[0, 0, 100, 50], [50, 0, 100, 50]], [0, 1]), None
        )
        np.testing.assert_allclose(result.boxes, [[0, 0, 50, 50], [100 / 3, 0, 50, 100 / 3]])


def test_shear_and_translate_ranges():
    shears = np.array([np.reshape(warp.matrix, (3, 3)) for warp in draws("shear", x_deg=20, y_deg=10)])
    assert np.abs(shears[:, 0, 1]).max() <= np.tan(np.radians(20)) + 1e-12
    assert np.abs(shears[:, 0, 1]).max() > np.tan(np.radians(19))
    shifts = np.array([[warp.matrix[2], warp.matrix[5]] for warp in draws("translate", x_frac=0.25, y_frac=0.1)])
    assert (shifts == np.rint(shifts)).all()
    assert np.abs(shifts).max(axis=0).tolist() == [160, 40]


class TestAffine:
    @given(
        st.floats(-180, 180), st.floats(-50, 50), st.floats(-50, 50), st.floats(0.5, 2), st.floats(-40, 40), st.floats(-40, 40)
    )  # fmt: skip
    def test_matrix_is_that_of_torchvision(self, turn, right, down, scale, shear_x, shear_y):
        from torchvision.transforms.functional import _get_inverse_affine_matrix

        from augsuite_geometry.affine import about_center

        warp = about_center(
            SCENE, (0, 0, 0), rotate_deg=turn, shift=(right, down), scale=scale, shear_deg=(shear_x, shear_y)
        )
        judge = _get_inverse_affine_matrix([320.0, 200.0], turn, [right, down], scale, [shear_x, shear_y])
        inverse = np.linalg.inv(np.array(warp.matrix).reshape(3, 3))[:2].ravel()
        np.testing.assert_allclose(inverse, judge, atol=1e-6)

    def test_pixels_are_those_of_torchvision(self):
        """`rotate` turns the way torchvision's angle for affine does: clockwise on the screen."""
        import torch
        from torchvision.transforms.v2 import InterpolationMode
        from torchvision.transforms.v2.functional import affine

        from augsuite.augment import Plan, render
        from augsuite.augment.plan import Origin
        from augsuite_geometry.affine import about_center

        y, x = np.mgrid[:80, :120].astype(float)
        image = np.rint(127 + 100 * np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], axis=2)).astype(
            np.uint8
        )
        warp = about_center(Scene(120, 80, np.zeros((0, 4))), (0, 0, 0), rotate_deg=25, shift=(7, -4), scale=1.2)
        ours = render(Plan(Origin(0, 120, 80), (warp,)), Sample.of(image)).image.astype(float)
        tensor = torch.from_numpy(image).permute(2, 0, 1)
        judge = (
            affine(tensor, 25, [7, -4], 1.2, [0.0], interpolation=InterpolationMode.BILINEAR).permute(1, 2, 0).numpy()
        )
        # Along the edge of the image the judge blends with black and ours does not: a line of pixels.
        assert np.median(np.abs(ours - judge)) <= 1
        assert (np.abs(ours - judge).max(axis=2) > 4).mean() < 0.04

    def test_ranges(self):
        angles = [np.degrees(np.arctan2(warp.matrix[3], warp.matrix[0])) for warp in draws("rotate", max_deg=20)]
        assert max(np.abs(angles)) <= 20
        assert max(angles) > 18
        assert min(angles) < -18
        scales = [np.sqrt(np.linalg.det(np.reshape(w.matrix, (3, 3))[:2, :2])) for w in draws("affine", shear_deg=0)]
        assert 0.9 <= min(scales) < 0.92
        assert 1.08 < max(scales) <= 1.1


def test_normalize_is_that_of_torchvision():
    import torch
    from torchvision.transforms.v2.functional import normalize, to_dtype

    images = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3), np.uint8)
    ours = make("normalize", {}, "normalize").apply(images)
    tensor = to_dtype(torch.from_numpy(images).permute(0, 3, 1, 2), torch.float32, scale=True)
    judge = normalize(tensor, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).numpy()
    np.testing.assert_allclose(ours, judge, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("crop", {"area_frac": [0.5, 0.2]}, "area_frac: expected the smaller number first"),
        ("crop", {"area_frac": [0, 1]}, r"area_frac\[0\]: expected float > 0.0"),
        ("expand", {"max_ratio": 0.5}, "max_ratio: expected float >= 1.0"),
        ("expand", {"fill": [0, 0, 256]}, r"fill\[2\]: expected int <= 255"),
        ("resize", {"size": 300}, "size: expected array, got int"),
        ("affine", {"shear_deg": 90}, "shear_deg: expected float < 90.0"),
        ("rot90", {"turns": []}, "turns: expected at least one number"),
        ("rot90", {"turns": [4]}, r"turns\[0\]: invalid enum value 4"),
        ("resize_short", {"sizes": []}, "sizes: expected at least one length"),
        ("scale_jitter", {"scale": [2, 1]}, "scale: expected the smaller number first"),
        ("perspective", {"shift_frac": 0.4}, "shift_frac: expected float <= 0.3"),
        ("grid_distortion", {"shift_frac": 0.25}, "shift_frac: expected float <= 0.24"),
    ],
)
def test_bad_parameters(name, params, message):
    with pytest.raises(ConfigError, match=message):
        policy([{"do": name, **params}])
