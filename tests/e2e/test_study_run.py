"""`augsuite study run` as a user starts, kills, restarts and reads it; with a trainer of milliseconds in real processes."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from scipy import stats
from studykit import Bench

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def wait_for(what, seconds=60.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen in time")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid):
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def noisy(bench):
    """A study whose arm differs from seed to seed: half of the pictures are mirrored, which ones depends on the seed."""
    bench.file.write_text(bench.file.read_text().replace("p: 1.0", "p: 0.5"))


def test_table_report_and_show_agree_with_a_hand_computation(tmp_path):
    bench = Bench(tmp_path)
    noisy(bench)
    done = bench.call("study", "run", "study.yaml", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert bench.trained() == sorted(f"{arm} {seed}" for arm in ("none", "hflip") for seed in range(3))
    assert {line.split()[3] for line in bench.log.read_text().splitlines()} == {"1"}  # threads of each worker

    state = bench.state()
    values = {"none": [], "hflip": []}
    for run in sorted(state["runs"], key=lambda run: run["seed"]):
        record = json.loads((bench.store / "runs" / run["digest"] / "record.json").read_text())
        values[run["arm"]].append(record["metrics"]["AP"])
    judged = stats.ttest_rel(values["hflip"], values["none"])
    low, high = judged.confidence_interval(0.95)
    mean = sum(values["hflip"]) / 3 - sum(values["none"]) / 3
    line = next(line for line in done.stdout.splitlines() if line.startswith("hflip"))
    assert f"{sum(values['hflip']) / 3:.1f}" in line
    assert f"{mean:+.1f} [{low:.1f}, {high:.1f}]" in line
    assert ("helps" in line) == (judged.pvalue < 0.05)

    shown = bench.invoke("study", "show", "studies/quick")
    assert shown.stdout == done.stdout
    as_json = json.loads(bench.invoke("study", "show", "studies/quick", "--json").stdout)
    assert as_json["arms"][1]["effect"]["p"] == pytest.approx(judged.pvalue)
    report = json.loads((bench.out / "report.json").read_text())  # which says more: in words, and on what machine
    assert as_json == {name: report[name] for name in as_json}


def test_a_second_start_trains_nothing(tmp_path):
    bench = Bench(tmp_path)
    bench.invoke("study", "run", "study.yaml", "--engine", "inline")
    before = bench.records()
    again = bench.invoke("study", "run", "study.yaml", "--engine", "inline")
    assert again.returncode == 0
    assert again.stderr.count("found") == 6
    assert (bench.records(), len(bench.trained())) == (before, 6)


@linux
def test_killed_and_started_again_it_continues(tmp_path):
    bench = Bench(tmp_path, nap_s=0.4)
    started = subprocess.Popen(
        bench.command("study", "run", "study.yaml", "--workers", "2"),
        cwd=bench.folder,
        env=bench.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len(bench.records()) >= 2)
    workers = children(started.pid)
    assert len(workers) >= 2
    started.send_signal(signal.SIGKILL)
    started.wait()
    before = bench.records()
    assert 2 <= len(before) < 6
    wait_for(lambda: not any(map(alive, workers)))
    finished = bench.records()  # a worker may have been writing its record as the parent died
    trained = len(bench.trained())

    again = bench.call("study", "run", "study.yaml", "--workers", "2")
    assert again.returncode == 0, again.stderr
    after = bench.records()
    assert len(after) == 6
    assert {name: after[name] for name in before} == before
    assert len(bench.trained()) == trained + 6 - len(finished)
    assert not list(bench.store.glob("runs/*/.*"))


@linux
def test_killed_at_random_moments_nothing_is_lost_and_nothing_trained_twice(tmp_path):
    bench = Bench(tmp_path, nap_s=0.1)
    moments = random.Random(20)
    complete: dict[str, int] = {}
    starts: dict[str, int] = {}  # of the complete runs: how often each was begun
    for _ in range(4):
        started = subprocess.Popen(
            bench.command("study", "run", "study.yaml", "--workers", "2"),
            cwd=bench.folder,
            env=bench.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        lines = bench.log.read_text().count("\n")
        # From its first training on: before, there is nothing to lose.
        wait_for(lambda run=started, then=lines: bench.log.read_text().count("\n") > then or run.poll() is not None)
        time.sleep(moments.uniform(0, 0.5))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)  # workers and all
        started.wait()
        now = bench.records()
        assert {name: now[name] for name in complete} == complete
        complete = now
        names = {run["digest"]: f"{run['arm']} {run['seed']}" for run in bench.state()["runs"]}
        starts = {names[digest]: bench.trained().count(names[digest]) for digest in complete}
    assert complete
    done = bench.call("study", "run", "study.yaml", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert {name: bench.records()[name] for name in complete} == complete
    assert len(bench.records()) == 6
    assert {name: bench.trained().count(name) for name in starts} == starts
    assert [path.name for path in bench.store.glob("runs/*/.*")] == []
    with sqlite3.connect(bench.store / "runs.sqlite") as rows:
        assert rows.execute("SELECT DISTINCT status, count(*) FROM runs").fetchall() == [("done", 6)]
    rows.close()


def test_two_studies_share_the_runs_that_they_have_in_common(tmp_path):
    bench = Bench(tmp_path)
    assert bench.invoke("study", "run", "study.yaml", "--engine", "inline").returncode == 0
    other = bench.folder / "other.yaml"
    text = bench.file.read_text().replace("study: quick", "study: other").replace("  none: none", "  plain: none")
    other.write_text(f"{text}reference: plain\n".replace("hflip: [{do: hflip, p: 1.0}]", "vflip: [{do: vflip}]"))
    done = bench.invoke("study", "run", "other.yaml", "--engine", "inline")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("found") == 3
    assert len(bench.trained()) == 9

    # All of it is a folder that can be copied, and its own store is another.
    shutil.copytree(bench.folder / "studies", tmp_path / "copy")
    shutil.rmtree(bench.folder / "studies")
    assert (
        bench.invoke("study", "show", str(tmp_path / "copy" / "other")).stdout
        == done.stdout.rpartition("report:")[0]
        + f"report: {tmp_path / 'copy' / 'other' / 'report.html'}\nlook: augsuite view {tmp_path / 'copy' / 'other'}\n"
    )
    again = bench.invoke("study", "run", "study.yaml", "--out", "alone", "--engine", "inline")
    assert again.returncode == 0
    assert len(list((bench.folder / "alone").glob("runs/*/record.json"))) == 6
    assert len(bench.trained()) == 15


def test_seeds_are_added_until_the_answer_is_clear_or_there_are_enough(tmp_path):
    bench = Bench(tmp_path)
    noisy(bench)
    done = bench.invoke("study", "run", "study.yaml", "--engine", "inline", "--until", "0.0001", "--max-seeds", "5")
    assert done.returncode == 0, done.stderr
    arm = json.loads((bench.out / "report.json").read_text())["arms"][1]
    asked = {name: [run["seed"] for run in bench.state()["runs"] if run["arm"] == name] for name in ("none", "hflip")}
    assert asked["none"] == asked["hflip"] == sorted(asked["none"])
    assert bench.trained() == sorted(f"{name} {seed}" for name, seeds in asked.items() for seed in seeds)
    if arm["effect"]["verdict"] not in {"helps", "hurts"}:
        assert asked["none"] == [0, 1, 2, 3, 4]
    assert arm["effect"]["sequential"] is True

    # Without it, the seeds of the file; what was seen of the others keeps the intervals that allow for looking.
    again = bench.invoke("study", "run", "study.yaml", "--engine", "inline")
    assert again.returncode == 0
    assert [run["seed"] for run in bench.state()["runs"]] == [0, 0, 1, 1, 2, 2]
    assert bench.state()["until"] == 0.0001


def test_a_failing_arm_is_a_row_not_the_end(tmp_path):
    bench = Bench(tmp_path)
    arms = "  raises: [{do: hflip}, {do: vflip}]\n  dies: [{do: vflip}]\n  nan: [{do: vflip, p: 0.7}]\n"
    bench.file.write_text(bench.file.read_text() + arms)
    done = bench.call("study", "run", "study.yaml", "--workers", "2")
    assert done.returncode == 1
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "3 failed" in lines["raises"]
    assert "3 failed" in lines["dies"]
    assert "+" in lines["hflip"]
    assert "no runs to compare" in lines["nan"]  # trained, but without a value
    assert "chatter" not in done.stdout
    assert "failed: raises, seed 0: RuntimeError: the loss is not finite" in done.stderr
    assert "SIGKILL" in done.stderr
    assert len(bench.records()) == 9
    errors = [path.read_text() for path in bench.store.glob("runs/*/error.txt")]
    assert any("Traceback" in text and "quick_trainer.py" in text for text in errors)

    again = bench.call("study", "run", "study.yaml", "--workers", "2")
    assert (again.returncode, again.stdout) == (1, done.stdout)
    assert again.stderr.count("failed before") == 6
    assert len(bench.trained()) == 9

    # One of the three failures goes away by itself: what was killed for want of memory, say.
    bench.calm.touch()
    third = bench.call("study", "run", "study.yaml", "--workers", "2", "--retry-failed")
    assert third.returncode == 1
    assert "3 failed" not in next(line for line in third.stdout.splitlines() if line.startswith("dies"))
    assert len(bench.trained()) == 12  # those that died; what raised raises again, what is complete is left alone


def test_two_processes_share_a_folder_and_train_nothing_twice(tmp_path):
    bench = Bench(tmp_path, nap_s=0.3)
    both = [
        subprocess.Popen(
            bench.command("study", "run", "study.yaml", "--workers", "2", "--json"),
            cwd=bench.folder,
            env=bench.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert bench.trained() == sorted(f"{arm} {seed}" for arm in ("none", "hflip") for seed in range(3))
    first, second = (json.loads(answer[0]) for answer in answers)
    assert first["arms"] == second["arms"]


def test_a_locked_run_waits_for_its_owner(tmp_path):
    bench = Bench(tmp_path)
    bench.invoke("study", "run", "study.yaml", "--engine", "inline")
    state = bench.state()
    digest = state["runs"][0]["digest"]
    record = bench.store / "runs" / digest / "record.json"
    content = record.read_bytes()
    record.unlink()
    with FileLock(bench.store / "runs" / f"{digest}.lock"):
        started = subprocess.Popen(
            bench.command("study", "run", "study.yaml"),
            cwd=bench.folder,
            env=bench.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(6)
        record.write_bytes(content)  # the owner finished
    assert started.wait(60) == 0
    assert len(bench.trained()) == 6


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path):
    first, second = Bench(tmp_path / "a"), Bench(tmp_path / "b")
    for bench, workers in ((first, "1"), (second, "3")):
        noisy(bench)
        assert bench.call("study", "run", "study.yaml", "--workers", workers).returncode == 0
    values = [
        {path.parent.name: json.loads(path.read_text())["metrics"] for path in bench.store.glob("runs/*/record.json")}
        for bench in (first, second)
    ]
    assert values[0] == values[1]


def test_mistakes_end_with_one_line_and_status_2(tmp_path):
    bench = Bench(tmp_path)
    for arguments, said in (
        (("study", "run", "nowhere.yaml"), "no such file"),
        (("study", "show", "nowhere"), "no study there"),
        (("study", "run", "study.yaml", "--engine", "locl"), "Did you mean 'local'?"),
        (("study", "init", "pets", "--trainer", "quik"), "Did you mean 'quick'?"),
    ):
        done = bench.invoke(*arguments)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (bench.folder / "studies").exists()


def test_init_prints_a_file_that_loads(tmp_path):
    bench = Bench(tmp_path)
    printed = bench.invoke("study", "init", "pets", "--trainer", "quick")
    assert printed.returncode == 0
    bench.file.write_text(printed.stdout.replace("seeds: 3", "seeds: 2"))
    done = bench.invoke("study", "run", "study.yaml", "--out", "results", "--engine", "inline")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^photometric .*", done.stdout, re.MULTILINE)
    assert (bench.folder / "results" / "report.html").exists()
