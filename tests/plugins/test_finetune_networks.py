"""The networks of `finetune`: names, heads, sizes, stages."""

import pytest
import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

from augsuite.errors import ConfigError
from augsuite_finetune.classics import AlexNet, LeNet
from augsuite_finetune.networks import (
    auxiliary,
    check_size,
    find_heads,
    known_models,
    make_network,
    outputs_of,
    replace_head,
    try_size,
)
from augsuite_finetune.stages import find_stages


class WithoutMemory(TorchFunctionMode):
    """Weights that have a shape and no values, so that even the largest network is made at once.

    The device `meta` itself will not do: RegNet computes its widths with tensors.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name, first = function.__name__, args[0] if args else (kwargs or {}).get("tensor")
        fills = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
        if fills and isinstance(first, torch.Tensor) and first.is_meta:
            return first  # as `nn.init` fills it: PyTorch would take a while to find that there is nothing to fill
        device = {"device": "meta"} if function is torch.empty else {}
        return function(*args, **{**(kwargs or {}), **device})


def made(name, size=224):
    with WithoutMemory():
        return make_network(name, size, trained=True)


HEADS = {
    "alexnet": "classifier.6",
    "convnext": "classifier.2",
    "densenet": "classifier",
    "efficientnet": "classifier.1",
    "googlenet": "fc aux1.fc2 aux2.fc2",
    "inception": "fc AuxLogits.fc",
    "lenet": "classifier.4",
    "maxvit": "classifier.5",
    "mnasnet": "classifier.1",
    "mobilenet_v2": "classifier.1",
    "mobilenet_v3": "classifier.3",
    "regnet": "fc",
    "resnet": "fc",
    "resnext": "fc",
    "shufflenet": "fc",
    "squeezenet": "classifier.1",
    "swin": "head",
    "vgg": "classifier.6",
    "vit": "heads.head",
    "wide_resnet": "fc",
}
"""Read from torchvision's sources."""

STAGES = {  # of the papers' tables, the stem included where it has a resolution of its own, and hidden layers of a classifier
    "alexnet": 4,
    "convnext": 4,
    "densenet": 5,
    "efficientnet": 5,
    "googlenet": 5,
    "inception": 5,
    "lenet": 3,
    "maxvit": 6,
    "mnasnet": 5,
    "mobilenet_v2": 5,
    "mobilenet_v3": 6,
    "regnet": 5,
    "resnet": 5,
    "resnext": 5,
    "shufflenet": 4,
    "squeezenet": 4,
    "swin": 4,
    "vgg": 6,
    "vit_b": 13,  # the patches, then each block
    "vit_h": 33,
    "vit_l": 25,
    "wide_resnet": 5,
}


def of_family(table, name):
    return table[max((family for family in table if name.startswith(family)), key=len)]


@pytest.mark.parametrize("name", known_models())
def test_every_network_gets_new_heads_and_has_stages(name):
    size = 32 if name == "lenet" else 224
    model = made(name, size)
    heads = find_heads(model, name)
    assert heads == tuple(of_family(HEADS, name).split())
    for head in heads:
        replace_head(model, head, 7)
    given = []
    model.register_forward_hook(lambda _model, _images, result: given.append(result))
    stages = find_stages(model, name, size)
    assert [part.shape for part in outputs_of(given[-1])] == [(2, 7)]
    assert len(stages) == of_family(STAGES, name)
    parts = [*heads, *auxiliary(name)]
    rest = {id(weight) for path, weight in model.named_parameters() if not any(path.startswith(f"{p}.") for p in parts)}
    staged = [id(weight) for stage in stages for weight in stage.parameters]
    assert len(staged) == len(set(staged)), "a weight is in two stages"
    assert set(staged) == rest


@pytest.mark.parametrize(("name", "count"), [("googlenet", 3), ("inception_v3", 2)])
def test_auxiliary_classifiers_answer_in_training(name, count):
    model = made(name)
    for head in find_heads(model, name):
        replace_head(model, head, 7)
    assert [part.shape for part in outputs_of(try_size(model, 299, training=True))] == [(2, 7)] * count
    assert all(part.training for part in model.modules()), "trying a size changed the mode"


def test_the_stages_of_resnet_are_those_of_its_paper():
    """He et al. 2016, table 1: conv1 and conv2_x to conv5_x with their output sizes."""
    model = made("resnet50")
    stages = find_stages(model, "resnet50", 224)
    assert [stage.positions for stage in stages] == [112**2, 56**2, 28**2, 14**2, 7**2]
    for number in range(1, 5):
        layer = getattr(model, f"layer{number}")
        assert {id(w) for w in stages[number].parameters} == {id(w) for w in layer.parameters()}


def test_the_stages_do_not_depend_on_the_size_that_is_trained_at():
    """At 16 pixels the last three stages of a ResNet all see one position."""
    names = [[stage.name for stage in find_stages(made("resnet18"), "resnet18", size)] for size in (16, 224)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("name", "size", "heads", "stages"),
    [
        ("timm.xception", 96, ("fc",), 5),  # Chollet 2017, figure 5: 149, 74, 37, 19 and 10 positions a side
        ("timm/resnet10t", 96, ("fc",), 5),
        ("timm.deit_tiny_distilled_patch16_224", 96, ("head", "head_dist"), 13),
        ("timm.swin_tiny_patch4_window7_224", 224, ("head.fc",), 4),
    ],
)
def test_models_of_timm(name, size, heads, stages):
    pytest.importorskip("timm", reason="timm is not installed")
    model = made(name, size)
    assert find_heads(model, name) == heads
    for head in heads:
        replace_head(model, head, 7)
    assert outputs_of(try_size(model, size))[0].shape == (2, 7)
    assert len(find_stages(model, name, size)) == stages


def test_a_new_head_runs_for_real():
    torch.manual_seed(0)
    for name in ("squeezenet1_1", "mobilenet_v3_small"):
        model = make_network(name, 64, trained=False).eval()
        head = replace_head(model, find_heads(model, name)[0], 3)
        with torch.no_grad():
            head.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
            head.weight.zero_()
            found = model(torch.randn(2, 3, 64, 64))
        assert torch.allclose(found, torch.tensor([[1.0, 2.0, 3.0]] * 2)), "the new layer is the one that answers"


def test_lenet_by_hand():
    """61,706 weights on grey images, 62,006 on colour ones: the network of PyTorch's tutorial on classifiers."""
    count = lambda model: sum(weight.numel() for weight in model.parameters())  # noqa: E731
    assert count(LeNet(channels=1)) == 156 + 2416 + 48120 + 10164 + 850 == 61706
    torch.manual_seed(0)
    model = LeNet()
    assert count(model) == 62006
    judge = TutorialNet()
    judge.load_state_dict(dict(zip(judge.state_dict(), model.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(images), judge(images))


class TutorialNet(nn.Module):
    """As https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html has it."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return self.fc3(x)


def test_alexnet_is_that_of_the_paper():
    with torch.device("meta"):
        model = AlexNet()
    # Layer by layer, with two groups: Krizhevsky et al. 2012, figure 2.
    convolutions = 96 * 364 + 256 * (48 * 25 + 1) + 384 * (256 * 9 + 1) + 384 * (192 * 9 + 1) + 256 * (192 * 9 + 1)
    linear = 4096 * (256 * 36 + 1) + 4096 * 4097 + 1000 * 4097
    assert sum(weight.numel() for weight in model.parameters()) == convolutions + linear == 60_965_224


def test_alexnet_normalises_as_its_paper_says():
    """Section 3.3: a / (2 + 1e-4 * the sum of a^2 over 5 neighbouring channels)^0.75."""
    with torch.device("meta"):
        norm = AlexNet().features[2]
    features = torch.zeros(1, 7, 1, 1)
    features[0, 2], features[0, 4], features[0, 5] = 100.0, 200.0, 300.0
    found = norm(features).flatten()
    assert found[2].item() == pytest.approx(100 / (2 + 1e-4 * (100**2 + 200**2)) ** 0.75, rel=1e-6)
    assert found[4].item() == pytest.approx(200 / (2 + 1e-4 * (100**2 + 200**2 + 300**2)) ** 0.75, rel=1e-6)


def test_alexnet_without_what_2014_left_out_is_torchvisions():
    torch.manual_seed(0)
    judge = torchvision.models.alexnet(weights=None).eval()
    model = AlexNet(widths=(64, 192, 384, 256, 256), groups=1, response_norm=False).eval()
    model.load_state_dict(judge.state_dict())
    images = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(model(images), judge(images), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("alexnet", 32, "alexnet cannot take images of 32 px"),
        ("inception_v3", 64, "inception_v3 cannot take images of 64 px"),
        ("inception_v3", 96, "inception_v3 cannot take images of 96 px"),  # the auxiliary classifier cannot
        ("maxvit_t", 96, "maxvit_t cannot take images of 96 px"),
        ("vit_b_32", 100, "vit_b_32 cannot take images of 100 px"),
    ],
)
def test_sizes_that_do_not_fit_are_one_clear_line(name, size, said):
    with pytest.raises(ConfigError, match=said) as caught:
        check_size(made(name, size), name, size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet81", r"unknown model 'resnet81'\. Did you mean 'resnet1?\d+1?'"),
        ("timm.xceptoin", "unknown model 'timm.xceptoin'. Did you mean '.*xception.*'"),
    ],
)
def test_unknown_names_are_one_clear_line(name, said):
    if name.startswith("timm"):
        pytest.importorskip("timm", reason="timm is not installed")
    with pytest.raises(ConfigError, match=said):
        make_network(name, 96, trained=False)


def test_a_vit_is_made_for_the_size_it_is_trained_at():
    model = made("vit_b_32", 96)
    assert try_size(model, 96).shape == (2, 1000)
    assert len(find_stages(model, "vit_b_32", 96)) == 13
