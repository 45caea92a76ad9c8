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
def cluster(address):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test


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
class Several:
    """Trainings one after the other in the same processes, and at last one that fails: starting processes takes most of the time."""

    runs: list[Training]

    def __call__(self, tell):
        for number, run in enumerate(self.runs):
            run(lambda message, number=number: tell((number, *message)))


LONG = {**TOGETHER, "epochs": 8, "lr": 1e-4}


@pytest.fixture(scope="module")
def together(root, cluster, tmp_path_factory):
    """What some trainings came to in two processes: folder -> run, record, losses; and how the last of them failed."""
    del cluster
    from augsuite_ray.together import run as run_together

    folder = tmp_path_factory.mktemp("together")
    runs = [
        asked(root, folder / "ssd", "ssd", TOGETHER),
        asked(root, folder / "finetune", "finetune", {**FINETUNE, "model": "lenet"}),
        asked(root, folder / "long", "ssd", LONG),
    ]
    empty = replace(runs[0], train=runs[0].train.take([]), folder=folder / "empty")
    told = []
    with pytest.raises(AugsuiteError) as error:
        run_together(Several([*runs, empty]), 2, gpus=False, scratch=folder, hears=told.append)
    found = {}
    for number, run in enumerate(runs):
        losses = [each[4]["loss"] for each in told if each[:2] == (number, "epoch")]
        found[run.folder.name] = run, json.loads((run.folder / "record.json").read_text()), losses
    return {**found, "error": error.value, "lines": [each for each in told if isinstance(each, str)]}


@pytest.mark.parametrize("trainer", ["ssd", "finetune"])
def test_two_processes_of_a_cluster_compute_what_one_does(together, trainer, tmp_path):
    """Nine pictures in batches of four; tolerances as for two processes of torchrun."""
    run, record, losses = together[trainer]
    folders = [run.folder, tmp_path / "alone"]
    judge, wanted = alone(run, folders[1])
    assert losses == pytest.approx(wanted, rel=1e-3)
    assert record["metrics"] == {
        name: pytest.approx(value, rel=1e-3, abs=1e-6) for name, value in judge.metrics.items()
    }
    assert record["images"] == judge.images == 18
    weights = [torch.load(folder / "model.pt", weights_only=True)["state"] for folder in folders]
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[0][name], value, rtol=1e-2, atol=1e-3)
    left = [{path.name for path in folder.iterdir()} for folder in folders]
    assert left[0] == left[1], "the same files, and none of Ray's"
    said = [json.loads((folder / "run.json").read_text()) for folder in folders]
    assert {**said[0], "code": 0} == {**said[1], "code": 0}


@dataclass(frozen=True)
class Dies:
    """A training whose second process is killed, once or each time, while the first waits after its third epoch."""

    run: Training
    marker: Path
    always: bool = False

    @property
    def config(self):
        return self.run.config

    @property
    def folder(self):
        return self.run.folder

    @property
    def killed(self):
        return self.marker.with_suffix(".killed")

    def __call__(self, tell):
        def kill():
            while not self.marker.exists():
                time.sleep(0.01)
            self.killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

        def tell_and_wait(message):
            tell(message)
            if message[:2] == ("epoch", 3):
                self.marker.touch()
                time.sleep(300)  # Ray ends it

        first = not self.killed.exists()
        if processes.rank() == 1 and (self.always or first):
            threading.Thread(target=kill, daemon=True).start()
        return self.run(tell_and_wait if first else tell)


def test_a_process_that_is_killed_costs_what_came_after_the_checkpoint(together, root, tmp_path):
    """Beside two processes that nobody killed: one process rounds otherwise, which training amplifies."""
    run = asked(root, tmp_path / "both", config={**LONG, "checkpoint_s": 0.0})
    watcher = Watcher()
    record = train_together(Dies(run, tmp_path / "marker"), "ray", 2, watcher)
    assert any("a training process was lost" in line and "attempt 2 of 4" in line for line in watcher.lines)
    assert any("goes on" in line or "going on" in line for line in watcher.lines), watcher.lines
    losses = together["long"][2]
    assert len(losses) == 8
    assert record.images == 8 * 9
    told = [json.loads(line) for line in (tmp_path / "both" / "metrics.jsonl").read_text().splitlines()]
    assert [each["step"] for each in told] == list(range(1, 9)), "no epoch is missing, none stands there twice"
    assert [each["loss"] for each in told] == pytest.approx(losses, rel=1e-5)
    assert not list((tmp_path / "both").glob(".*"))


def test_an_error_of_the_job_ends_it_at_once(together):
    assert type(together["error"]) is DataError
    assert "train: no images" in str(together["error"])
    assert together["lines"] == [], "nothing was tried again"


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
    assert not list(Path("/tmp/ray").glob(f"session_*_{running.pid}")), "what its cluster logged"
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
        train_together(Dies(run, tmp_path / "marker", always=True), "ray", 2, Watcher())
    assert "\n" not in str(caught.value)
