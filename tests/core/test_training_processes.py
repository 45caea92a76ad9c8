"""Real processes: two that train together, and some that are killed."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from trainingkit import FINETUNE, SSD, STEPS, labelled, pictures, together

import augsuite
from augsuite.augment.policies import policy
from augsuite.study.session import train_once
from augsuite.training.shares import interleaved, share_of

KIT = Path(__file__).resolve().parents[1] / "trainingkit.py"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def call(*arguments):
    """Run a program to its end; one thread each, as several share the cores."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [str(part) for part in arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Nine pictures: with batches of four the last one has fewer images than there are processes."""
    folder = tmp_path_factory.mktemp("together")
    pictures(folder / "boxes")
    labelled(folder / "names")
    return folder


@pytest.fixture(scope="module")
def results(root):
    with warnings.catch_warnings(action="ignore"):
        together(root)
    said = call(*TORCHRUN, KIT, "together", root)
    (root / "stdout").write_text(said.stdout)
    (root / "stderr").write_text(said.stderr)
    return [torch.load(root / f"world-{world}.pt", weights_only=True) for world in (1, 2)]


@pytest.mark.parametrize("case", ["plain", "accumulated", "sync", "ssd ", "finetune lenet", "finetune resnet18"])
def test_two_processes_compute_what_one_does(results, case):
    """Without batch norm, or with it over all processes: the same losses, weights and metrics but for rounding."""
    (alone, first), (both, second) = (result[case] for result in results)
    assert both == pytest.approx(alone, rel=1e-3)
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(second[name], value, rtol=1e-2, atol=1e-3)
        else:
            assert second[name] == pytest.approx(value, rel=1e-3, abs=1e-6)


def test_batch_norm_of_one_s_own_images_differs(results):
    """Why there is a setting: each process's statistics are those of its share."""
    (alone, _), (both, _) = (result["own"] for result in results)
    assert both != pytest.approx(alone, rel=1e-3)


@pytest.mark.usefixtures("results")
def test_a_layer_over_two_processes_is_torch_s_own_over_one(root):
    """Forward, gradients and running statistics, shares of five images and one, then of six and none that counts."""
    for case in ("uneven", "borrowed"):
        got = torch.load(root / f"layer-{case}.pt", weights_only=True)
        judge = nn.BatchNorm2d(3)
        with torch.no_grad():
            judge.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        images = got["images"].requires_grad_()
        outputs = judge(images)
        (outputs * got["slopes"]).sum().backward()
        torch.testing.assert_close(got["outputs"], outputs.detach())
        torch.testing.assert_close(got["gradient"], images.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(got["weight"], judge.weight.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(got["bias"], judge.bias.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(got["mean"], judge.running_mean)
        torch.testing.assert_close(got["variance"], judge.running_var)


@pytest.mark.usefixtures("results")
def test_the_command_in_two_processes_writes_and_says_everything_once(root):
    printed = json.loads((root / "stdout").read_text())
    record = json.loads((root / "run" / "record.json").read_text())
    assert printed["metrics"] == record["metrics"]
    assert record["images"] == 10
    assert (root / "stderr").read_text().count("train: 5 images") == 1
    lines = (root / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    names = {path.name for path in (root / "run").iterdir()}
    assert {"run.json", "record.json", "metrics.jsonl", "model.pt", "predictions.json"} <= names
    assert not [name for name in names if name.startswith(".")], "nobody left a part of a file"


@pytest.mark.parametrize(
    ("trainer", "config"),
    [
        ("ssd", {**SSD, "epochs": 6, "ema": 0.9, "evaluate_every": 2, "patience": 9, "checkpoint_s": 0.0}),
        ("finetune", {**FINETUNE, "epochs": 4, "clip_norm": 1.0, "accumulate": 2, "checkpoint_s": 0.0}),
    ],
)
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(root, tmp_path, trainer, config):
    """Augmentation and (in finetune's network) dropout on; weights, curves and predictions."""
    for name in ("boxes", "names"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / f"{trainer}.json").write_text(json.dumps(config))
    call(sys.executable, KIT, "killed", tmp_path, trainer, 1)
    data = augsuite.read(root / ("boxes" if trainer == "ssd" else "names"))
    train_once(trainer, config, data, data, policy(STEPS), 5, tmp_path / "whole")
    whole, killed = tmp_path / "whole", tmp_path / "killed" / trainer
    weights = [torch.load(folder / "model.pt", weights_only=True)["state"] for folder in (whole, killed)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    curves = [
        [
            {name: value for name, value in json.loads(line).items() if name not in {"images_per_s", "wait_frac"}}
            for line in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (whole, killed)
    ]
    assert curves[0] == curves[1]
    predictions = "predictions.json" if trainer == "ssd" else "predictions.csv"
    assert (whole / predictions).read_bytes() == (killed / predictions).read_bytes()
    assert not (killed / "checkpoint.pt").exists(), "of no use once the record is there"


def test_shares_are_dealt_out_and_brought_back():
    assert [share_of([7, 8, 9], rank, 2) for rank in (0, 1)] == [[7, 9], [8]]
    assert [share_of([7], rank, 2) for rank in (0, 1)] == [[7], [7]]
    assert interleaved([[0, 2, 4], [1, 3]]) == [0, 1, 2, 3, 4]
    assert interleaved([[], []]) == []
