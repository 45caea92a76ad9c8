"""Displacement fields: splines judged by scipy and by hand, and their inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augsuite.augment import Erase, Field, Plan, Warp, render
from augsuite.augment.checking import warp_problem
from augsuite.augment.erasing import erased_share
from augsuite.augment.plan import Origin
from augsuite.augment.transforms import make
from augsuite.dataset import Sample
from augsuite.errors import ConfigError


def field(degree, right, down):
    return Field(degree, tuple(map(tuple, right.tolist())), tuple(map(tuple, down.tolist())))


def random_field(degree, seed, size=(90, 70), cells=4, share=0.2):
    shifts = np.random.default_rng(seed).uniform(-1, 1, (2, cells + degree, cells + degree)) * share
    return field(degree, shifts[0] * size[0] / cells, shifts[1] * size[1] / cells)


@pytest.mark.parametrize("degree", [1, 3])
def test_shift_is_that_of_scipy(degree):
    """The B-spline of scipy over the same control points: its knots are the corners of the cells, and beyond."""
    from scipy.interpolate import BSpline

    width, height, cells = 90, 70, 4
    shifts = np.random.default_rng(3).normal(size=(2, cells + degree, cells + degree))
    knots = np.arange(-degree, cells + degree + 1)
    points = np.random.default_rng(4).uniform(0, 1, (200, 2)) * [width, height]
    # Across first, for each row of control points; then down.
    rows = [BSpline(knots, part.T, degree)(points[:, 0] / width * cells) for part in shifts]
    expected = np.array(
        [
            [BSpline(knots, across[at], degree)(points[at, 1] / height * cells) for across in rows]
            for at in range(len(points))
        ]
    )
    np.testing.assert_allclose(field(degree, *shifts).at(points, width, height), expected, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 3])
def test_grid_and_points_agree(degree):
    one = random_field(degree, 1)
    xs, ys = np.arange(90) + 0.5, np.arange(70) + 0.5
    right, down = one.on_grid(xs, ys, 90, 70)
    points = np.stack(np.meshgrid(xs, ys), axis=2).reshape(-1, 2)
    np.testing.assert_allclose(np.stack([right, down], axis=2).reshape(-1, 2), one.at(points, 90, 70), atol=1e-12)


def test_straight_by_hand():
    """Two cells across 20 pixels, shifts 0, 4, 0: halfway up the first flank it is 2; beyond the canvas as on its border."""
    one = field(1, np.array([[0, 4, 0], [0, 4, 0.0]]), np.zeros((2, 3)))
    points = np.array([[0, 5], [5, 5], [10, 0], [15, 9], [25, 5.0]])
    assert one.at(points, 20, 10)[:, 0].tolist() == [0, 2, 4, 2, 0]


@given(st.sampled_from([1, 3]), st.integers(0, 10**6))
def test_undo_is_the_inverse(degree, seed):
    one = random_field(degree, seed)
    points = np.random.default_rng(seed).uniform(0, 1, (50, 2)) * [90, 70]
    np.testing.assert_allclose(one.undo(points + one.at(points, 90, 70), 90, 70), points, atol=1e-5)


@given(st.integers(0, 10**6), st.floats(0.2, 3.0))
def test_what_is_no_fold_keeps_the_order(seed, share):
    """A field that is said not to fold has a Jacobian that is positive everywhere."""
    one = random_field(3, seed, share=share)
    xs, ys = np.linspace(0, 90, 181), np.linspace(0, 70, 141)
    right, down = one.on_grid(xs, ys, 90, 70)
    x, y = xs + right, ys[:, None] + down
    turns = np.diff(x, axis=1)[:-1] * np.diff(y, axis=0)[:, :-1] - np.diff(x, axis=0)[:, :-1] * np.diff(y, axis=1)[:-1]
    assert one.steepness(90, 70) >= 1 or (turns > 0).all()


def test_folding_field_is_refused():
    zigzag = field(1, np.tile([0.0, 9.0, -9.0], (2, 1)), np.zeros((2, 3)))
    assert "folds" in warp_problem(Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 20, 10, field=zigzag), 20, 10)
    ragged = Field(1, ((0.0, 0.0), (0.0,)), ((0.0, 0.0), (0.0, 0.0)))
    assert "no grid" in warp_problem(Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 20, 10, field=ragged), 20, 10)


def test_pixels_are_those_of_a_remap():
    """One field alone: what OpenCV's remap gives for the same look-up."""
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    one = random_field(3, 5, share=0.1)
    xs, ys = np.meshgrid(np.arange(90) + 0.5, np.arange(70) + 0.5)
    shift = one.at(np.stack([xs, ys], axis=2).reshape(-1, 2), 90, 70).reshape(70, 90, 2)
    x, y = xs + shift[..., 0], ys + shift[..., 1]
    judge = cv2.remap(
        image, (x - 0.5).astype(np.float32), (y - 0.5).astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )  # fmt: skip
    inside = (x >= 0) & (x < 90) & (y >= 0) & (y < 70)
    plan = Plan(Origin(0, 90, 70), (Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 90, 70, (7, 8, 9), field=one),))
    plan = Plan.from_json(plan.to_json())
    np.testing.assert_array_equal(
        render(plan, Sample.of(image)).image, np.where(inside[..., None], judge, np.uint8([7, 8, 9]))
    )


def test_grid_distortion_keeps_the_edges():
    from augsuite.augment import Scene
    from augsuite.augment.draw import Keyed

    warp = make("grid_distortion", {"shift_frac": 0.24}, "").draw(
        Keyed((0, 0, 0)).of("x"), Scene(90, 70, np.zeros((0, 4)))
    )
    edge = np.stack([np.zeros(20), np.linspace(0, 70, 20)], axis=1)
    assert (warp.field.at(edge, 90, 70)[:, 0] == 0).all()
    assert np.abs(warp.field.at(edge, 90, 70)[:, 1]).max() > 0.5
    assert (warp.field.at(edge[:, ::-1] * [90 / 70, 1], 90, 70)[:, 1] == 0).all()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("outlined", [False, True])
def test_a_box_holds_the_kinks_of_a_grid(seed, outlined):
    """Judged by all points of the canvas, ten a pixel: those whose field leads into the box are what is seen of it."""
    rng = np.random.default_rng(seed)
    scale, (left, top, right, bottom) = 4, np.sort(rng.uniform(2, 58, (2, 2)), axis=0).reshape(-1)
    grid = random_field(1, seed, (240, 240), share=0.24)
    grow = Warp((scale, 0, 0, 0, scale, 0, 0, 0, 1), 240, 240)
    plan = Plan(Origin(-1, 60, 60), (grow, Warp((1, 0, 0, 0, 1, 0, 0, 0, 1), 240, 240, field=grid)), 0.0, 0.0)
    outline = [[[left, top, right, top, right, bottom, left, bottom]]] if outlined else None
    sample = Sample.of(np.zeros((60, 60, 3), np.uint8), [[left, top, right, bottom]], [0], polygons=outline)

    spots = (np.arange(2400) + 0.5) / 10
    shift = np.stack(grid.on_grid(spots, spots, 240, 240))
    x, y = (spots + shift[0]) / scale, (spots[:, None] + shift[1]) / scale
    rows, columns = np.nonzero((x > left) & (x < right) & (y > top) & (y < bottom))
    expected = [spots[columns.min()], spots[rows.min()], spots[columns.max()], spots[rows.max()]]
    np.testing.assert_allclose(render(plan, sample).boxes[0], expected, rtol=0, atol=0.5)


def test_elastic_that_could_fold_is_refused():
    with pytest.raises(ConfigError, match=r"expected cells \* shift_frac of at most 0.2, got 0.8"):
        make("elastic", {"cells": 8, "shift_frac": 0.1}, "policy")


@pytest.mark.parametrize("seed", range(12))
def test_what_is_erased_in_perspective_counts_as_not_seen(seed):
    """Points all over a box, each followed by hand: those that land in an erased rectangle and are still seen at the end."""
    rng = np.random.default_rng(seed)
    squeeze = Warp((1, 0.1, 5, 0, 1, 0, rng.uniform(-0.002, 0.004), rng.uniform(-0.002, 0.004), 1), 160, 120)
    grow = Warp((1.3, 0, -30, 0, 1.3, -10, 0, 0, 1), 150, 130)
    left, top = rng.integers(10, 60, 2).tolist()
    erase = Erase(((left, top, left + 50, top + 40),))
    tilt = Warp((1, 0, 0, 0.05, 1, 0, 0.001, -0.001, 1), 150, 130)
    boxes = np.array([[20.0, 15.0, 100.0, 90.0]])
    points = np.stack(np.meshgrid(np.linspace(20, 100, 401), np.linspace(15, 90, 401)), axis=2).reshape(-1, 2)
    hit, seen = np.zeros(len(points), bool), np.ones(len(points), bool)
    for op in (squeeze, grow, erase, tilt):
        if isinstance(op, Erase):
            hit = (points >= [left, top]).all(axis=1) & (points < [left + 50, top + 40]).all(axis=1)
            continue
        x, y, w = np.reshape(op.matrix, (3, 3)) @ np.column_stack([points, np.ones(len(points))]).T
        points = np.stack([x / w, y / w], axis=1)
        seen &= (points >= 0).all(axis=1) & (points < [op.width, op.height]).all(axis=1)
    found = erased_share((squeeze, grow, erase, tilt), 160, 120, boxes)[0]
    assert abs(found - (hit & seen).mean()) < 0.01
