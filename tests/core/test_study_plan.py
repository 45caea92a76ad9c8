"""The plan: what is missing, and an estimate from real steps of training."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner
from studykit import Bench, installed

from augsuite.commands.study import study as command
from augsuite.commands.study_plan import words
from augsuite.engines import ONE_CORE
from augsuite.study.file import load
from augsuite.study.plan import make_plan, spread
from augsuite.study.scheduler import execute, prepare


@pytest.fixture
def bench(tmp_path, monkeypatch):
    made = Bench(tmp_path, nap_s=0.05)
    monkeypatch.setenv("QUICK_LOG", str(made.log))
    monkeypatch.chdir(tmp_path)
    with installed(made.plugin):
        yield made


def edit(bench, **changes):
    content = yaml.safe_load(bench.file.read_text())
    content["arms"] |= changes.pop("arms", {})
    bench.file.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return load(bench.file)


def test_plan_knows_what_is_done_and_times_the_rest(bench):
    study = edit(bench, config={"nap_s": 0.05, "epochs": 3}, seeds=2)
    before = make_plan(study, bench.out, 2, ONE_CORE, engine="inline")
    # The trainer says how long it took: 0.05 s for each epoch, whatever else the machine does; so 0.15 s a run, four runs.
    assert [(arm.source, arm.missing) for arm in before.arms] == [("timed", 2), ("timed", 2)]
    assert before.arms[1].seconds == pytest.approx(0.15)
    assert (before.runs, before.images) == (4, {"train": 6, "val": 2})
    assert before.seconds == pytest.approx(0.3)
    assert not bench.out.exists()

    state, work = prepare(study, bench.out, place=bench.out)
    assert all(outcome.error is None for outcome in execute(state.runs, work, "inline"))
    failing = {"policy": "raises", "steps": [{"do": "vflip"}]}
    study = edit(bench, arms={"long": {"config": {"epochs": 30}}, "bad": failing, "twin": None})
    plan = make_plan(study, bench.out, 2, ONE_CORE, engine="inline")
    after = {arm.arm: arm for arm in plan.arms}
    assert (after["none"].done, after["none"].source) == (2, "records")
    assert (after["long"].missing, after["long"].seconds) == (2, pytest.approx(1.5))
    assert (after["bad"].seconds, after["bad"].error) == (None, "RuntimeError: the loss is not finite")
    assert after["twin"].done == 2  # another arm's runs answer it
    assert (plan.runs, plan.seconds) == (4, None)


def test_the_command(bench):
    edit(bench, seeds=4)
    answer = CliRunner().invoke(command, ["plan", "study.yaml", "--no-timing", "--workers", "2"])
    assert answer.exit_code == 0, answer.output
    assert "8 runs to train; 6 images trained on, 2 measured on" in answer.stdout
    plain = CliRunner().invoke(command, ["plan", "study.yaml", "--no-timing", "--workers", "2", "--json"])
    assert json.loads(plain.stdout)["arms"][1]["runs"] == 4


def test_spread():
    # Two workers: 5 | 3, then 4 goes to the second, 1 to the first.
    assert spread([5, 3, 4, 1], 2) == 7
    assert spread([], 3) == 0


def test_words():
    assert [words(seconds) for seconds in (45.4, 200, 9000)] == ["45 s", "3 min", "2.5 h"]
