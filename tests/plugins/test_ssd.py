import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from augsuite import read
from augsuite.augment import Batch, Feed, Policy
from augsuite.augment.policies import policy
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.errors import ConfigError
from augsuite_ssd.trainer import (
    Config,
    Detector,
    Targets,
    anchors_of,
    detect_batch,
    detection_loss,
    make_targets,
    rate_at,
    train,
)

PLAIN = Policy(name="none", steps=())
SMALL = Config(
    size=64, epochs=30, batch_size=4, width=32, sizes=((0.2, 0.3), (0.4,), (0.6,), (0.8,), (0.95,)), device="cpu"
)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    """Twelve pictures of red and blue blocks on grey noise: enough to be learnt by heart."""
    folder = tmp_path_factory.mktemp("blocks")
    rng = np.random.default_rng(0)
    names, rows, labels, boxes = [], [], [], []
    for row in range(12):
        pixels = rng.integers(90, 130, (96, 128, 3), dtype=np.uint8)
        for label, column in ((row % 2, 0), ((row // 2) % 2, 64)):
            width, height = rng.integers(20, 44, 2)
            x, y = column + rng.integers(0, 64 - width), rng.integers(0, 96 - height)
            pixels[y : y + height, x : x + width] = [(220, 30, 30), (30, 30, 220)][label]
            rows.append(row)
            labels.append(label)
            boxes.append([x, y, x + width, y + height])
        names.append(f"{row}.png")
        PIL.Image.fromarray(pixels).save(folder / names[-1])
    return Dataset(
        Images.of(names, [[128, 96]] * 12, files=names),
        Categories.of(["red", "blue"]),
        Annotations.of(rows, labels, boxes),
        folder,
    )


def run(data, folder, config, seed=1, steps=PLAIN):
    folder.mkdir()
    logged = []
    feed = Feed(data, steps, seed=seed, cache=True)
    record = train(config, feed, Feed(data, PLAIN), seed=seed, folder=folder, log=lambda *values: logged.append(values))
    return record, logged


def test_it_learns_a_few_pictures_by_heart(blocks, tmp_path):
    record, logged = run(blocks, tmp_path / "run", SMALL)
    assert record.metrics["AP50"] > 90
    assert record.metrics["AP/red"] > 50, "boxes come back in pixels of the original, which is not square"
    assert record.images == 30 * 12
    assert record.parameters == sum(part.numel() for part in Detector(SMALL, 2).parameters())
    assert [epoch for epoch, _, _ in logged] == list(range(1, 31))
    assert logged[-1][2]["loss"] < logged[0][2]["loss"] / 4
    assert "AP" not in logged[0][2]
    assert logged[-1][2]["AP"] == record.metrics["AP"]

    saved = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert saved["categories"] == ["red", "blue"]
    Detector(SMALL, 2).load_state_dict(saved["state"])
    found = json.loads((tmp_path / "run" / "predictions.json").read_text())
    assert {row["category_id"] for row in found} == {1, 2}


def test_without_a_learning_rate_to_speak_of_it_learns_nothing(blocks, tmp_path):
    record, _ = run(blocks, tmp_path / "run", Config(**{**as_dict(SMALL), "epochs": 2, "lr": 1e-9}))
    assert record.metrics["AP50"] < 30


def as_dict(config):
    return {name: getattr(config, name) for name in config.__struct_fields__}


def test_a_repeated_run_is_bitwise_equal(blocks, tmp_path):
    config = Config(**{**as_dict(SMALL), "epochs": 3, "threads": torch.get_num_threads()})
    flip = policy([{"do": "hflip", "p": 0.5}])
    states = []
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        record, _ = run(blocks, tmp_path / name, config, seed, flip)
        state = torch.load(tmp_path / name / "model.pt", weights_only=True)["state"]
        states.append((record.metrics, (tmp_path / name / "predictions.json").read_bytes(), state))
    assert states[0][:2] == states[1][:2]
    assert all(torch.equal(states[0][2][name], states[1][2][name]) for name in states[0][2])
    assert not all(torch.equal(states[0][2][name], states[2][2][name]) for name in states[0][2])


def test_a_run_leaves_the_global_random_state_alone(blocks, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(blocks, tmp_path / "run", Config(**{**as_dict(SMALL), "epochs": 1}))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("size", [64, 96, 128, 320])
def test_outputs_and_anchors_agree_at_every_size(size):
    config = Config(size=size, width=16)
    logits, offsets = Detector(config, 4)(torch.zeros(2, 3, size, size))
    anchors = anchors_of(config)
    assert logits.shape == (2, len(anchors), 5)
    assert offsets.shape == (2, len(anchors), 4)


def test_the_first_outputs_see_the_top_left_corner():
    """Outputs are in the order of the anchors: changing the top left of the image changes the first, not the last of a scale."""
    config = Config(size=128, width=16)
    torch.manual_seed(0)
    model = Detector(config, 1).eval()
    image = torch.zeros(1, 3, 128, 128)
    changed = image.clone()
    changed[:, :, :8, :8] = 3.0
    with torch.inference_mode():
        difference = (model(image)[1] - model(changed)[1]).abs().sum(dim=2)[0]
    anchors = anchors_of(config)[: 32 * 32 * 5]
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2
    moved = difference[: 32 * 32 * 5].numpy() > 0
    assert moved[(centers < 0.05).all(axis=1)].all()
    assert not moved[(centers > 0.5).any(axis=1)].any()


def batch_of(boxes, labels, weights, size=64):
    return Batch(
        images=np.zeros((1, size, size, 3), np.uint8),
        boxes=[np.array(boxes, np.float64).reshape(-1, 4)],
        labels=[np.array(labels, np.int64)],
        weights=[np.array(weights, np.float32)],
        targets=np.zeros((1, 2), np.float32),
        image_rows=np.array([0]),
        matrices=np.array([np.diag([0.5, 0.25, 1.0])]),
    )


def test_targets_hold_class_and_weight_of_the_matched_box():
    anchors = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0.5, 0.5, 1]], np.float32)
    targets = make_targets(batch_of([[32, 32, 64, 64], [0, 0, 32, 32]], [1, 0], [0.25, 0.75]), anchors, SMALL)
    assert targets.labels.tolist() == [[1, 2, 0]]
    assert targets.weights.tolist() == [[0.75, 0.25, 1.0]]
    assert targets.offsets.abs().sum() == 0, "both boxes are their anchors"


def test_no_boxes_is_background_everywhere():
    targets = make_targets(batch_of([], [], []), anchors_of(SMALL), SMALL)
    assert not targets.labels.any()
    logits = torch.zeros(1, len(anchors_of(SMALL)), 3)
    loss = detection_loss(logits, torch.zeros(1, logits.shape[1], 4), targets, SMALL)
    assert loss.item() == pytest.approx(3 * np.log(3), rel=1e-5)  # three negatives, as for one box


def test_the_loss_by_hand():
    """Two classes and background, all logits 0: every counted anchor costs ln 3; offsets are off by 0.5 and by 3."""
    targets = Targets(
        torch.tensor([[1, 2, 0, 0]]),
        torch.tensor([[[0.5, 0, 0, 0], [3.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]),
        torch.tensor([[1.0, 0.5, 1.0, 1.0]]),
    )
    loss = detection_loss(torch.zeros(1, 4, 3), torch.zeros(1, 4, 4), targets, Config(negatives=0.5, box_weight=2.0))
    classes = np.log(3) * (1 + 0.5 + 1)  # two matched, one with half the weight, and one negative for two matched
    boxes = 0.5 * 0.5**2 * 1 + (3 - 0.5) * 0.5
    assert loss.item() == pytest.approx((classes + 2 * boxes) / 2, rel=1e-6)


def test_detection_by_hand():
    """Overlapping boxes of one class lose the less sure one; of two classes both stay; pixels are those of the original."""
    anchors = torch.tensor([[0, 0, 0.5, 0.5], [0.02, 0, 0.52, 0.5], [0.5, 0.5, 1, 1.5]])
    logits = torch.tensor([[[0.0, 5, 3], [3, 4, -9], [9, 0, 0]]])
    rows, categories, boxes, scores = detect_batch(batch_of([], [], []), logits, torch.zeros(1, 3, 4), anchors, SMALL)
    assert rows.tolist() == [0, 0]
    assert categories.tolist() == [0, 1]
    np.testing.assert_allclose(
        boxes, [[0, 0, 64, 128]] * 2
    )  # half of 64 px, through the inverse of a scale of 1/2 and 1/4
    expected = torch.tensor([0.0, 5, 3]).softmax(dim=0)[1:]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_the_learning_rate_rises_then_falls():
    config = Config(epochs=10, warmup_epochs=1)
    rates = [rate_at(step, 10, config) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0)
    assert rate_at(70, 10, Config(schedule="constant", epochs=10)) == 1


def test_settings_that_this_machine_cannot_do(blocks, tmp_path):
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        run(blocks, tmp_path / "fp16", Config(precision="fp16", device="cpu"))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="finds no GPU"):
            run(blocks, tmp_path / "cuda", Config(device="cuda"))


def test_a_diverging_run_says_what_to_do(blocks, tmp_path):
    config = Config(**{**as_dict(SMALL), "optimizer": "sgd", "lr": 1e12, "warmup_epochs": 0.0})
    with pytest.raises(ConfigError, match=r"the loss is not a number after epoch \d+. Lower lr"):
        run(blocks, tmp_path / "run", config)


def test_a_last_step_that_diverges_is_no_result(blocks, tmp_path):
    """One step only: its loss is that of the initial weights, and finite."""
    config = Config(
        **{**as_dict(SMALL), "epochs": 1, "batch_size": 12, "optimizer": "sgd", "lr": 1e30, "warmup_epochs": 0.0}
    )
    with pytest.raises(ConfigError, match=r"scores are not numbers. Lower lr \(now 1e\+30\)"):
        run(blocks, tmp_path / "run", config)


def test_it_finds_real_blood_cells(tmp_path):
    root = Path(os.environ.get("AUGSUITE_DATA", "")) / "bccd"
    if not root.is_dir():
        pytest.skip("AUGSUITE_DATA names no folder with bccd")
    data = read(root)
    train_set, val_set = data.draw(60, seed=0).split(2 / 3, seed=0)
    config = Config(epochs=12, width=64, device="cpu")
    tmp_path.joinpath("run").mkdir()
    record = train(
        config,
        Feed(train_set, policy([{"do": "hflip", "p": 0.5}, {"do": "vflip", "p": 0.5}]), seed=0, cache=True),
        Feed(val_set, PLAIN),
        seed=0,
        folder=tmp_path / "run",
        log=lambda *_: None,
    )
    assert record.metrics["AP50"] > 30
    assert record.metrics["AP/RBC"] > 15
