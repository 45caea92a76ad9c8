"""Copy-paste, with pycocotools as the judge of masks."""

import numpy as np
import pytest
from pycocotools import mask as coco

from augsuite.augment import policy, render
from augsuite.augment.transforms import make
from augsuite.dataset import Sample
from augsuite.errors import DataError

# pycocotools decodes in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def disk(width, height, x, y, radius):
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1).clip(0, [width, height])


def judged(rings, height, width):
    """The pixels of polygons, as pycocotools sees them."""
    return coco.decode(coco.merge(coco.frPyObjects([ring.ravel().tolist() for ring in rings], height, width))) > 0


def sample_of(grey, width, height, disks):
    polygons = [[disk(width, height, *each)] for each in disks]
    boxes = [[*rings[0].min(axis=0), *rings[0].max(axis=0)] for rings in polygons]
    return Sample.of(
        np.full((height, width, 3), grey, np.uint8), boxes, list(range(grey, grey + len(disks))), polygons=polygons
    )


def seed_for(choice):
    """A seed that chooses just these objects at p_object 0.5."""
    return next(
        seed for seed in range(1000) if (np.random.default_rng(seed).random(len(choice)) < 0.5).tolist() == choice
    )


class Two:
    def __init__(self, *samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def original(self, row):
        return self.samples[row]


class TestAgainstPycocotools:
    own = sample_of(50, 120, 100, [(60, 50, 30), (20, 20, 15)])
    other = sample_of(200, 80, 90, [(40, 45, 20), (10, 10, 8), (60, 80, 9)])

    def mixed(self, choice, place=(0.5, 0.5)):
        drawn = {"place": list(place), "seed": seed_for(choice)}
        return make("copy_paste", {}, "copy_paste").mix([self.own, self.other], drawn)

    def test_pixels_and_masks(self):
        result = self.mixed([True, False, True])
        left, top = 20, 5
        pasted = np.zeros((100, 120), bool)
        for row in (0, 2):
            whole = judged(self.other.shapes.polygons[row], 90, 80)
            pasted[top : top + 90, left : left + 80] |= whole
        # A pixel that the outline runs through may fall to either side of it.
        differs = (result.image[..., 0] == 200) != pasted
        assert differs.sum() <= 0.02 * pasted.sum()
        assert set(np.unique(result.image)) == {50, 200}
        first = judged(self.own.shapes.polygons[0], 100, 120)
        rest = first & ~pasted
        found = result.shapes.mask(0, 120, 100)
        assert (found != rest).sum() <= 0.02 * first.sum()
        said = coco.encode(np.asfortranarray(found.astype(np.uint8)))
        truth = coco.encode(np.asfortranarray(rest.astype(np.uint8)))
        assert coco.iou([said], [truth], [0])[0, 0] > 0.97
        assert result.seen_frac[0] == pytest.approx(coco.area(truth) / first.sum(), abs=0.02)
        assert result.labels.tolist() == [50, 51, 200, 202]
        assert result.boxes[2].tolist() == (self.other.boxes[0] + [left, top, left, top]).tolist()
        # What is pasted keeps its outline, moved.
        np.testing.assert_allclose(result.shapes.polygons[2][0], self.other.shapes.polygons[0][0] + [left, top])

    def test_nothing_chosen(self):
        result = self.mixed([False, False, False])
        np.testing.assert_array_equal(result.image, self.own.image)
        assert result.boxes.tolist() == self.own.boxes.tolist()

    def test_fused_with_what_follows(self):
        """Pasted at half the size and mirrored: the mask follows."""
        pool = Two(self.own, self.other)
        chosen = policy([{"do": "copy_paste", "p_object": 1.0}, {"do": "hflip"}, {"do": "resize", "size": [60, 50]}])
        plan = chosen.plan(self.own, (3, 0, 0), pool)
        result = render(plan, self.own, pool)
        left, top = (int(place * room) for place, room in zip(plan.start.drawn["place"], (40, 10), strict=True))
        pasted = np.zeros((100, 120), bool)
        for rings in self.other.shapes.polygons:
            pasted[top : top + 90, left : left + 80] |= judged(rings, 90, 80)
        small = pasted[:, ::-1].reshape(50, 2, 60, 2).mean(axis=(1, 3))
        sure = (small == 0) | (small == 1)
        assert (((result.image[..., 0] > 125) != (small > 0.5)) & sure).sum() <= 0.02 * sure.sum()


def test_a_hidden_object_goes():
    own = sample_of(50, 100, 100, [(50, 50, 10), (15, 15, 10)])
    other = sample_of(200, 100, 100, [(50, 50, 30)])
    drawn = {"place": [0, 0], "seed": seed_for([True])}
    assert make("copy_paste", {}, "copy_paste").mix([own, other], drawn).labels.tolist() == [51, 200]


def test_without_masks():
    own = Sample.of(np.zeros((50, 50, 3), np.uint8), [[0, 0, 20, 20]], [1])
    other = Sample.of(np.full((50, 50, 3), 9, np.uint8), [[10, 10, 30, 40]], [2])
    drawn = {"place": [0, 0], "seed": seed_for([True])}
    with pytest.raises(DataError, match=r"neither polygon nor mask.*rectangles: true"):
        make("copy_paste", {}, "copy_paste").mix([own, other], drawn)
    result = make("copy_paste", {"rectangles": True}, "copy_paste").mix([own, other], drawn)
    expected = np.zeros((50, 50), np.uint8)
    expected[10:40, 10:30] = 9
    np.testing.assert_array_equal(result.image[..., 0], expected)
    assert result.boxes.tolist() == [[0, 0, 20, 20], [10, 10, 30, 40]]
    assert result.seen_frac.tolist() == [0.75, 1]


def test_an_object_partly_beyond_the_canvas_is_cut():
    own = Sample.of(np.zeros((20, 20, 3), np.uint8))
    other = sample_of(200, 60, 60, [(30, 30, 25)])
    drawn = {"place": [0.5, 0.0], "seed": seed_for([True])}
    result = make("copy_paste", {}, "copy_paste").mix([own, other], drawn)
    assert result.image.shape == (20, 20, 3)
    box = other.boxes[0] - [20, 0, 20, 0]
    np.testing.assert_allclose(result.boxes, [np.clip(box, 0, 20)])
