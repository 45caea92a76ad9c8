import json
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from augsuite import read
from augsuite.augment import Feed, Policy
from augsuite.augment.policies import policy
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.dataset.anchors import box_shapes, shape_iou
from augsuite.errors import ConfigError, DataError
from augsuite_ssd.models import make_detector
from augsuite_ssd.predictor import build_network, load_predictor
from augsuite_ssd.settings import Config
from augsuite_ssd.trainer import IgnoredBoxes, train, with_anchors

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
    assert record.parameters == sum(part.numel() for part in make_detector(SMALL, 2).parameters())
    assert [epoch for epoch, _, _ in logged] == list(range(1, 31))
    assert logged[-1][2]["loss"] < logged[0][2]["loss"] / 4
    assert "AP" not in logged[0][2]
    assert logged[-1][2]["AP"] == record.metrics["AP"]

    saved = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert saved["categories"] == ["red", "blue"]
    make_detector(SMALL, 2).load_state_dict(saved["state"])
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


def test_a_predictor_finds_what_the_evaluation_found(blocks, tmp_path):
    run(blocks, tmp_path / "run", Config(**{**as_dict(SMALL), "epochs": 8}))
    predictor = load_predictor(tmp_path / "run" / "model.pt", "cpu")
    assert predictor.categories == ["red", "blue"]
    assert predictor.task == "detection"
    pictures = [blocks.sample(row).image for row in range(12)]
    predictions = predictor(pictures)
    stored = json.loads((tmp_path / "run" / "predictions.json").read_text())
    for row, found in enumerate(predictions):
        expected = [entry for entry in stored if entry["image_id"] == row + 1]
        assert len(found.boxes) == len(expected) > 0
        # Rounding: the two normalise their pixels by different code.
        np.testing.assert_allclose(found.scores, [entry["score"] for entry in expected], atol=1e-4)
        corners = np.array([entry["bbox"] for entry in expected])
        corners[:, 2:] += corners[:, :2]
        sure = found.scores > 0.5
        np.testing.assert_allclose(found.boxes[sure], corners[sure], atol=0.05)
        assert (found.labels[sure] + 1).tolist() == [e["category_id"] for e in expected if e["score"] > 0.5]
    assert predictor([]) == []
    alone = predictor([np.full((40, 90, 3), 110, np.uint8)])
    assert alone[0].boxes.shape == (len(alone[0].scores), 4)


def test_files_that_are_no_model_of_this_trainer(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_predictor(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes(b"PK no")
    with pytest.raises(DataError, match="is damaged"):
        load_predictor(tmp_path / "model.pt")
    torch.save({"trainer": "finetune"}, tmp_path / "model.pt")
    with pytest.raises(DataError, match="not written by the trainer ssd"):
        load_predictor(tmp_path / "model.pt")
    torch.save({"trainer": "ssd", "config": {"epochs": -1}}, tmp_path / "model.pt")
    with pytest.raises(DataError, match="is no model of the trainer ssd"):
        load_predictor(tmp_path / "model.pt")


def test_the_network_for_a_table_of_layers():
    network, size = build_network(Config(model="tinyssd"), 3)
    assert size == (256, 256)
    assert network(torch.zeros(1, 3, *size))[0].shape == (1, 5444, 4)


def test_random_training_shapes_and_every_switch(blocks, tmp_path):
    config = {
        "epochs": 30,
        "input_sizes": (64, 96),
        "class_loss": "focal",
        "box_loss": "giou",
        "shapes": "auto",
        "label_smoothing": 0.02,
        "ema": 0.9,
        "clip_norm": 10.0,
        "nms": "gaussian",
        "flip_test": True,
    }
    record, _ = run(blocks, tmp_path / "run", Config(**{**as_dict(SMALL), **config}))
    assert record.metrics["AP50"] > 60
    saved = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert len(saved["config"]["shapes"]) == 9, "auto is resolved"
    load_predictor(tmp_path / "run" / "model.pt", "cpu")


def test_anchors_are_suggested_by_the_training_boxes(blocks):
    config = with_anchors(Config(shapes="auto"), blocks)
    ious = shape_iou(box_shapes(blocks), np.array(config.shapes)).max(axis=1)
    assert ious.mean() > 0.85
    few = blocks.draw(2, seed=0)
    with pytest.raises(DataError, match="boxes of 9 different shapes"):
        with_anchors(Config(shapes="auto"), few)


def test_ignored_boxes_move_with_the_image(tmp_path):
    PIL.Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "0.png")
    PIL.Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "1.png")
    data = Dataset(
        Images.of(["0.png", "1.png"], [[80, 40]] * 2, files=["0.png", "1.png"]),
        Categories.of(["x"]),
        Annotations.of([0, 0, 1], [0, 0, 0], [[0, 0, 8, 4], [8, 4, 24, 20], [0, 0, 9, 9]], ignore=[False, True, False]),
        tmp_path,
    )
    feed = Feed(data, policy([{"do": "hflip", "p": 1.0}]), seed=0)
    (batch,) = feed.batches(0, 2, (40, 40), shuffle=False)
    first, second = IgnoredBoxes(data).beside(batch)
    np.testing.assert_allclose(first.boxes, [[36, 0, 40, 4]])
    np.testing.assert_allclose(first.ignored, [[28, 4, 36, 20]], atol=1e-9)
    assert second.ignored.shape == (0, 4)


def test_a_last_batch_of_one_image_is_trained_on(blocks, tmp_path):
    """The last maps of this network have one position: batch norm has no statistics of a single value."""
    config = Config(model="mobilenet_v3_small", size=64, epochs=1, batch_size=11, device="cpu")
    record, _ = run(blocks, tmp_path / "run", config)
    assert record.images == 12


def test_published_normalisation_reaches_training_and_file(blocks, tmp_path):
    config = Config(
        model="ssdlite320_mobilenet_v3_large", size=64, epochs=1, batch_size=6, device="cpu", precision="fp32"
    )
    run(blocks, tmp_path / "run", config)
    saved = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert saved["mean"] == saved["std"] == [0.5, 0.5, 0.5]
    own = policy([{"do": "normalize", "mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}])
    run(blocks, tmp_path / "own", config, steps=own)
    assert torch.load(tmp_path / "own" / "model.pt", weights_only=True)["mean"] == [0.1, 0.2, 0.3]


def test_settings_that_this_machine_cannot_do(blocks, tmp_path):
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        run(blocks, tmp_path / "fp16", Config(precision="fp16", device="cpu"))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="finds no GPU"):
            run(blocks, tmp_path / "cuda", Config(device="cuda"))


def test_a_diverging_run_says_what_to_do(blocks, tmp_path):
    config = Config(**{**as_dict(SMALL), "optimizer": "sgd", "lr": 1e12, "warmup_epochs": 0.0})
    with pytest.raises(ConfigError, match=r"ssd: the (loss|gradient) is .* in epoch \d+, batch \d+"):
        run(blocks, tmp_path / "run", config)


def test_a_last_step_that_diverges_is_no_result(blocks, tmp_path):
    """One step only: its loss is that of the initial weights, and finite."""
    config = Config(
        **{**as_dict(SMALL), "epochs": 1, "batch_size": 12, "optimizer": "sgd", "lr": 1e30, "warmup_epochs": 0.0}
    )
    with pytest.raises(ConfigError, match=r"(scores are not numbers|the gradient is)"):
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
