"""Differences: made by hand and counted by hand; scipy's optimal assignment judges the matching."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import augsuite
from augsuite import cli
from augsuite.boxes import Layout, iou
from augsuite.dataset import ABSENT, Annotations, Categories, Dataset, Images, objects
from augsuite.dataset.difference import ValueChange, diff
from augsuite.dataset.overlaps import overlaps, pairwise_iou
from augsuite.dataset.stats import Spread
from augsuite.errors import ConfigError


def dataset(rows, names=("a.jpg", "b.jpg", "c.jpg"), categories=("cat", "dog"), **images):
    """Rows of image, category, x1, y1, x2, y2."""
    columns = np.array(rows, float).reshape(-1, 6)
    table = Annotations.of(columns[:, 0].astype(int), columns[:, 1].astype(int), columns[:, 2:])
    images.setdefault("sizes", [[100, 80]] * len(names))
    return Dataset(Images.of(names, **images), Categories.of(categories), table)


ROWS = [(0, 0, 10, 10, 30, 30), (0, 1, 40, 40, 60, 60), (1, 0, 0, 0, 50, 50), (2, 1, 5, 5, 9, 9)]


def test_nothing_changed():
    found = diff(dataset(ROWS), dataset(ROWS))
    assert found.equal
    assert (found.same, found.values) == (4, {})


@pytest.mark.parametrize("layout", list(Layout))
def test_neither_order_nor_layout_counts(layout):
    before = dataset(ROWS)
    after = dataset([ROWS[row] for row in (3, 1, 0, 2)])
    after = replace(after, annotations=replace(after.annotations, boxes=after.boxes(layout), layout=layout))
    found = diff(before, after, values=False)
    assert found.equal
    assert found.same == 4


def test_categories_are_matched_by_name():
    after = dataset([(image, 1 - category, *box) for image, category, *box in ROWS], categories=("dog", "cat"))
    assert diff(dataset(ROWS), after, values=False).equal


def test_every_kind_of_change():
    after = [
        (0, 0, 12, 10, 32, 30),  # moved by 2 px: IoU 360 / 440
        (0, 0, 40, 40, 60, 60),  # a dog before
        (1, 0, 0, 0, 50, 50),
        (1, 2, 60, 60, 90, 70),  # new, of a new class
    ]  # and the dog of c.jpg is gone
    found = diff(dataset(ROWS), dataset(after, categories=("cat", "dog", "eel")))
    assert (found.same, found.moved.count, found.relabelled.count, found.removed.count, found.added.count) == (
        1,
        1,
        1,
        1,
        1,
    )
    assert found.moved_px == Spread(2, 2, 2, 2)
    assert found.moved_iou.mean == pytest.approx(360 / 440)
    assert found.relabelled.places[0].said.startswith("dog, now cat")
    assert (found.removed.places[0].image, found.removed.places[0].annotation) == ("c.jpg", 4)
    assert (found.added.places[0].image, found.added.places[0].said) == ("b.jpg", "eel")
    assert (found.categories_added, found.categories_removed) == (["eel"], [])
    assert not found.equal


def test_the_tolerance():
    after = [(image, category, x + 0.3, y, right, bottom) for image, category, x, y, right, bottom in ROWS]
    assert diff(dataset(ROWS), dataset(after)).moved.count == 4
    assert diff(dataset(ROWS), dataset(after), tolerance=0.5).equal
    assert diff(dataset(ROWS), dataset(after), tolerance=0.2).moved_px.max == pytest.approx(0.3)
    for wrong in (-1, float("nan")):
        with pytest.raises(ConfigError, match="tolerance"):
            diff(dataset(ROWS), dataset(ROWS), tolerance=wrong)


def test_images():
    before = dataset(
        [], ["train/a.jpg", "b.jpg", "c.jpg", "d.jpg", "same.jpg"], splits=["train", "train", "train", "val", "val"]
    )
    after = dataset(
        [], ["same.jpg", "b.jpg", "x/a.png", "e.jpg", "d.jpg"], sizes=[[100, 80]] * 4 + [[80, 100]],
        splits=["val", "test", "train", "val", "val"],
    )  # fmt: skip
    found = diff(before, after, values=False)
    assert [place.image for place in found.images_removed.places] == ["c.jpg"]
    assert [place.image for place in found.images_added.places] == ["e.jpg"]
    assert [(place.image, place.said) for place in found.images_renamed.places] == [("train/a.jpg", "now x/a.png")]
    assert [(place.image, place.said) for place in found.splits_changed.places] == [("b.jpg", "now test")]
    assert [(place.image, place.said) for place in found.sizes_changed.places] == [("d.jpg", "100 x 80, now 80 x 100")]


def test_one_name_in_two_splits():
    before = dataset([(0, 0, 1, 1, 9, 9), (1, 1, 1, 1, 9, 9)], ["a.jpg", "a.jpg"], splits=["train", "val"])
    after = dataset([(0, 1, 1, 1, 9, 9), (1, 0, 1, 1, 9, 9)], ["a.jpg", "a.jpg"], splits=["val", "train"])
    assert diff(before, after, values=False).equal


def test_annotations_of_images_that_are_gone_are_not_counted_twice():
    found = diff(dataset(ROWS), dataset(ROWS[:2], ["a.jpg"]), values=False)
    assert (found.images_removed.count, found.removed.count, found.same) == (2, 0, 2)


def test_labels_of_whole_images():
    before = Dataset(Images.of(["a", "b", "c"]), Categories.of(["x", "y"]), Annotations.of([0, 1, 2], [0, 0, 1]))
    after = replace(before, annotations=Annotations.of([0, 1], [0, 1]))
    found = diff(before, after, values=False)
    assert (found.same, found.relabelled.count, found.removed.count) == (1, 1, 1)


def test_a_label_is_no_box():
    before = Dataset(Images.of(["a"]), Categories.of(["x"]), Annotations.of([0], [0]))
    found = diff(before, replace(before, annotations=Annotations.of([0], [0], [[1, 1, 5, 5]])))
    assert (found.removed.count, found.added.count) == (1, 1)


def test_boxes_without_area_match_themselves():
    rows = [(0, 0, 5, 5, 5, 9), (0, 0, 1, 1, 20, 20)]
    after = [*rows, (0, 0, 50, 50, 60, 60)]
    found = diff(dataset(rows), dataset(after))
    assert (found.same, found.added.count, found.removed.count) == (2, 1, 0)


def test_values():
    before, after = dataset(ROWS), dataset(ROWS)
    one = {
        "coco.segmentation": objects([msgspec.Raw(b"[[1, 2]]"), msgspec.Raw(b"[[3]]"), ABSENT, ABSENT]),
        "coco.area": objects([1, 2, 3, 4]),
    }
    other = {
        "coco.segmentation": objects([msgspec.Raw(b"[[1,2]]"), [[4]], ABSENT, [[5]]]),  # the first: spelt otherwise
        "score": objects([ABSENT, ABSENT, 0.5, ABSENT]),
    }
    before = replace(before, annotations=replace(before.annotations, extra=one), extra={"coco.info": {"year": 1}})
    table = replace(
        after.annotations, extra=other, ids=np.array([1, 2, 3, 9]), ignore=np.array([True, False, False, False])
    )
    after = replace(after, annotations=table, extra={"coco.info": {"year": 2}})
    assert diff(before, after).values == {
        "annotation ids": ValueChange(1, 0, 0),
        "coco.segmentation": ValueChange(1, 1, 0),
        "coco.area": ValueChange(0, 0, 4),
        "score": ValueChange(0, 1, 0),
        "ignore": ValueChange(1, 0, 0),
        "coco.info": ValueChange(1, 0, 0),
    }
    assert diff(before, after, values=False).equal


def test_sizes_are_read_from_files(tmp_path):
    PIL.Image.new("RGB", (100, 80)).save(tmp_path / "a.jpg")
    before = replace(dataset(ROWS[:2], ["a.jpg"], files=["a.jpg"]), root=tmp_path)
    after = replace(before, images=replace(before.images, sizes=np.zeros((1, 2), np.int64)))
    assert diff(before, after).equal


coordinates = st.integers(0, 12)
boxes = st.lists(st.tuples(coordinates, coordinates, st.integers(1, 12), st.integers(1, 12)), max_size=6)


@settings(max_examples=100, deadline=None)
@given(first=boxes, second=boxes)
def test_as_many_pairs_of_equal_boxes_as_can_be(first, second):
    """Greedy matching may be worse than the optimum in total overlap, but never misses a box that is equal."""
    scipy = pytest.importorskip("scipy.optimize")
    sides = [np.array([(x, y, x + w, y + h) for x, y, w, h in side], float).reshape(-1, 4) for side in (first, second)]
    rows = [[(0, 0, *box) for box in side] for side in sides]
    found = diff(dataset(rows[0]), dataset(rows[1]), values=False)
    equal = (sides[0][:, None] == sides[1][None]).all(-1).reshape(len(sides[0]), len(sides[1]))
    one, other = scipy.linear_sum_assignment(equal, maximize=True)
    assert found.same == equal[one, other].sum()
    assert found.same + found.moved.count + found.removed.count == len(first)
    assert found.same + found.moved.count + found.added.count == len(second)


def test_overlaps_as_the_plain_formula():
    rng = np.random.default_rng(0)
    sides = [np.sort(rng.integers(0, 20, (60, 2, 2)), axis=1).reshape(-1, 4).astype(float) for _ in range(2)]
    groups = [rng.integers(0, 5, 60) for _ in range(2)]
    left, right, shared = overlaps(groups[0], sides[0], groups[1], sides[1], 0.1)
    full = iou(*sides)
    expected = {
        (one, other): full[one, other]
        for one in range(60)
        for other in range(60)
        if groups[0][one] == groups[1][other] and full[one, other] >= 0.1
    }
    empty = {pair for pair in zip(left, right, strict=True) if (sides[0][pair[0]] == sides[1][pair[1]]).all()}
    found = dict(zip(zip(left, right, strict=True), shared, strict=True))
    assert {pair: value for pair, value in found.items() if pair not in empty or pair in expected} == pytest.approx(
        expected
    )
    nan = np.full((1, 4), np.nan)
    assert pairwise_iou(np.concatenate([nan, nan]), np.concatenate([nan, np.ones((1, 4))])).tolist() == [1, 0]


def test_the_command(tmp_path):
    for name, rows in (("one", ROWS), ("two", [*ROWS[:3], (2, 1, 6, 5, 10, 9)])):
        augsuite.write(dataset(rows), tmp_path / name, "coco")
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    run = CliRunner()
    same = run.invoke(cli.cli, ["diff", one, one])
    assert same.exit_code == 0, same.output
    assert "no difference" in same.stdout
    done = run.invoke(cli.cli, ["diff", one, two, "--json"])
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    assert found["equal"] is False
    assert found["moved"]["count"] == 1
    assert found["moved"]["places"][0]["image"] == "c.jpg"
    done = run.invoke(cli.cli, ["diff", one, two, "--tolerance", "1"])
    assert done.exit_code == 0, done.output


def test_a_conversion_changes_nothing_but_what_it_says(real_data, tmp_path):
    if not (real_data / "bccd").is_dir():
        pytest.skip("needs bccd under AUGSUITE_DATA")
    augsuite.convert(real_data / "bccd", tmp_path / "coco", "coco", images="none")
    found = diff(augsuite.read(real_data / "bccd"), augsuite.read(tmp_path / "coco"), values=False)
    assert found.equal
    assert found.same == 4888
