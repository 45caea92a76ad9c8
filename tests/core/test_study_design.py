"""Designs: the arms that follow from a rule, and that arms draw alike where they have steps in common."""

from __future__ import annotations

import pytest
import yaml
from studykit import STUDY, Bench, installed

from augsuite.errors import ConfigError
from augsuite.study.file import load
from augsuite.study.identity import ask


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    with installed(made.plugin):
        yield made


def designed(bench, arms, **changes):
    content = yaml.safe_load(STUDY.replace("NAP", "0.0")) | {"arms": arms} | changes
    bench.file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load(bench.file)


def steps(study):
    return {name: [step.do for step in arm.policy.steps] for name, arm in study.arms.items()}


THINGS = [{"do": "hflip", "p": 0.5}, {"do": "photometric"}, {"config": {"epochs": 3}}]


def test_add_one(bench):
    study = designed(bench, {"rule": "add-one", "steps": THINGS})
    assert steps(study) == {"none": [], "hflip": ["hflip"], "photometric": ["photometric"], "epochs=3": []}
    assert [arm.config for arm in study.arms.values()] == [{}, {}, {}, {"epochs": 3}]
    assert study.reference == "none"
    assert [(series.rule, series.arms) for series in study.designs] == [
        ("add-one", ["hflip", "photometric", "epochs=3"])
    ]


def test_cumulative(bench):
    study = designed(bench, {"rule": "cumulative", "steps": THINGS})
    assert steps(study) == {
        "none": [],
        "+hflip": ["hflip"],
        "+photometric": ["hflip", "photometric"],
        "+epochs=3": ["hflip", "photometric"],
    }
    assert study.arms["+epochs=3"].config == {"epochs": 3}


def test_leave_one_out(bench):
    full = {"policy": [{"do": "hflip"}, {"do": "vflip"}, {"do": "hflip", "p": 0.1}, {"do": "resize", "size": [9, 9]}]}
    study = designed(bench, {"rule": "leave-one-out", "full": full | {"config": {"epochs": 3, "bonus": 1.0}}})
    assert steps(study) == {
        "full": ["hflip", "vflip", "hflip", "resize"],
        "-hflip": ["vflip", "hflip", "resize"],
        "-vflip": ["hflip", "hflip", "resize"],
        "-hflip#2": ["hflip", "vflip", "resize"],
        "-epochs": ["hflip", "vflip", "hflip", "resize"],
        "-bonus": ["hflip", "vflip", "hflip", "resize"],
    }
    assert study.arms["-epochs"].config == {"bonus": 1.0}
    assert study.arms["-vflip"].config == {"epochs": 3, "bonus": 1.0}
    # What is left keeps the names of its random numbers, in a worker, too.
    assert [step["id"] for step in study.arms["-hflip"].to_plain().policy["steps"] if "id" in step] == ["hflip#2"]
    assert study.reference == "full"


def test_leave_one_out_keeps_what_it_is_told_to(bench):
    full = {"policy": [{"do": "hflip"}, {"do": "vflip"}], "config": {"epochs": 3, "bonus": 1.0}}
    study = designed(bench, {"rule": "leave-one-out", "full": full, "keep": ["hflip", "bonus"]})
    assert list(study.arms) == ["full", "-vflip", "-epochs"]


def test_grid_over_a_step(bench):
    rule = {"rule": "grid", "step": {"do": "rotate", "p": 0.5}, "over": {"max_deg": [5, 20], "p": [0.2, 1]}}
    study = designed(bench, rule)
    assert list(study.arms) == [
        "none",
        "rotate max_deg=5 p=0.2",
        "rotate max_deg=5 p=1",
        "rotate max_deg=20 p=0.2",
        "rotate max_deg=20 p=1",
    ]
    (step,) = study.arms["rotate max_deg=20 p=0.2"].policy.steps
    assert (step.params["max_deg"], step.p) == (20, 0.2)
    assert study.designs[0].at[2] == {"max_deg": 20, "p": 0.2}


def test_grid_over_a_step_of_the_base(bench):
    base = [{"do": "vflip", "p": 0.5}, {"do": "hflip", "p": 0.5}]
    study = designed(bench, {"rule": "grid", "base": base, "step": "vflip", "over": {"p": [0.1, 0.9]}})
    assert {name: [step.p for step in arm.policy.steps] for name, arm in study.arms.items()} == {
        "base": [0.5, 0.5],
        "vflip p=0.1": [0.1, 0.5],
        "vflip p=0.9": [0.9, 0.5],
    }


def test_grid_over_settings(bench):
    study = designed(bench, {"rule": "grid", "base": "flip", "config": {"epochs": [1, 5], "bonus": [0.5]}})
    assert {name: dict(arm.config) for name, arm in study.arms.items()} == {
        "flip": {},
        "epochs=1 bonus=0.5": {"epochs": 1, "bonus": 0.5},
        "epochs=5 bonus=0.5": {"epochs": 5, "bonus": 0.5},
    }
    assert all(names == ["hflip"] for names in steps(study).values())


def test_factorial(bench):
    study = designed(bench, {"rule": "factorial", "steps": THINGS})
    assert steps(study) == {
        "none": [],
        "hflip": ["hflip"],
        "photometric": ["photometric"],
        "epochs=3": [],
        "hflip + photometric": ["hflip", "photometric"],
        "hflip + epochs=3": ["hflip"],
        "photometric + epochs=3": ["photometric"],
    }
    assert study.designs[0].pairs == [
        ("hflip", "photometric", "hflip + photometric"),
        ("hflip", "epochs=3", "hflip + epochs=3"),
        ("photometric", "epochs=3", "photometric + epochs=3"),
    ]


def test_a_thing_may_be_a_list_a_policy_or_named(bench):
    things = [[{"do": "hflip"}, {"do": "vflip"}], "flip", {"name": "both", "steps": "flip", "config": {"epochs": 9}}]
    study = designed(bench, {"rule": "add-one", "steps": things})
    assert steps(study) == {"none": [], "hflip+vflip": ["hflip", "vflip"], "flip": ["hflip"], "both": ["hflip"]}
    assert study.arms["both"].config == {"epochs": 9}


def test_rules_beside_named_arms(bench):
    arms = [
        {"rule": "add-one", "base": "flip", "steps": [{"do": "vflip"}]},
        {"rule": "cumulative", "base": "flip", "steps": [{"do": "vflip"}, {"do": "blur"}]},
        {"mine": [{"do": "rotate"}], "longer": {"config": {"epochs": 7}}},
    ]
    study = designed(bench, arms)
    assert list(study.arms) == ["flip", "vflip", "+vflip", "+blur", "mine", "longer"]
    assert study.reference == "flip"
    assert steps(study)["longer"] == ["hflip"]  # of the reference
    assert designed(bench, arms, reference="mine").reference == "mine"


def test_what_is_added_goes_before_the_last_size(bench):
    base = [{"do": "hflip"}, {"do": "resize", "size": [8, 8]}]
    study = designed(bench, {"rule": "add-one", "base": base, "steps": [{"do": "vflip"}]})
    assert steps(study)["vflip"] == ["hflip", "vflip", "resize"]


def test_arms_share_the_draws_of_the_steps_they_share(bench):
    # Two steps of one transform: each draws the same alone, in a pair and in a row of the cumulative table.
    things = [{"name": name, "steps": [{"do": "rotate", "p": 0.5}]} for name in ("one", "two")]
    arms = [
        {"rule": "factorial", "base": "flip", "steps": things},
        {"rule": "cumulative", "base": "flip", "steps": things},
    ]
    study = designed(bench, arms)
    sample = study.train.sample(0)

    def drawn(name):
        policy = study.arms[name].policy
        plans = [policy.plan(sample, (0, 0, row)) for row in range(40)]
        return [{op.step for op in plan.ops} for plan in plans]

    both = drawn("one + two")
    for alone, step in (("one", "rotate"), ("two", "rotate#2"), ("+two", "rotate#2"), ("+one", "rotate")):
        assert [step in plan for plan in drawn(alone)] == [step in plan for plan in both]
    assert [("rotate" in plan) for plan in both] != [("rotate#2" in plan) for plan in both]


def test_another_id_gives_the_same_policy_draws_of_its_own(bench):
    arms = {"none": [{"do": "hflip", "p": 0.5}], "again": [{"do": "hflip", "p": 0.5, "id": "other"}]}
    study = designed(bench, arms)
    sample = study.train.sample(0)
    flipped = [
        [len(study.arms[name].policy.plan(sample, (0, 0, row)).ops) for row in range(64)] for name in ("none", "again")
    ]
    assert flipped[0] != flipped[1]
    runs = [run.digest for run in ask(study, "")[0].runs]
    assert len(set(runs)) == len(runs)


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ({"rule": "add-two", "steps": []}, "arms.rule: unknown rule 'add-two'. Did you mean 'add-one'?"),
        ({"rule": "add-one", "step": []}, "arms: unknown setting 'step'. Did you mean 'steps'?"),
        ({"rule": "add-one", "steps": []}, "arms.steps: nothing to add"),
        ({"rule": "add-one", "steps": [{"do": "hflop"}]}, "arms.steps[0]: unknown transform 'hflop'"),
        ({"rule": "add-one", "steps": [{"config": {"epoch": 1}}]}, "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ({"rule": "add-one", "steps": [{"nmae": "x"}]}, "arms.steps[0]: unknown key 'nmae'. Did you mean 'name'?"),
        ({"rule": "add-one", "steps": [{}]}, "arms.steps[0]: nothing to add"),
        ({"rule": "add-one", "steps": [7]}, "arms.steps[0]: expected a step"),
        ([{"rule": "add-one", "steps": ["flup"]}], "arms[0].steps[0]: unknown policy 'flup'"),
        ({"rule": "factorial", "steps": [{"do": "hflip"}]}, "at least two, got 1"),
        ({"rule": "leave-one-out", "full": "none"}, "nothing to leave out"),
        ({"rule": "leave-one-out", "full": "flip", "keep": ["hflop"]}, "there is no 'hflop'. Did you mean 'hflip'?"),
        ({"rule": "grid", "step": {"do": "hflip"}}, "a grid needs a step and over"),
        ({"rule": "grid", "over": {"p": [1]}}, "a grid needs a step and over"),
        ({"rule": "grid", "step": {"do": "hflip"}, "over": {"p": []}}, "arms: p: no values"),
        (
            {"rule": "grid", "step": "vflip", "base": "flip", "over": {"p": [1]}},
            "no step 'vflip'. Did you mean 'hflip'",
        ),
        ({"rule": "grid", "step": {"do": "hflip"}, "over": {"p": [2]}}, "arms.step (hflip): p"),
        ([{"rule": "add-one", "steps": [{"do": "hflip"}]}, {"hflip": [{"do": "vflip"}]}], "would be called 'hflip'"),
        ([3], "arms[0]: expected object, got int"),
    ],
)
def test_mistakes_are_one_clear_line(bench, arms, said):
    with pytest.raises(ConfigError) as caught:
        designed(bench, arms)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(bench.file))
    assert "\n" not in str(caught.value)
