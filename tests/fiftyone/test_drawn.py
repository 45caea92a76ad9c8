"""What a plan drew, as fields."""

from __future__ import annotations

import math

import pytest

from augsuite import policy
from augsuite.augment import Erase, PixelOp, Plan, Warp
from augsuite.augment.plan import Mix, Origin
from augsuite_fiftyone.drawn import alike, drawn_values, field_of, steps_of

FORTY, FIVE = math.cos(math.radians(40)), math.sin(math.radians(40))


def values_of(*ops, size=(100, 50)):
    return drawn_values(Plan(Origin(0, *size), ops), ["a.jpg"])


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (
            (-1, 0, 100, 0, 1, 0, 0, 0, 1),
            {"mirrored_x": True, "mirrored_y": False, "turn_deg": 0, "at_x": 0, "at_y": 0},
        ),
        ((1, 0, 0, 0, -1, 50, 0, 0, 1), {"mirrored_x": False, "mirrored_y": True, "turn_deg": 0, "scale_y": 1}),
        ((-1, 0, 100, 0, -1, 50, 0, 0, 1), {"mirrored_x": False, "mirrored_y": False, "turn_deg": 180}),
        ((2, 0, -30, 0, 4, 10, 0, 0, 1), {"scale_x": 2, "scale_y": 4, "at_x": -30, "at_y": 10, "shear_deg": 0}),
        ((FORTY, -FIVE, 7, FIVE, FORTY, 8, 0, 0, 1), {"turn_deg": 40, "scale_x": 1, "scale_y": 1}),
        ((1, 1, 0, 0, 1, 0, 0, 0, 1), {"turn_deg": 0, "shear_deg": 45, "scale_x": 1, "scale_y": 1}),
    ],
)
def test_a_matrix_says_what_it_comes_to(matrix, expected):
    (found,) = values_of(Warp(matrix, 300, 200, step="move")).values()
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    assert (found["width"], found["height"]) == (300, 200)


def test_a_turned_image_begins_nowhere_and_a_bent_one_has_no_angle():
    (turned,) = values_of(Warp((FORTY, -FIVE, 7, FIVE, FORTY, 8, 0, 0, 1), 300, 200, step="rotate")).values()
    assert not {"at_x", "at_y"} & set(turned)
    (seen,) = values_of(Warp((1, 0, 0, 0, 1, 0, 0.001, 0, 1), 300, 200, step="perspective")).values()
    assert seen == {"bent": False, "perspective": True, "width": 300, "height": 200}


def test_values_keep_their_types():
    drawn = {
        "factor": 0.5,
        "order": [2, 0, 1],
        "on": True,
        "seed": 7,
        "inner": {"a.b": "x"},
        "mixed": [1, "x"],
        "no": None,
    }
    assert values_of(PixelOp("jitter", "jitter", {}, drawn))["jitter"] == {
        "factor": 0.5,
        "order": [2.0, 0.0, 1.0],
        "on": True,
        "seed": 7,
        "inner_a_b": "x",
        "mixed": '[1, "x"]',
    }
    assert values_of(Erase(((0, 0, 2, 2), (1, 1, 3, 3)), step="cut"))["cut"] == {"rects": 2}


def test_one_step_that_does_two_things_has_two_fields():
    first, second = (PixelOp("albumentations.Blur", "x", {}, {"seed": seed}) for seed in (1, 2))
    assert values_of(first, second) == {"albumentations_Blur": {"seed": 1}, "albumentations_Blur_2": {"seed": 2}}


@pytest.mark.parametrize(
    ("step", "field"), [("hflip#2", "hflip_2"), ("1st", "step_1st"), ("plan", "step_plan"), ("_x", "x"), ("é", "step")]
)
def test_names_of_fields(step, field):
    assert field_of(step) == field


def test_a_mix_names_its_partners():
    parts = tuple(Plan(Origin(row, 10, 10)) for row in (1, 0))
    plan = Plan(Mix("mixup", "mixup", {}, {"lam": 0.25}, parts))
    assert drawn_values(plan, ["a.jpg", "b.jpg"]) == {"mixup": {"partners": "a.jpg", "lam": 0.25}}
    assert steps_of(plan) == {"mixup"}


def test_one_name_has_one_type():
    rows = [{"a": {"x": 1, "y": 1, "z": True}}, {"a": {"x": 1.5, "y": "s", "z": False}, "b": {"x": 2}}]
    found = alike(rows)
    assert found == [{"a": {"x": 1.0, "y": "1", "z": True}}, {"a": {"x": 1.5, "y": "s", "z": False}, "b": {"x": 2}}]
    assert [type(row["a"]["x"]) for row in found] == [float, float]
    assert type(found[1]["b"]["x"]) is int


def test_what_a_choice_chose_is_the_choice(image_file, tmp_path):
    from augsuite.dataset import Sample

    path = image_file(tmp_path / "a.png", (40, 30))
    chosen = policy([{"do": "one_of", "steps": [{"do": "hflip"}, {"do": "vflip"}]}])
    plan = chosen.plan(Sample.of(path), (0, 0, 0))
    assert steps_of(plan) == {"one_of"}
    assert set(drawn_values(plan, ["a.png"])) <= {"one_of_hflip", "one_of_vflip"}
