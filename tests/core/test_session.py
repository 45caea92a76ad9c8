import json

import click
import msgspec
import numpy as np
import PIL.Image
import pytest

from augsuite.augment import Policy
from augsuite.augment.policies import policy
from augsuite.cli import cli, main
from augsuite.commands.reading import Reading
from augsuite.commands.train import divide_data, parse_settings
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.errors import ConfigError, DataError
from augsuite.protocols import RunRecord
from augsuite.study.session import align_categories, settings_of, train_once
from augsuite.study.tracker import open_files

PLAIN = Policy(name="none", steps=())
FAST = {"size": 64, "epochs": 2, "width": 16, "batch_size": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A COCO dataset of six pictures with one block each, written by hand."""
    root = tmp_path_factory.mktemp("blocks")
    rng = np.random.default_rng(3)
    coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "light"}, {"id": 2, "name": "dark"}]}
    for row in range(6):
        pixels = rng.integers(100, 140, (64, 64, 3), dtype=np.uint8)
        x, y = rng.integers(0, 32, 2).tolist()
        pixels[y : y + 30, x : x + 30] = 250 if row % 2 else 0
        PIL.Image.fromarray(pixels).save(root / f"{row}.png")
        coco["images"].append({"id": row + 1, "file_name": f"{row}.png", "width": 64, "height": 64})
        box = {
            "id": row + 1,
            "image_id": row + 1,
            "category_id": 1 + (row + 1) % 2,
            "bbox": [x, y, 30, 30],
            "area": 900,
        }
        coco["annotations"].append({**box, "iscrowd": 0})
    (root / "annotations.json").write_text(json.dumps(coco))
    return root


@pytest.fixture(scope="module")
def data(folder):
    from augsuite import read

    return read(folder)


def test_a_run_leaves_everything_in_its_folder(data, tmp_path):
    seen = []
    record = train_once(
        "ssd", FAST, data, data, policy("flip"), 7, tmp_path / "run", progress=lambda *values: seen.append(values)
    )
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"run.json", "record.json", "metrics.jsonl", "model.pt", "predictions.json"}
    assert msgspec.json.decode((tmp_path / "run" / "record.json").read_bytes(), type=RunRecord) == record
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2] == [epoch for epoch, _, _ in seen]
    assert lines[-1]["AP"] == record.metrics["AP"]
    asked = json.loads((tmp_path / "run" / "run.json").read_text())
    assert asked["seed"] == 7
    assert asked["config"]["size"] == 64
    assert asked["config"]["match_iou"] == 0.5, "defaults are written out, too"
    assert policy(asked["policy"]) == policy("flip")


def test_workers_change_nothing_but_the_time(data, tmp_path):
    steps = policy([{"do": "hflip", "p": 0.5}])
    alone, helped = (
        train_once("ssd", FAST, data, data, steps, 1, tmp_path / str(workers), workers=workers) for workers in (0, 1)
    )
    assert alone.metrics == helped.metrics
    assert (tmp_path / "0" / "predictions.json").read_bytes() == (tmp_path / "1" / "predictions.json").read_bytes()


def test_no_record_of_an_earlier_run_survives_a_failing_one(data, tmp_path):
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        train_once("ssd", {**FAST, "precision": "fp16"}, data, data, PLAIN, 0, tmp_path)
    assert not (tmp_path / "record.json").exists()


def test_normalisation_of_the_policy_holds_for_both_parts(data, tmp_path):
    train_once(
        "ssd", FAST, data, data, policy([{"do": "normalize", "mean": [0.5] * 3, "std": [0.25] * 3}]), 0, tmp_path
    )
    import torch

    saved = torch.load(tmp_path / "model.pt", weights_only=True)
    assert (saved["mean"], saved["std"]) == ([0.5] * 3, [0.25] * 3)


@pytest.mark.parametrize(
    ("trainer", "config", "said"),
    [
        ("sdd", {}, r"unknown trainer 'sdd'\. Did you mean 'ssd'\?"),
        ("ssd", {"epoch": 3}, r"trainer ssd: unknown setting 'epoch'\. Did you mean 'epochs'\?"),
        ("ssd", {"lr": -1.0}, "trainer ssd: lr: "),
        ("ssd", {"size": -8}, "trainer ssd: size: "),
        ("ssd", {"sizes": [[-0.1]]}, "trainer ssd: sizes"),
        ("finetune", {"label_smoothing": 1.0}, "trainer finetune: label_smoothing: "),
    ],
)
def test_settings_are_checked_by_name_and_range(trainer, config, said):
    with pytest.raises(ConfigError, match=said):
        settings_of(trainer, config)


def test_a_dataset_with_nothing_to_learn_is_refused(data, tmp_path):
    with pytest.raises(DataError, match=r"no image labels.*try the trainer ssd"):
        train_once("finetune", {}, data, data, PLAIN, 0, tmp_path)
    with pytest.raises(DataError, match="val: no images"):
        train_once("ssd", FAST, data, data.take([]), PLAIN, 0, tmp_path)
    with pytest.raises(ConfigError, match=r"unknown tracker 'file'\. Did you mean 'files'"):
        train_once("ssd", FAST, data, data, PLAIN, 0, tmp_path, trackers=("file",))
    assert not any(tmp_path.iterdir())


def test_categories_are_matched_by_name():
    def of(names, rows):
        return Dataset(Images.of(["a"]), Categories.of(names), Annotations.of([0] * len(rows), rows))

    aligned = align_categories(of(["b", "a"], [0, 1, 1]), of(["a", "b", "c"], [0]))
    assert aligned.categories.names.tolist() == ["a", "b", "c"]
    assert aligned.annotations.category_rows.tolist() == [1, 0, 0]
    with pytest.raises(ConfigError, match=r"a category 'cats' that the training images do not.*Did you mean 'cat'"):
        align_categories(of(["cats"], [0]), of(["cat", "dog"], [0]))


def test_curves_are_on_disk_line_by_line(tmp_path):
    tracker = open_files(tmp_path)
    tracker.log(1, {"loss": 0.5})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step":1,"loss":0.5}\n'
    tracker.close()


def test_values_are_written_as_in_yaml():
    given = ("lr=1e-3", "epochs=3", "freeze=true", "sizes=[[0.1, 0.2], [0.5]]", "weights=none", "model=a=b")
    assert parse_settings(given) == {
        "lr": 0.001,
        "epochs": 3,
        "freeze": True,
        "sizes": [[0.1, 0.2], [0.5]],
        "weights": "none",
        "model": "a=b",
    }
    with pytest.raises(ConfigError, match="write it as NAME=VALUE"):
        parse_settings(("lr",))


def test_a_split_is_what_was_asked_for(folder):
    (train, val), said = divide_data(str(folder), Reading(), None, "4:2", 0)
    assert sorted([*train.images.names, *val.images.names]) == [f"{row}.png" for row in range(6)]
    assert "train: 4 images" in said
    assert "drawn with seed 0" in said
    (train, val), _ = divide_data(str(folder), Reading(), None, "0.5", 1)
    assert (len(train), len(val)) == (3, 3)
    (train, val), said = divide_data(str(folder), Reading(), str(folder), None, 0)
    assert (len(train), len(val)) == (6, 6)
    with pytest.raises(ConfigError, match="unknown split 'trian'"):
        divide_data(str(folder), Reading(), None, "trian", 0)


def test_the_command_trains_and_says_where_everything_is(folder, tmp_path, capsys):
    out = tmp_path / "run"
    settings = [part for name, value in FAST.items() for part in ("--set", f"{name}={value}")]
    arguments = ["train", "ssd", str(folder), "--split", "4:2", "--policy", "flip", "-o", str(out), *settings]
    cli.main([*arguments, "--json"], standalone_mode=False)
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["folder"] == str(out)
    assert result["metrics"] == json.loads((out / "record.json").read_text())["metrics"]
    assert "train: 4 images" in printed.err
    assert "epoch 2/2" in printed.err
    cli.main(arguments, standalone_mode=False)  # the same folder again: the run is replaced
    printed = capsys.readouterr().out
    assert str(out / "model.pt") in printed
    assert "AP50" in printed


def test_the_command_never_writes_into_a_folder_of_something_else(folder, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SystemExit) as caught:
        main(["train", "ssd", str(folder), "-o", str(tmp_path)])
    assert caught.value.code == 2
    assert "holds files that are no run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_checkpoint_is_gone_on_from_only_by_the_same_command(data, tmp_path):
    """A killed run leaves `run.json` and a checkpoint; here an exception at the end of an epoch stands for the kill."""

    class Heard:
        def __init__(self, until=99):
            self.until, self.epochs, self.said = until, [], []

        def __call__(self, epoch, epochs, values):
            self.epochs.append(epoch)
            if epoch == self.until:
                raise KeyboardInterrupt

        def pulse(self, epoch, epochs, done, values):
            assert 0 < done <= 1

        def say(self, line):
            self.said.append(line)

    config = {**FAST, "checkpoint_s": 0.0}
    with pytest.raises(KeyboardInterrupt):
        train_once("ssd", config, data, data, policy("flip"), 7, tmp_path, progress=Heard(until=1))
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    for changed in ({"config": {**config, "lr": 0.1}}, {"seed": 8}, {"train": data.take([0, 1, 2])}):
        (tmp_path / "checkpoint.pt").write_bytes(kept)
        given = {"config": config, "train": data, "seed": 7, **changed}
        heard = Heard()
        train_once(
            "ssd", given["config"], given["train"], data, policy("flip"), given["seed"], tmp_path, progress=heard
        )
        assert (heard.epochs, heard.said) == ([1, 2], [])
    with pytest.raises(KeyboardInterrupt):
        train_once("ssd", config, data, data, policy("flip"), 7, tmp_path, progress=Heard(until=1))
    heard = Heard()
    train_once("ssd", config, data, data, policy("flip"), 7, tmp_path, progress=heard)
    assert heard.said == ["ssd: going on from epoch 1, batch 3."]
    assert heard.epochs == [1, 2]
    assert not (tmp_path / "checkpoint.pt").exists()


def test_finding_a_learning_rate_leaves_a_finished_run_alone(folder, tmp_path, capsys):
    out = tmp_path / "run"
    settings = [part for name, value in FAST.items() for part in ("--set", f"{name}={value}")]
    arguments = ["train", "ssd", str(folder), "--split", "4:2", "-o", str(out), "--draw", "0", *settings]
    cli.main([*arguments, "--json"], standalone_mode=False)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    cli.main([*arguments, "--find-lr"], standalone_mode=False)
    said = capsys.readouterr().out
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(after) - set(before) == {"lr.json", "lr.svg"}
    assert all(after[name] == content for name, content in before.items())
    curve = json.loads(after["lr.json"])
    assert len(curve["lr"]) == len(curve["loss"]) == len(curve["smoothed"]) > 10
    assert f"--set lr={curve['suggestion']:.1e}" in said


def test_whoever_stops_a_training_hears_that_it_can_go_on(folder, tmp_path, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    settings = [part for name, value in FAST.items() for part in ("--set", f"{name}={value}")]
    arguments = ["train", "ssd", str(folder), "--split", "4:2", "-o", str(tmp_path / "run"), *settings]
    monkeypatch.setattr("augsuite.commands.train.Shown.__call__", stop)
    for checkpoint_s, said in ((60, False), (0, True)):
        with pytest.raises((KeyboardInterrupt, click.Abort)):
            cli.main([*arguments, "--set", f"checkpoint_s={checkpoint_s}"], standalone_mode=False)
        assert ("The same command goes on" in capsys.readouterr().err) is said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--ray-address", "127.0.0.1:6379"), "--ray-address goes with --engine ray."),
        (("--engine", "inlin"), "Did you mean 'inline'?"),
        (("--engine", "inline"), "the engine inline does not train in several processes"),
    ],
)
def test_where_to_train_is_checked_before_any_file_is_read(options, said, tmp_path):
    words = ["train", "ssd", str(tmp_path / "nothing"), "-o", str(tmp_path / "run"), *options]
    with pytest.raises(ConfigError) as error:
        cli.main(words, standalone_mode=False)
    assert said in str(error.value)
    assert not (tmp_path / "run").exists()
