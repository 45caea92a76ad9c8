"""Each geometric transform in the App: labels are judged by the pixels, in which every object is painted with a colour of its own."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

import augsuite
from augsuite.augment.transforms import declared

W, H = 240, 180
MASKED, SHAPED, DOT, LINE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
GEOMETRIC = sorted(name for name, spec in declared().items() if spec.kind == "geometric" and "." not in name)
SMALL = {
    "expand": {"max_ratio": 2},
    "resize_long": {"sizes": [200]},
    "resize_short": {"sizes": [160]},
    "scale_jitter": {"size": [200, 160], "scale": [0.5, 1.5]},
}
"""Parameters of those that would make large images."""


@pytest.fixture(scope="module")
def painted(fo, tmp_path_factory):
    """An image with an ellipse, which is an instance mask, a triangle, a dot and a line; made and labelled with FiftyOne and Pillow."""
    image = PIL.Image.new("RGB", (W, H), (0, 0, 0))
    pen = PIL.ImageDraw.Draw(image)
    pen.ellipse((60, 40, 119, 89), fill=MASKED)
    pen.polygon([(130, 60), (190, 60), (160, 120)], fill=SHAPED)
    pen.ellipse((86, 106, 93, 113), fill=DOT)
    pen.line((70, 140, 170, 140), fill=LINE, width=5)
    path = tmp_path_factory.mktemp("painted") / "painted.png"
    image.save(path)
    mask = (np.asarray(image) == MASKED).all(axis=2)[40:90, 60:120]
    triangle = [[(130.5 / W, 60.5 / H), (190.5 / W, 60.5 / H), (160.5 / W, 120.5 / H)]]
    made = fo.Dataset()
    made.add_sample(
        fo.Sample(
            str(path),
            boxes=fo.Detections(
                detections=[
                    fo.Detection(label="ellipse", bounding_box=[60 / W, 40 / H, 60 / W, 50 / H], mask=mask, own=1)
                ]
            ),
            shapes=fo.Polylines(
                polylines=[
                    fo.Polyline(label="triangle", points=triangle, closed=True, filled=True, own=2),
                    fo.Polyline(label="line", points=[[(70 / W, 140.5 / H), (170 / W, 140.5 / H)]], own=3),
                ]
            ),
            points=fo.Keypoints(keypoints=[fo.Keypoint(label="dot", points=[(90 / W, 110 / H)], own=4)]),
        )
    )
    yield made
    fo.delete_dataset(made.name)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_labels_lie_where_the_pixels_are(name, painted):
    from augsuite_fiftyone.app_plugin.running import Settings, augment

    policy = augsuite.policy([{"do": name, **SMALL.get(name, {})}])
    settings = Settings(policy, ["boxes", "shapes", "points"], seed=1, copies=2, encoding="png")
    made = augment(painted, settings, [painted.first().id])
    kept = [judge(sample) for sample in painted.select(made.ids)]
    assert sum(kept)  # at least one label was there to be judged


def judge(sample):
    """Compare the labels of a sample with its pixels; how many there were."""
    pixels = np.asarray(PIL.Image.open(sample.filepath)).astype(int)
    height, width = pixels.shape[:2]
    size = np.array([width, height])
    judged = 0
    for box in sample.boxes.detections:
        seen = like(pixels, MASKED)
        left, top, right, bottom = np.array(box.bounding_box) * (width, height, width, height)
        right, bottom = left + right, top + bottom
        # FiftyOne stretches the mask over the box, which may cut the outer pixels.
        drawn = np.zeros((height, width), bool)
        x, y, z, t = round(left), round(top), max(round(right), round(left) + 1), max(round(bottom), round(top) + 1)
        stretched = PIL.Image.fromarray(box.mask).resize((z - x, t - y), PIL.Image.Resampling.NEAREST)
        part = np.asarray(stretched)[: height - y, : width - x]
        drawn[y : y + part.shape[0], x : x + part.shape[1]] = part
        assert overlap(drawn, seen) > 0.85
        rows, columns = np.nonzero(seen)
        extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        # Boxes are turned by their mask, and may be a little larger where it was cut with them.
        assert left <= extent[0] + 2
        assert top <= extent[1] + 2
        assert right >= extent[2] - 2
        assert bottom >= extent[3] - 2
        assert box["own"] == 1
        judged += 1
    for shape in sample.shapes.polylines:
        if shape.label == "triangle":
            canvas = PIL.Image.new("1", (width, height))
            for ring in shape.points:
                PIL.ImageDraw.Draw(canvas).polygon([tuple(point) for point in np.array(ring) * size - 0.5], fill=1)
            assert overlap(np.asarray(canvas), like(pixels, SHAPED)) > 0.85
            assert shape["own"] == 2
        else:
            seen = like(pixels, LINE)
            for part in shape.points:
                for x, y in np.array(part) * size:
                    assert near(seen, x, y, 4 + 0.02 * max(size)), (x, y)
            assert shape["own"] == 3
        judged += 1
    for point in sample.points.keypoints:
        x, y = np.array(point.points[0]) * size
        rows, columns = np.nonzero(like(pixels, DOT))
        cut = min(columns.min(), rows.min()) == 0 or columns.max() == width - 1 or rows.max() == height - 1
        if not cut:
            assert (x, y) == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5), abs=0.6 + 0.004 * max(size))
        assert point["own"] == 4
        judged += 1
    return judged


def like(pixels, colour):
    """Where the pixels are more of a colour than of anything else that is painted or filled."""
    own = np.abs(pixels - colour).sum(axis=2)
    others = [
        np.abs(pixels - other).sum(axis=2)
        for other in (MASKED, SHAPED, DOT, LINE, (0, 0, 0), (124, 116, 104), (114, 114, 114))
        if other != colour
    ]
    return own < np.min(others, axis=0)


def overlap(one, other):
    """Intersection over union."""
    return (one & other).sum() / max((one | other).sum(), 1)


def near(seen, x, y, distance):
    """Whether a set pixel is near a point."""
    rows, columns = np.nonzero(seen)
    return bool(len(rows)) and float(np.hypot(columns + 0.5 - x, rows + 0.5 - y).min()) < distance
