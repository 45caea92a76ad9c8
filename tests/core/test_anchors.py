"""Anchor shapes: every partition of a few boxes tried, clusters that were made on purpose, and the trainer that takes them."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from augsuite import cli
from augsuite.boxes import Layout
from augsuite.boxes import iou as box_iou
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.dataset.anchors import box_shapes, setting, shape_iou, suggest
from augsuite.errors import DataError


def centred(shapes):
    half = np.asarray(shapes, float) / 2
    return np.concatenate([-half, half], axis=1)


def test_iou_is_that_of_boxes_at_one_centre():
    rng = np.random.default_rng(0)
    first, second = rng.random((40, 2)) + 0.01, rng.random((7, 2)) + 0.01
    np.testing.assert_allclose(shape_iou(first, second), box_iou(centred(first), centred(second)))


def middle(shapes):
    """The median width and height; the lower of two."""
    return np.sort(shapes, axis=0)[(len(shapes) - 1) // 2]


def best_of_all(shapes, k):
    """The best mean IoU of centres that are the medians of some partition into k parts, or k of the boxes: all are tried."""
    tried = [shapes[list(rows)] for rows in itertools.combinations(range(len(shapes)), k)]
    tried += [
        [middle(shapes[np.array(labels) == part]) for part in range(k)]
        for labels in itertools.product(range(k), repeat=len(shapes))
        if len(set(labels)) == k
    ]
    return max(float(box_iou(centred(shapes), centred(centers)).max(axis=1).mean()) for centers in tried)


@pytest.mark.parametrize("seed", range(4))
def test_near_the_best_that_trying_all_finds(seed):
    shapes = np.random.default_rng(seed).uniform(0.02, 0.9, (7, 2))
    for found in suggest(shapes, [1, 2, 3]):
        best = best_of_all(shapes, found.k)
        assert found.mean_iou >= best - 0.05  # k-means finds a local optimum, and of seven boxes one is much


def test_the_mean_iou_is_that_of_all_boxes():
    shapes = np.exp(np.random.default_rng(1).normal(-2, 0.7, (3000, 2)))
    found = suggest(shapes, range(1, 10))
    assert [each.k for each in found] == list(range(1, 10))
    for each in found:
        overlap = box_iou(centred(shapes), centred(each.shapes))
        assert each.mean_iou == pytest.approx(overlap.max(axis=1).mean())
        np.testing.assert_allclose(each.shares, np.bincount(overlap.argmax(axis=1), minlength=each.k) / 3000)
        areas = [width * height for width, height in each.shapes]
        assert areas == sorted(areas)


def test_finds_the_clusters_that_were_made():
    rng = np.random.default_rng(2)
    made = np.array([[0.05, 0.1], [0.3, 0.1], [0.2, 0.5], [0.8, 0.7]])
    counts = [4000, 1000, 500, 100]
    parts = [c * np.exp(rng.normal(0, 0.05, (n, 2))) for c, n in zip(made, counts, strict=True)]
    (found,) = suggest(np.concatenate(parts), [4])
    np.testing.assert_allclose(found.shapes, [np.median(part, axis=0) for part in parts], rtol=0.03)
    np.testing.assert_allclose(found.shares, np.array(counts) / 5600)


def test_the_same_seed_the_same_anchors_and_any_unit():
    shapes = np.exp(np.random.default_rng(3).normal(-2, 0.7, (500, 2)))
    assert suggest(shapes, [5], seed=1) == suggest(shapes, [5], seed=1)
    (one,) = suggest(np.array([[3.0, 4.0], [3.0, 4.0]]), [1, 2, 3])
    assert (one.k, one.mean_iou, one.shapes) == (1, 1.0, [(3.0, 4.0)])
    assert suggest(np.empty((0, 2)), [1]) == []


def test_which_boxes_count():
    table = Annotations.of(
        [0, 0, 0, 1, 1, 2],
        [0] * 6,
        [[0, 0, 50, 20], [10, 10, 20, 20], [90, 0, 110, 50], [np.nan] * 4, [5, 5, 5, 9], [0, 0, 9, 9]],
        Layout.XYXY_PX,
        ignore=[False, True, False, False, False, False],
    )
    data = Dataset(Images.of("abc", [[100, 50], [10, 10], [0, 0]]), Categories.of(["x"]), table)
    # The first, and the third as far as it lies inside; not the ignored, the label, the empty one, or the one of unknown size.
    np.testing.assert_allclose(box_shapes(data), [[0.5, 0.4], [0.1, 1.0]])


def test_the_trainer_takes_what_the_command_prints():
    ssd = pytest.importorskip("augsuite_ssd.models")
    torch = pytest.importorskip("torch")
    from augsuite.commands.train import parse_settings
    from augsuite.study.session import settings_of

    shapes = np.exp(np.random.default_rng(4).normal(-2, 0.7, (500, 2))).clip(0.01, 1)
    (found,) = suggest(shapes, [6])
    config = settings_of("ssd", parse_settings((setting(found), "width=16")))
    np.testing.assert_allclose(config.shapes, found.shapes, rtol=1e-3)
    network = ssd.make_detector(config, 2)
    placed = network.anchors(128, 128)
    extents = {tuple(np.round(extent, 3)) for extent in placed[:, 2:] - placed[:, :2]}
    assert {tuple(np.round(shape, 3)) for shape in np.float32(config.shapes)} <= extents
    logits, offsets = network(torch.zeros(1, 3, 128, 128))
    assert logits.shape[1] == offsets.shape[1] == len(placed)


def run(*arguments):
    return CliRunner().invoke(cli.cli, ["anchors", *map(str, arguments)])


@pytest.fixture
def bccd():
    folder = Path(os.environ.get("AUGSUITE_DATA", "")) / "bccd"
    if not os.environ.get("AUGSUITE_DATA") or not folder.is_dir():
        pytest.skip("needs bccd under AUGSUITE_DATA")
    return folder


def test_the_command_compares_and_prints(bccd):
    done = run(bccd)
    assert done.exit_code == 0, done.output
    values = [float(line.split()[1]) for line in done.stdout.splitlines()[1:10]]
    assert values == sorted(values)
    found = json.loads(run(bccd, "-k", 3, "--json").stdout)
    assert [each["k"] for each in found] == [3]
    assert found[0]["mean_iou"] == pytest.approx(values[2], abs=5e-4)
    assert "--set 'shapes=[[" in run(bccd, "-k", 3).stdout
    assert json.loads(run(bccd, "-k", 1, "--json", "--split", "val").stdout) != json.loads(
        run(bccd, "-k", 1, "--json", "--split", "train").stdout
    )


def test_too_few_boxes_is_one_line(tmp_path):
    (tmp_path / "a.csv").write_text("filename,class,xmin,ymin,xmax,ymax,width,height\na.jpg,x,0,0,9,9,50,50\n")
    done = run(tmp_path / "a.csv", "-k", 2)
    assert isinstance(done.exception, DataError)
    assert "2 anchors" in str(done.exception)
