"""Studies where the answer is known: one policy twice, and the arithmetic of `bench/known_truth.py` against SciPy's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats
from studykit import Bench

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 14
ARMS = """\
reference: a
arms:
  a: [{do: hflip, p: 0.5, id: one}]
  b: [{do: hflip, p: 0.5, id: two}]
  a again: [{do: hflip, p: 0.5, id: one}]
"""


@pytest.fixture(scope="module")
def known_truth():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        import known_truth

        yield known_truth


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One policy twice, with draws of its own each, under a trainer of milliseconds: what its numbers depend on are the draws."""
    made = Bench(tmp_path_factory.mktemp("same"))
    text = made.file.read_text().replace("seeds: 3", f"seeds: {SEEDS}")
    made.file.write_text(text.partition("arms:")[0] + ARMS)
    done = made.invoke("study", "run", "study.yaml", "--engine", "inline")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def found(bench, known_truth):
    return known_truth.read(bench.out)


def records(bench, arm):
    """Seed -> record, from the files themselves."""
    folders = {run["seed"]: bench.store / "runs" / run["digest"] for run in bench.state()["runs"] if run["arm"] == arm}
    return {seed: json.loads((folder / "record.json").read_text()) for seed, folder in folders.items()}


def column(bench, arm, metric="AP"):
    found = records(bench, arm)
    return np.array([found[seed]["metrics"][metric] for seed in range(SEEDS)])


def test_draws_are_shared_by_ids_alone(bench):
    report = {arm["arm"]: arm for arm in json.loads((bench.out / "report.json").read_text())["arms"]}
    assert report["a again"]["effect"]["verdict"] == "identical"
    assert report["b"]["effect"]["verdict"] != "identical"
    assert len(bench.trained()) == 2 * SEEDS  # the third arm comes to the runs of the first


def test_a_long_study_is_cut_into_studies_that_share_no_run(bench, found, known_truth):
    a, b = column(bench, "a"), column(bench, "b")
    rows = known_truth.false_claims({"aa-labels": found})
    for each, row in zip((3, 5), (row for row in rows if row["study"] == "aa-labels"), strict=True):
        groups = [slice(at, at + each) for at in range(0, SEEDS - each + 1, each)]
        tests = [stats.ttest_rel(b[group], a[group]) for group in groups]
        held = [test.confidence_interval(0.95) for test in tests]
        assert (row["seeds"], row["studies"]) == (each, len(groups))
        assert row["claimed"] == sum(test.pvalue < 0.05 for test in tests)
        assert row["coverage"]["share"] == pytest.approx(sum(low <= 0 <= high for low, high in held) / len(held))
    assert [row["studies"] for row in rows if row["study"] == "together"] == [4, 2]


def test_a_share_comes_with_its_exact_interval(known_truth):
    # 0 of 20: the upper end solves (1 - p)^20 = 0.025.
    assert known_truth.share(0, 20) == pytest.approx({"share": 0, "low": 0, "high": 1 - 0.025 ** (1 / 20)})


def test_what_pairing_gains(bench, found, known_truth):
    a, b = column(bench, "a"), column(bench, "b")
    row = next(row for row in known_truth.pairing({"same": found}) if row["arm"] == "b")
    paired = stats.ttest_rel(b, a).confidence_interval(0.95)
    alone = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert row["width_ratio"] == pytest.approx((alone.high - alone.low) / (paired.high - paired.low))
    assert row["noise_ratio"] == pytest.approx(np.sqrt(a.var(ddof=1) + b.var(ddof=1)) / (b - a).std(ddof=1))
    assert row["width_ratio"] > 1  # this trainer adds the seed to its number: all of that cancels


def test_effects_over_the_training(bench, found, known_truth):
    rows = [row for row in known_truth.over_training(found) if row["arm"] == "b"]
    assert [row["epoch"] for row in rows] == [1, 2]
    # What this trainer logs in its last epoch is its number without the seed, which cancels between partners.
    assert rows[-1]["effect"] == pytest.approx((column(bench, "b") - column(bench, "a")).mean())


@pytest.mark.parametrize(("sign", "verdict"), [(1, "helps"), (-1, "hurts"), (0, "not shown")])
def test_a_sign_must_be_the_known_one(known_truth, monkeypatch, sign, verdict):
    base = {0: 50.0, 1: 52.0, 2: 47.0}
    moved = {seed: value + 10 * sign + (-0.5, 0.0, 0.5)[seed] for seed, value in base.items()}
    study = known_truth.Finished("AP", "none", {"AP": {"none": base, "arm": moved}}, {})
    for claim in (1, -1, 0):
        monkeypatch.setattr(known_truth, "TRUTHS", (known_truth.Truth("s", "arm", claim, "by hand"),))
        (row,) = known_truth.signs({"s": study})
        assert row["verdict"] == verdict
        assert row["effect"] == pytest.approx(10 * sign)
        assert row["found"] == (claim == sign)


def test_every_study_that_is_judged_has_its_file(known_truth):
    for name in known_truth.STUDIES:
        asked = yaml.safe_load((ROOT / "docs" / "studies" / f"{name}.yaml").read_text())
        assert asked["study"] == name
        for truth in known_truth.TRUTHS:
            assert truth.study != name or truth.arm in asked["arms"]
    for name in known_truth.SAME:
        asked = yaml.safe_load((ROOT / "docs" / "studies" / f"{name}.yaml").read_text())
        plain, ids = {}, {}
        for arm, steps in asked["arms"].items():
            ids[arm] = {step["id"] for step in steps}
            plain[arm] = [{key: value for key, value in step.items() if key != "id"} for step in steps]
        one, two = asked["arms"]
        assert plain[one] == plain[two]
        assert not ids[one] & ids[two]
        assert asked["seeds"] >= 3 * 10


@pytest.mark.slow
def test_a_real_training_is_the_same_again_and_another_with_draws_of_its_own(tmp_path):
    """Two stores, so that nothing is found: the same seed and the same draws give the same weights to the last bit."""
    asked = yaml.safe_load((ROOT / "docs" / "studies" / "aa-detection.yaml").read_text())
    asked |= {"dataset": str(ROOT / "datasets" / "shelf"), "split": {"train": 12, "val": 8}, "seeds": 1}
    asked["config"] |= {"epochs": 2}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(asked))
    weights = []
    for out in ("first", "second"):
        command = [sys.executable, "-m", "augsuite", "study", "run", "study.yaml", "--out", out, "--engine", "inline"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr
        runs = json.loads((tmp_path / out / "study.json").read_text())["runs"]
        folders = {run["arm"]: tmp_path / out / "runs" / run["digest"] for run in runs}
        weights.append({arm: (folder / "model.pt").read_bytes() for arm, folder in folders.items()})
    assert weights[0] == weights[1]
    assert weights[0]["a"] != weights[0]["b"]
