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
    ],
)
def test_bad_parameters(name, params, message):
    with pytest.raises(ConfigError, match=message):
        policy([{"do": name, **params}])
