"""Study files to start from, and their JSON Schema, judged by the `jsonschema` library."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from studykit import Bench, installed

from augsuite.commands.study import study as command
from augsuite.config import parse_yaml
from augsuite.errors import ConfigError
from augsuite.study.file import load
from augsuite.study.schema import schema
from augsuite.study.starter import DESIGNS, example

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    with installed(made.plugin):
        yield made


@pytest.fixture(scope="module")
def judge():
    document = schema()
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_example_is_a_study_file():
    content = parse_yaml(example("a 'quoted': name", "pets"), "example")
    assert list(content["arms"]) == ["none", "hflip", "hflip+vflip", "iou_crop", "photometric"]
    assert content["dataset"] == "a 'quoted': name"


@pytest.mark.parametrize("name", ["2019", "true", "null", "pets-2"])
def test_a_name_stays_a_name(bench, name):
    bench.file.write_text(example("pets", name, "quick"))
    assert load(bench.file).name == name


def test_init_takes_no_name_that_a_study_cannot_have(bench):
    with pytest.raises(ConfigError, match=r"--name: '\.\./x' cannot name a folder"):
        CliRunner().invoke(command, ["init", "pets", "--name", "../x"], catch_exceptions=False)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("task", ["detection", "classification"])
def test_every_design_is_a_valid_study(bench, judge, design, task):
    text = example("pets", "mine", "quick", task=task, design=design, seeds=4, epochs=7, split=(5, 3))
    bench.file.write_text(text)
    study = load(bench.file)
    assert len(study.arms) >= 3
    assert (len(study.seeds), study.config["epochs"], len(study.train), len(study.val)) == (4, 7, 5, 3)
    content = yaml.safe_load(text) | {"trainer": "ssd"}
    assert not list(judge.iter_errors(content))
    assert text.startswith("# yaml-language-server: $schema=")


@pytest.mark.parametrize("trainer", ["ssd", "finetune"])
def test_the_comments_of_the_example_stand_in_one_column(trainer):
    lines = [line for line in example("bccd", "bccd", trainer).splitlines() if " # " in line and line[0] not in "# "]
    assert len(lines) >= 6
    assert len({line.index(" # ") for line in lines}) == 1


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "studies").glob("*.yaml")), ids=lambda path: path.name)
def test_our_own_studies_are_valid(judge, path):
    assert not list(judge.iter_errors(yaml.safe_load(path.read_text())))


GOOD = {"study": "a", "dataset": "b", "trainer": "ssd", "arms": {"none": None}}


@pytest.mark.parametrize(
    "changes",
    [
        {"arms": {"none": None, "x": "flip", "y": "mine.yaml", "z": [{"do": "hflip", "p": 0.5}]}},
        {"arms": {"none": None, "x": {"config": {"epochs": 3}}, "y": {"policy": "flip", "config": {"lr": 0.1}}}},
        {"arms": {"rule": "grid", "config": {"lr": [0.1, 0.2]}}},
        {"arms": [{"rule": "factorial", "steps": [{"do": "hflip"}, "flip", [{"do": "blur"}]]}, {"mine": "flip"}]},
        {"arms": {"none": None, "x": [{"do": "albumentations.Blur", "blur_limit": 3}]}},
        {"config": {"epochs": 3}, "split": {"train": 0.8}, "seeds": [1, 4], "workers": "auto"},
    ],
)
def test_the_schema_takes_what_is_valid(judge, changes):
    assert not list(judge.iter_errors(GOOD | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"trainr": "ssd"},
        {"trainer": "sdd"},
        {"arms": {"none": "nune"}},
        {"arms": {"x": [{"do": "hflop"}]}},
        {"arms": {"x": [{"do": "hflip", "p": 2}]}},
        {"arms": {"x": [{"do": "rotate", "max_degrees": 2}]}},
        {"arms": {"rule": "add-two", "steps": []}},
        {"arms": {"rule": "add-one", "step": [{"do": "hflip"}]}},
        {"arms": {"rule": "add-one"}},
        {"config": {"epoch": 3}},
        {"config": {"epochs": 0}},
        {"split": {"trian": 0.8}},
        {"seeds": 0},
    ],
)
def test_the_schema_marks_mistakes(judge, changes):
    assert list(judge.iter_errors(GOOD | changes))


def call(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def test_init_writes_a_file_and_its_schema(bench, monkeypatch):
    monkeypatch.chdir(bench.folder)
    out = bench.folder / "deep" / "study.yaml"
    answer = call("init", "pets", "--trainer", "quick", "--design", "factorial", "--seeds", 2, "-o", out)
    assert answer.exit_code == 0, answer.output
    study = load(out)  # the dataset is found from the file's folder
    assert (study.name, study.seeds, study.designs[0].rule) == ("pets", (0, 1), "factorial")
    document = yaml.safe_load((out.parent / "study.schema.json").read_text())
    assert "quick" in document["properties"]["trainer"]["enum"]
    with pytest.raises(ConfigError, match="is there already"):
        call("init", "pets", "--trainer", "quick", "-o", out)


def test_init_asks_nothing_without_a_terminal_and_finds_a_trainer(bench, monkeypatch):
    monkeypatch.chdir(bench.folder)
    answer = call("init", "pets")
    assert answer.exit_code == 0
    assert yaml.safe_load(answer.stdout)["trainer"] == "ssd"  # it has boxes


def test_init_asks_on_a_terminal(bench):
    ours, theirs = pty.openpty()
    # A terminal keeps the lines until they are read: name, trainer, design, seeds, epochs, file.
    os.write(ours, b"mine\nquick\n\n5\n\n\n")
    done = subprocess.run(
        bench.command("study", "init", "pets"),
        cwd=bench.folder,
        env=bench.environment(),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        timeout=120,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    study = load(bench.folder / "mine.yaml")
    assert (study.name, study.trainer, len(study.seeds), study.designs[0].rule) == ("mine", "quick", 5, "add-one")
