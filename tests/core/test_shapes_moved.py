"""Polygons, masks, keypoints and oriented boxes through a policy, judged by hand and by pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as judge

from augsuite.augment import policy
from augsuite.augment.plan import Origin, Plan, Warp
from augsuite.augment.render import arrange
from augsuite.dataset import Annotations, Categories, Dataset, Images, Sample, objects

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
    for given in (pixels, {"size": rle["size"], "counts": rle["counts"].decode()}):
        result = policy([{"do": step}])(sample(masks=[given]))
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


def test_wrong_numbers_are_said():
    with pytest.raises(ValueError, match="1 boxes but 2 polygons"):
        sample(polygons=[None, None])
    with pytest.raises(ValueError, match=r"expected keypoints of shape \(1, K, 3\), got \(2, 3\)"):
        sample(keypoints=[[0, 0, 1], [1, 1, 1]])
