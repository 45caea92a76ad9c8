"""The summary of a dataset: sums by hand, and pycocotools' counts."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from augsuite import cli
from augsuite.boxes import Layout
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.dataset.patterns import CoOccurrence, SplitCount, patterns
from augsuite.dataset.stats import Bin, CategoryCount, SizeCount, Spread, summary


@pytest.fixture
def data():
    """Four images; boxes of 10 x 20, 32 x 32, 96 x 96 and so on, so that each sum can be done by hand."""
    rows = [
        # image, category, x, y, w, h
        (0, 0, 0, 0, 10, 20),  # 200 px: small; ratio 0.5
        (0, 0, 0, 0, 10, 20),  # the same again
        (0, 1, 5, 5, 32, 32),  # 1,024 px: medium, for small ends below it
        (1, 0, 50, 40, 96, 96),  # 9,216 px: large; reaches out of 100 x 80
        (1, 2, 100, 0, 8, 8),  # touches the image only: wholly outside
        (2, 2, 10, 10, 0, 5),  # empty
        (2, 0, -0.005, 0, 40, 10),  # out by less than a hundredth of a pixel: rounding
    ]
    columns = list(zip(*rows, strict=True))
    boxes = np.array(columns[2:], float).T
    labels = Annotations.of(
        [*columns[0], 3],
        [*columns[1], 1],
        np.concatenate([boxes, np.full((1, 4), np.nan)]),
        Layout.XYWH_PX,
        ignore=[False] * 6 + [True, False],
    )
    images = Images.of("abcd", sizes=[[100, 80]] * 3 + [[0, 0]], splits=["train", "train", "val", ""])
    return Dataset(images, Categories.of(["cat", "dog", "eel", "fox"]), labels)


def test_by_hand(data):
    found = summary(data)
    assert found.images == 4
    assert found.splits == {"": 1, "train": 2, "val": 1}
    assert found.images_without_annotations == 0
    assert found.images_of_unknown_size == 1
    assert found.image_sizes == [SizeCount(100, 80, 3)]
    assert (found.boxes, found.image_labels, found.ignored) == (7, 1, 1)
    assert found.categories == [
        CategoryCount("cat", boxes=4, image_labels=0, images=3),
        CategoryCount("dog", boxes=1, image_labels=1, images=2),
        CategoryCount("eel", boxes=2, image_labels=0, images=2),
        CategoryCount("fox", boxes=0, image_labels=0, images=0),
    ]
    assert found.boxes_per_image == Spread(min=0, median=2, mean=1.75, max=3)
    assert (found.small, found.medium, found.large) == (4, 1, 1)
    assert found.empty_boxes == 1
    assert (found.boxes_outside, found.boxes_wholly_outside) == (2, 1)
    assert found.duplicate_boxes == 1
    # Widths 8, 10, 10, 32, 39.995 + 0.005 = 40, 96; heights 8, 10, 20, 20, 32, 96.
    assert found.box_width == Spread(8, 21, pytest.approx(196 / 6), 96)
    assert found.box_height == Spread(8, 20, 31, 96)
    # Ratios 1/2, 1/2, 1, 1, 1, 4.
    assert found.aspect_ratio == Spread(0.5, 1, pytest.approx(8 / 6), 4)
    assert [each.count for each in found.aspect_ratio_bins if each.low in {0.5, 1, 4}] == [2, 3, 1]
    assert found.boxes_per_image_bins[:4] == [Bin(0, 1, 1), Bin(1, 2, 0), Bin(2, 3, 2), Bin(3, 5, 1)]
    assert sum(each.count for each in found.box_side_bins) == 6


def test_images_without_annotations(data):
    assert summary(data.where(categories=["cat"])).images_without_annotations == 0
    bare = Dataset(data.images, data.categories, data.annotations.take(np.array([0, 2])))
    assert summary(bare).images_without_annotations == 3


def test_nothing_at_all():
    found = summary(Dataset(Images.of([]), Categories.of([]), Annotations.of([], [])))
    assert (found.images, found.boxes) == (0, 0)
    assert found.aspect_ratio == Spread(0, 0, 0, 0)


def test_patterns_by_hand(data):
    found = patterns(data)
    cells = np.array(found.box_centers)
    # Centres over sizes 100 x 80: (5, 10) twice, (21, 21), (98, 88) outside, (104, 4) outside, (10, 12.5), (20, 5) less 0.005.
    places = [(5, 10), (5, 10), (21, 21), (10, 12.5), (19.995, 5)]
    expected = np.zeros((32, 32), int)
    for x, y in places:
        expected[int(y / 80 * 32), int(x / 100 * 32)] += 1
    assert np.array_equal(cells, expected)
    shapes = np.zeros((32, 32), int)
    for width, height in [
        (10, 20),
        (10, 20),
        (32, 32),
        (96, 80),
        (8, 8),
        (40, 10),
    ]:  # more than the image counts as all of it
        shapes[min(int(height / 80 * 32), 31), int(width / 100 * 32)] += 1
    assert np.array_equal(found.box_shapes, shapes)
    assert found.co_occurrence == CoOccurrence(["cat", "dog", "eel"], [[3, 1, 2], [1, 2, 0], [2, 0, 2]])
    assert found.by_split == [
        SplitCount("", 1, 0, 1, [0, 1, 0, 0]),
        SplitCount("train", 2, 5, 0, [3, 1, 1, 0]),
        SplitCount("val", 1, 2, 0, [1, 0, 1, 0]),
    ]


def test_patterns_of_nothing():
    found = patterns(Dataset(Images.of([]), Categories.of([]), Annotations.of([], [])))
    assert found.co_occurrence == CoOccurrence([], [])
    assert found.by_split == []
    assert not np.any(found.box_centers)


@pytest.fixture(scope="module")
def bccd_coco():
    folder = os.environ.get("AUGSUITE_DATA")
    if not folder or not (Path(folder) / "bccd_coco" / "train").is_dir():
        pytest.skip("needs bccd_coco under AUGSUITE_DATA")
    return Path(folder) / "bccd_coco" / "train"


def test_as_pycocotools_counts(bccd_coco, capsys):
    coco = pytest.importorskip("pycocotools.coco").COCO(next(bccd_coco.glob("*.json")))
    capsys.readouterr()
    done = CliRunner().invoke(cli.cli, ["stats", str(bccd_coco), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["images"] == len(coco.getImgIds())
    assert found["boxes"] == len(coco.getAnnIds())
    names = {each["id"]: each["name"] for each in coco.loadCats(coco.getCatIds())}
    assert {each["name"]: each["boxes"] for each in found["categories"]} == {
        name: len(coco.getAnnIds(catIds=[key])) for key, name in names.items()
    }
    assert {each["name"]: each["images"] for each in found["categories"]} == {
        name: len(coco.getImgIds(catIds=[key])) for key, name in names.items()
    }
    boxes = [each["bbox"] for each in coco.loadAnns(coco.getAnnIds())]
    areas = np.array([width * height for _, _, width, height in boxes])
    assert found["small"] == (areas < 32**2).sum()
    assert found["large"] == (areas >= 96**2).sum()
    assert found["medium"] == len(areas) - found["small"] - found["large"] - found["empty_boxes"]
    sizes = Counter((each["width"], each["height"]) for each in coco.loadImgs(coco.getImgIds()))
    assert {(each["width"], each["height"]): each["images"] for each in found["image_sizes"]} == sizes


def test_the_table_shows_the_counts(bccd_coco):
    done = CliRunner().invoke(cli.cli, ["stats", str(bccd_coco)])
    assert done.exit_code == 0, done.output
    assert "small, medium, large" in done.stdout
    assert "█" in done.stdout
    assert "RBC" in done.stdout
