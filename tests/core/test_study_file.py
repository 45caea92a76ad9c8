"""The study file: what is read from it, and what each mistake in it says."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from studykit import STUDY, Bench, installed

from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.errors import ConfigError, DataError
from augsuite.study.file import Split, default_split, divide, load


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    with installed(made.plugin):
        yield made


def edit(bench, **changes):
    content = yaml.safe_load(STUDY.replace("NAP", "0.0")) | changes
    bench.file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not ...}))
    return bench.file


def test_load(bench):
    study = load(bench.file)
    assert (study.name, study.metric, study.reference, study.seeds, study.workers) == (
        "quick",
        "AP",
        "none",
        (0, 1, 2),
        None,
    )
    assert list(study.arms) == ["none", "hflip"]
    assert study.arms["hflip"].policy.steps[0].do == "hflip"
    assert study.config == {"epochs": 2, "nap_s": 0.0, "bonus": 0.0}
    assert (len(study.train), len(study.val)) == (6, 2)
    assert not set(study.train.images.names) & set(study.val.images.names)


def test_images_that_have_nothing_for_the_trainer_stop_before_training(bench):
    with pytest.raises(DataError, match=r"study.yaml: train: no image labels.*It has boxes: try the trainer ssd"):
        load(edit(bench, trainer="finetune", config={}))


def test_arms_of_every_kind(bench):
    (bench.folder / "mine.yaml").write_text("policy: mine\nsteps:\n  - {do: vflip}\n")
    arms = {"none": None, "named": "flip", "file": "mine.yaml", "whole": {"steps": [{"do": "hflip"}], "min_size": 4}}
    study = load(edit(bench, arms=arms))
    assert [step.do for step in study.arms["file"].policy.steps] == ["vflip"]
    assert study.arms["whole"].policy.min_size == 4
    assert study.arms["none"].policy.steps == ()


def test_an_arm_is_a_policy_and_settings(bench):
    arms = {
        "none": {"policy": "flip"},
        "longer": {"config": {"epochs": 3}},
        "both": {"policy": [{"do": "vflip"}], "config": {"epochs": 4, "bonus": 0}},
        "whole": {"policy": {"steps": [], "min_size": 2}, "config": None},
    }
    study = load(edit(bench, arms=arms))
    assert study.arms["longer"].policy == study.arms["none"].policy
    assert {name: arm.config for name, arm in study.arms.items()} == {
        "none": {},
        "longer": {"epochs": 3},
        "both": {"epochs": 4},  # a bonus of 0 is what the study says already
        "whole": {},
    }
    assert study.arms["both"].policy.steps[0].do == "vflip"
    assert study.arms["whole"].policy.min_size == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trainr": "quick"}, "unknown setting 'trainr'. Did you mean 'trainer'?"),
        ({"trainer": "quik"}, "unknown trainer 'quik'. Did you mean 'quick'?"),
        ({"config": {"epoch": 3}}, "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ({"reference": "nine"}, "reference: there is no arm 'nine'. Did you mean 'none'?"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": [1, 1]}, "seeds: expected different numbers"),
        ({"seeds": []}, "seeds: expected different numbers"),
        ({"study": "../up"}, "study: '../up' cannot name a folder"),
        ({"arms": {"none": None, "x": [{"do": "hflop"}]}}, "unknown transform 'hflop'. Did you mean 'hflip'?"),
        ({"arms": {"none": None, "x": "flup"}}, "arms.x: unknown policy 'flup'. Did you mean 'flip'?"),
        (
            {"arms": {"none": None, "x": {"config": {"epoch": 3}}}},
            "arms.x.config: trainer quick: unknown setting 'epoch'",
        ),
        ({"arms": {"none": None, "x": {"config": [1]}}}, "arms.x.config: expected names and values"),
        ({"arms": {"none": None, "x": {"steps": [], "config": {}}}}, "arms.x: steps beside config"),
        ({"split": {"trian": 3}}, "split: unknown setting 'trian'. Did you mean 'train'?"),
        ({"split": {"train": 7, "val": 2}}, "split: val: 2 images asked for, 1 there are"),
        ({"split": {"train": "left", "val": 2}}, "split: unknown split 'left'"),
        ({"dataset": ...}, "dataset"),
    ],
)
def test_mistakes_are_one_clear_line(bench, changes, said):
    with pytest.raises(ConfigError) as caught:
        load(edit(bench, **changes))
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(bench.file))
    assert "\n" not in str(caught.value)


def test_no_yaml(bench):
    bench.file.write_text("study: [unclosed")
    with pytest.raises(ConfigError, match=r"study\.yaml:\d+:\d+: not valid YAML"):
        load(bench.file)


def numbered(splits):
    count = len(splits)
    return Dataset(
        Images.of([str(row) for row in range(count)], splits=splits),
        Categories.of(["a"]),
        Annotations.of(np.arange(count), np.zeros(count, int), np.ones((count, 4))),
    )


def test_split_by_numbers_shares_and_names():
    data = numbered(["train"] * 6 + ["test"] * 4)
    for split, sizes in (
        (Split(train=3, val=5), (3, 5)),
        (Split(train=3), (3, 7)),
        (Split(train=0.5), (5, 5)),
        (Split(train=0.5, val=0.2), (5, 2)),
        (Split(train="train", val="test"), (6, 4)),
        (Split(train="train"), (6, 4)),
        (Split(train="train", val=2), (6, 2)),
    ):
        train, val = divide(data, split)
        assert (len(train), len(val)) == sizes
        assert not set(train.images.names) & set(val.images.names)


def test_split_is_drawn_once_for_a_seed():
    data = numbered([""] * 50)
    first, again, other = (divide(data, Split(train=20, seed=seed))[0].images.names.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_split_refuses_to_measure_on_training_images():
    with pytest.raises(ConfigError, match="not trained on"):
        divide(numbered(["train"] * 3), Split(train="train", val="train"))


def test_default_split():
    assert default_split(numbered(["train", "valid", "test"])) == Split(train="train", val="valid")
    assert default_split(numbered(["", ""])) == Split(train=0.8)
