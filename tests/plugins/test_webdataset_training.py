"""Shards are as good as files for whoever trains: the same bits come out."""

from __future__ import annotations

import json
import tarfile

import pytest
import torch
from click.testing import CliRunner
from studykit import Bench
from trainingkit import FINETUNE, SSD, labelled, pictures

import augsuite
from augsuite.cli import cli
from augsuite.dataset.digest import digest


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The same pictures as files and in shards of four, with boxes and with labels."""
    folder = tmp_path_factory.mktemp("fed")
    pictures(folder / "boxes")
    labelled(folder / "names")
    for name in ("boxes", "names"):
        augsuite.convert(folder / name, folder / f"{name}-shards", "webdataset", options={"shard_samples": "4"})
    return folder


def trained(trainer, source, folder, config, *more):
    pairs = [part for name, value in config.items() for part in ("--set", f"{name}={value}")]
    words = ["train", trainer, source, "--split", "6:3", "--policy", "ssd", "-o", folder, *pairs, *more]
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("trainer", "config", "name"), [("ssd", SSD, "boxes"), ("finetune", FINETUNE, "names")])
def test_a_training_on_shards_is_one_on_files(root, tmp_path, trainer, config, name, workers):
    files = trained(trainer, root / name, tmp_path / "files", config)
    shards = trained(trainer, root / f"{name}-shards", tmp_path / "shards", config, "--workers", str(workers))
    weights = [torch.load(folder / "model.pt", weights_only=True)["state"] for folder in (files, shards)]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    predictions = "predictions.json" if trainer == "ssd" else "predictions.csv"
    assert (files / predictions).read_bytes() == (shards / predictions).read_bytes()
    losses = [
        [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (files, shards)
    ]
    assert losses[0] == losses[1]


def test_bytes_and_order_are_those_of_the_files(root):
    data = augsuite.read(root / "boxes")
    held = []
    for shard in sorted((root / "boxes-shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            held += [tar.extractfile(each).read() for each in tar.getmembers() if each.name.endswith(".png")]
    assert held == [data.path(row).read_bytes() for row in range(len(data))]
    assert digest(augsuite.read(root / "boxes-shards")) == digest(data)


def test_a_study_on_shards_is_the_study_on_files(tmp_path):
    """Its runs are known by what the images hold, not by where: nothing is trained a second time."""
    bench = Bench(tmp_path)
    done = bench.call("study", "run", "study.yaml")
    assert done.returncode == 0, done.stderr
    before = bench.trained()
    text = bench.file.read_text()
    (source,) = [line.split(": ")[1] for line in text.splitlines() if line.startswith("dataset:")]
    augsuite.convert(tmp_path / source, tmp_path / "shards", "webdataset", options={"shard_samples": "3"})
    bench.file.write_text(text.replace(f"dataset: {source}", "dataset: shards"))
    again = bench.call("study", "run", "study.yaml")
    assert again.returncode == 0, again.stderr
    assert bench.trained() == before
    assert again.stdout.splitlines()[:3] == done.stdout.splitlines()[:3]
