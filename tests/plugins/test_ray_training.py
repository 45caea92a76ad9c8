"""Training on a real Ray cluster of two processes, beside one process that has the same batches to itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from trainingkit import FINETUNE, SSD, STEPS, labelled, pictures

import augsuite
from augsuite.augment.policies import policy
from augsuite.errors import AugsuiteError, ConfigError, DataError
from augsuite.study.session import train_once
from augsuite.study.together import Training, train_together
from augsuite.training import processes

ray = pytest.importorskip("ray", reason="ray is not installed")

TOGETHER = {**SSD, "sync_batch_norm": True, "optimizer": "sgd", "lr": 1e-3}
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="kills processes as Linux does"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of its next version
]


@pytest.fixture(scope="module")
def cluster():
    """One with room for three processes, on this machine."""
    from ray import cloudpickle

    from augsuite_ray.cluster import connect

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test
    connect(3)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    pictures(folder / "boxes")
    labelled(folder / "names")
    return folder


class Watcher:
    """Keeps what is shown."""

    def __init__(self):
        self.losses, self.lines = [], []

    def __call__(self, epoch, epochs, values):
        del epoch, epochs
        self.losses.append(values["loss"])

    def pulse(self, *_):
        pass

    def say(self, line):
        self.lines.append(line)


def asked(root, folder, trainer="ssd", config=TOGETHER):
    data = augsuite.read(root / ("boxes" if trainer == "ssd" else "names"))
    return Training(trainer, config, data, data, policy(STEPS), 1, folder, ("files",), 0, 0)


def alone(run, folder):
    """The same run in this process."""
    watcher = Watcher()
    record = train_once(
        run.trainer, run.config, run.train, run.val, run.policy, run.seed, folder, run.trackers, progress=watcher
    )
    return record, watcher.losses


@dataclass(frozen=True)
class Both:
    """Two trainings, one after the other, in the same processes: starting these takes most of the time."""

    first: Training
    second: Training

    def __call__(self, tell):
        return self.first(tell), self.second(lambda message: tell((*message, 2)))


@pytest.fixture(scope="module")
def together(root, cluster, tmp_path_factory):
    """What a detector and a classifier came to in two processes, and in this one."""
    del cluster
    from augsuite_ray.together import run as run_together

    folder = tmp_path_factory.mktemp("together")
    runs = [
        asked(root, folder / "ssd", "ssd", TOGETHER),
        asked(root, folder / "finetune", "finetune", {**FINETUNE, "model": "lenet"}),
    ]
    told = []
    records = run_together(Both(*runs), 2, gpus=False, scratch=folder, hears=told.append)
    losses = [[each[3]["loss"] for each in told if each[0] == "epoch" and len(each) == length] for length in (4, 5)]
    return {
        run.trainer: (run, record, loss, *alone(run, folder / f"{run.trainer}-alone"))
        for run, record, loss in zip(runs, records, losses, strict=True)
    }


@pytest.mark.parametrize("trainer", ["ssd", "finetune"])
def test_two_processes_of_a_cluster_compute_what_one_does(together, trainer):
    """Nine pictures in batches of four; tolerances as for two processes of torchrun."""
    run, record, losses, judge, wanted = together[trainer]
    assert losses == pytest.approx(wanted, rel=1e-3)
    assert record.metrics == {name: pytest.approx(value, rel=1e-3, abs=1e-6) for name, value in judge.metrics.items()}
    assert record.images == judge.images == 18
    folders = [run.folder, run.folder.with_name(f"{trainer}-alone")]
    weights = [torch.load(folder / "model.pt", weights_only=True)["state"] for folder in folders]
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[0][name], value, rtol=1e-2, atol=1e-3)
    left = [{path.name for path in folder.iterdir()} for folder in folders]
    assert left[0] == left[1], "the same files, and none of Ray's"
    said = [json.loads((folder / "run.json").read_text()) for folder in folders]
    assert {**said[0], "code": 0} == {**said[1], "code": 0}


@dataclass(frozen=True)
class Dies:
    """A training whose second process is killed as soon as there is a checkpoint, once or each time."""

    run: Training
    marker: Path
    always: bool = False

    @property
    def config(self):
        return self.run.config

    @property
    def folder(self):
        return self.run.folder

    def __call__(self, tell):
        def kill():
            while not (self.run.folder / "checkpoint.pt").exists():
                time.sleep(0.01)
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

        if processes.rank() == 1 and (self.always or not self.marker.exists()):
            threading.Thread(target=kill, daemon=True).start()
        return self.run(tell)


UNINTERRUPTED = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import augsuite
from augsuite.augment.policies import policy
from augsuite.study.session import train_once
config, data, steps, folder = json.loads(sys.argv[1]), augsuite.read(sys.argv[2]), json.loads(sys.argv[3]), Path(sys.argv[4])
train_once("ssd", config, data, data, policy(steps), 1, folder, ("files",))
"""


def by_torchrun(config, data, folder):
    """The losses of two processes that nobody interrupts. One process rounds otherwise, which training amplifies."""
    (folder / "judge.py").write_text(UNINTERRUPTED)
    words = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        folder / "judge.py",
    ]
    words += [json.dumps(config), data, json.dumps(STEPS), folder / "judge"]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, timeout=500,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line)["loss"] for line in (folder / "judge" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("cluster")
def test_a_process_that_is_killed_costs_what_came_after_the_checkpoint(root, tmp_path):
    config = {**TOGETHER, "epochs": 8, "lr": 1e-4, "checkpoint_s": 0.0}
    run = asked(root, tmp_path / "both", config=config)
    watcher = Watcher()
    record = train_together(Dies(run, tmp_path / "killed"), "ray", 2, watcher)
    assert (tmp_path / "killed").exists()
    assert any("a training process was lost" in line and "attempt 2 of 4" in line for line in watcher.lines)
    assert any("goes on" in line or "going on" in line for line in watcher.lines), watcher.lines
    losses = by_torchrun(config, root / "boxes", tmp_path)
    assert record.images == 8 * 9
    told = [json.loads(line) for line in (tmp_path / "both" / "metrics.jsonl").read_text().splitlines()]
    assert [each["step"] for each in told] == list(range(1, 9)), "no epoch is missing, none stands there twice"
    assert [each["loss"] for each in told] == pytest.approx(losses, rel=1e-5)
    assert not list((tmp_path / "both").glob(".*"))


@pytest.mark.usefixtures("cluster")
def test_an_error_of_the_job_ends_it_at_once(root, tmp_path):
    run = asked(root, tmp_path / "run")
    empty = replace(run, train=run.train.take([]))
    watcher = Watcher()
    with pytest.raises(DataError, match="train: no images"):
        train_together(empty, "ray", 2, watcher)
    assert watcher.lines == [], "nothing was tried again"


@pytest.mark.usefixtures("cluster")
def test_more_processes_than_room(root, tmp_path):
    with pytest.raises(ConfigError, match="cores for 1000 processes"):
        train_together(asked(root, tmp_path / "run"), "ray", 1000, Watcher())


def test_an_engine_that_cannot(root, tmp_path):
    with pytest.raises(ConfigError, match=r"the engine inline does not train in several processes.*torchrun"):
        train_together(asked(root, tmp_path / "run"), "inline", 2, Watcher())


def command(root, folder, *more, **settings):
    """It starts a cluster of its own."""
    pairs = [part for name, value in {**TOGETHER, **settings}.items() for part in ("--set", f"{name}={value}")]
    words = ["train", "ssd", root / "boxes", "--split", "5:4", "-o", folder, *pairs]
    return [sys.executable, "-m", "augsuite", *map(str, [*words, "--engine", "ray", *more])]


@pytest.mark.slow
def test_the_command_prints_one_result_and_shows_its_epochs(root, tmp_path):
    done = subprocess.run(
        command(root, tmp_path / "run", "--json"), capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["metrics"] == json.loads((tmp_path / "run" / "record.json").read_text())["metrics"]
    assert len(re.findall(r"epoch 2/2", done.stderr)) == 1
    assert all(line.startswith(("train: 5 images", "epoch ")) for line in done.stderr.splitlines()), done.stderr


@pytest.mark.slow
def test_an_interrupted_command_ends_its_processes_and_can_be_given_again(root, tmp_path):
    words = command(root, tmp_path / "run", epochs=400, checkpoint_s=0.0)
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        until = time.monotonic() + 400
        while not (tmp_path / "run" / "checkpoint.pt").exists():
            assert running.poll() is None, running.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=300)
    assert running.returncode in {1, 130}, said
    assert "The same command goes on from the last checkpoint" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "run").glob(".ray*"))
    assert not (tmp_path / "run" / "record.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_processes_that_are_lost_again_and_again(root, tmp_path):
    config = {**TOGETHER, "epochs": 500, "checkpoint_s": 0.0}
    run = asked(root, tmp_path / "run", config=config)
    with pytest.raises(AugsuiteError, match="were lost 4 times") as caught:
        train_together(Dies(run, tmp_path / "killed", always=True), "ray", 2, Watcher())
    assert "\n" not in str(caught.value)
