"""Asking a trained model: from the command line, on images, folders, datasets and videos."""

import csv
import json
import shutil

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import augsuite
from augsuite import cli, prediction
from augsuite.augment.policies import policy
from augsuite.dataset.video import Video, VideoWriter
from augsuite.errors import DataError, PluginError
from augsuite.protocols import Prediction
from augsuite.study.session import train_once
from augsuite.testing.trainers import blocks

pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

DETECTOR = {"epochs": 40, "batch_size": 4, "size": 64, "width": 32, "device": "cpu", "threads": 1}
CLASSIFIER = {
    "epochs": 1, "batch_size": 4, "size": 64, "model": "squeezenet1_1", "weights": "none", "device": "cpu", "threads": 1
}  # fmt: skip


@pytest.fixture(scope="module")
def detection(tmp_path_factory):
    """Twelve pictures of one block each as a COCO dataset, and the run of a detector that knows them by heart."""
    folder = tmp_path_factory.mktemp("detection")
    data = blocks(folder / "images", "detection")
    augsuite.write(data, folder / "data", format="coco", images="copy")
    record = train_once("ssd", DETECTOR, data, data, policy("none"), 0, folder / "run", draw=3)
    assert record.metrics["AP50"] > 90
    return folder


@pytest.fixture(scope="module")
def classification(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classification")
    data = blocks(folder / "images", "classification")
    train_once("finetune", CLASSIFIER, data, data, policy("none"), 0, folder / "run", draw=3)
    return folder


def call(*arguments):
    return CliRunner().invoke(cli.cli, [str(argument) for argument in arguments], catch_exceptions=False)


def fails(*arguments):
    with pytest.raises(augsuite.AugsuiteError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pictures(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in {".png", ".mp4"})


def test_images_are_drawn_and_their_boxes_found(detection, tmp_path):
    given = [detection / "images" / f"{row}.png" for row in (0, 4)]
    done = call("predict", detection / "run", *given, "--out", tmp_path, "--json")
    assert pictures(tmp_path) == ["0.png", "4.png"]
    data = blocks(tmp_path / "again", "detection")
    said = json.loads(done.stdout)["predictions"]
    for answer, row, name in zip(said, (0, 4), ("red", "blue"), strict=True):
        best = answer["found"][0]
        assert best["category"] == name
        assert np.abs(np.array(best["box"]) - data.sample(row).boxes[0]).max() < 6
        with PIL.Image.open(tmp_path / f"{row}.png") as opened:
            drawn = np.asarray(opened).astype(int)
        changed = (np.abs(drawn - data.sample(row).image).sum(axis=2) > 0).any()
        assert drawn.shape == data.sample(row).image.shape
        assert changed


def test_results_and_index_are_read_by_pycocotools(detection, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    given = [detection / "images" / f"{row}.png" for row in (3, 1)]
    call("predict", detection / "run" / "model.pt", *given, "-o", tmp_path, "--min-score", "0.5")
    index = coco.COCO(str(tmp_path / "images.json"))
    found = index.loadRes(str(tmp_path / "predictions.json"))
    assert [image["file_name"] for image in index.loadImgs(index.getImgIds())] == ["3.png", "1.png"]
    assert [category["name"] for category in index.loadCats(index.getCatIds())] == ["red", "blue", "green"]
    first = found.loadAnns(found.getAnnIds(imgIds=[1]))
    assert {index.cats[one["category_id"]]["name"] for one in first} == {"red"}
    assert min(one["score"] for one in first) >= 0.5


def test_a_dataset_keeps_its_ids_and_is_judged(detection, tmp_path):
    """pycocotools finds the AP that the training said, from the results of the command."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    call("predict", detection / "run", detection / "data", "-o", tmp_path, "--no-pictures")
    assert pictures(tmp_path) == []
    assert not (tmp_path / "images.json").exists()
    (file,) = detection.joinpath("data").rglob("*.json")
    judge = coco.COCO(str(file))
    result = evaluation.COCOeval(judge, judge.loadRes(str(tmp_path / "predictions.json")), "bbox")
    result.evaluate()
    result.accumulate()
    result.summarize()
    record = json.loads((detection / "run" / "record.json").read_text())
    assert 100 * result.stats[0] == pytest.approx(record["metrics"]["AP"], abs=1e-6)


def test_what_cannot_be_read_among_many_is_said_and_left_out(detection, tmp_path):
    folder = tmp_path / "mixed"
    (folder / "below").mkdir(parents=True)
    shutil.copy(detection / "images" / "0.png", folder / "a.png")
    shutil.copy(detection / "images" / "1.png", folder / "below" / "a.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff garbage")
    (folder / "notes.txt").write_text("no image")
    done = call(
        "predict", detection / "run", *sorted(folder.glob("*.*g")), folder / "below" / "a.png", "-o", tmp_path / "o"
    )
    assert pictures(tmp_path / "o") == ["a-2.png", "a.png"]
    assert "skipped: " in done.stderr
    assert "broken.jpg" in done.stderr
    assert "2 images   1 skipped" in done.stdout


def test_a_plain_folder_is_gone_through(detection, tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    for row in range(3):
        shutil.copy(detection / "images" / f"{row}.png", folder)
    call("predict", detection / "run", folder, "-o", tmp_path / "o")
    assert pictures(tmp_path / "o") == ["0.png", "1.png", "2.png"]


@pytest.fixture
def clip(detection, tmp_path):
    """Five frames, of which each shows one picture, as Motion JPEG written by OpenCV."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (72, 48))
    for row in (0, 3, 6, 9, 0):
        writer.write(cv2.imread(str(detection / "images" / f"{row}.png")))
    writer.release()
    return path


def test_a_video_gives_a_video(detection, clip, tmp_path):
    shutil.copy(detection / "images" / "1.png", tmp_path / "still.png")
    call("predict", detection / "run", clip, tmp_path / "still.png", "-o", tmp_path / "o", "--batch", 2)
    assert pictures(tmp_path / "o") == ["clip.mp4", "still.png"]
    made = cv2.VideoCapture(str(tmp_path / "o" / "clip.mp4"))
    assert made.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert made.get(cv2.CAP_PROP_FPS) == 5
    assert (made.get(cv2.CAP_PROP_FRAME_WIDTH), made.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (72, 48)
    made.release()
    names = [image["file_name"] for image in json.loads((tmp_path / "o" / "images.json").read_text())["images"]]
    assert names == [f"clip.avi#{frame}" for frame in range(5)] + ["still.png"]


def test_frames_come_as_they_were_written(tmp_path):
    """Blocks of one colour survive the compression: order, size and channels."""
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
    with VideoWriter(tmp_path / "a.mp4", 64, 48, 10.0) as writer:
        for colour in colours:
            writer.write(np.full((48, 64, 3), colour, np.uint8))
    video = Video.open(tmp_path / "a.mp4")
    assert (video.width, video.height, video.fps, video.count) == (64, 48, 10.0, 3)
    for frame, colour in zip(video.frames(), colours, strict=True):
        assert frame.shape == (48, 64, 3)
        assert np.abs(frame.mean(axis=(0, 1)) - colour).max() < 12


def test_a_video_that_is_not_finished_is_not_there(tmp_path):
    with pytest.raises(cv2.error), VideoWriter(tmp_path / "a.mp4", 64, 48, 10.0) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8).astype(object))
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_says_classes(classification, tmp_path):
    given = [classification / "images" / f"{row}.png" for row in range(3)]
    done = call("predict", classification / "run", *given, "-o", tmp_path, "--json")
    assert pictures(tmp_path) == ["0.png", "1.png", "2.png"]
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    said = json.loads(done.stdout)["predictions"]
    for row, answer in zip(rows, said, strict=True):
        scores = {name: float(row[name]) for name in ("red", "blue", "green")}
        assert row["image"] == answer["image"]
        assert answer["found"][0]["category"] == row["predicted"]
        assert {one["category"] for one in answer["found"][1:]} <= {name for name in scores if scores[name] >= 0.3}
        assert row["predicted"] == max(scores, key=scores.get)
        assert sum(scores.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_a_training_leaves_its_predictions_drawn(task, request):
    folder = request.getfixturevalue(task)
    with PIL.Image.open(folder / "run" / "predictions.png") as picture:
        assert picture.size[0] == 2 * 16 + 4 * 300 + 3 * 8  # margins, two images twice in a row, gaps
        colours = {colour for _, colour in picture.getcolors(1 << 24)}
    assert len(colours) > 100


def test_a_picture_that_fails_costs_no_training(detection, tmp_path, monkeypatch):
    from augsuite.study import session

    data = augsuite.read(detection / "data")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "predictions.png").write_bytes(b"of an earlier run")
    monkeypatch.setattr(session, "beside_truth", lambda *_: 1 // 0)
    with pytest.warns(RuntimeWarning, match="no predictions are drawn: ZeroDivisionError"):
        train_once("ssd", {**DETECTOR, "epochs": 1}, data, data, policy("none"), 0, tmp_path / "run", draw=3)
    assert (tmp_path / "run" / "record.json").exists()
    assert not (tmp_path / "run" / "predictions.png").exists()


def test_what_makes_no_sense_is_refused(detection, tmp_path):
    image, run = detection / "images" / "0.png", detection / "run"
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "empty").mkdir()
    assert "holds no model.pt" in fails("predict", tmp_path, image, "-o", tmp_path / "o")
    assert "no such file" in fails("predict", tmp_path / "gone.pt", image, "-o", tmp_path / "o")
    assert "damaged" in fails("predict", image, image, "-o", tmp_path / "o")
    assert "not a video" in fails("predict", run, tmp_path / "broken.mp4", "-o", tmp_path / "o")
    assert "holds no images" in fails("predict", run, tmp_path / "empty", "-o", tmp_path / "o")
    assert "alone" in fails("predict", run, image, detection / "data", "-o", tmp_path / "o")
    assert "no such file or folder" in fails("predict", run, tmp_path / "gone.png", "-o", tmp_path / "o")
    assert "gone.png: no such file" in fails("predict", run, image, tmp_path / "gone.png", "-o", tmp_path / "o")
    assert "folder of a run" in fails("predict", run, image, "-o", run)
    assert "replace the image itself" in fails("predict", run, image, "-o", detection / "images")
    assert "splits" in fails("predict", run, image, "--split", "val", "-o", tmp_path / "o")
    (tmp_path / "bad.png").write_bytes(b"garbage")
    assert "bad.png" in fails("predict", run, tmp_path / "bad.png", "-o", tmp_path / "o")
    (copy,) = (detection / "data").rglob("0.png")
    assert image.read_bytes() == copy.read_bytes()


def test_a_model_that_would_run_code_is_refused(tmp_path):
    import torch

    torch.save({"trainer": "ssd", "config": DataError("x")}, tmp_path / "model.pt")
    with pytest.raises(DataError, match="can load safely"):
        prediction.load_model(tmp_path)


def test_a_predictor_that_miscounts_is_named():
    class Short:
        categories, task = ["a"], "detection"

        def __call__(self, images):
            return [Prediction(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))] * (len(images) - 1)

    with pytest.raises(PluginError, match="Short: 1 predictions for 2 images"):
        list(prediction.predict(Short(), [("a", np.zeros((2, 2, 3), np.uint8))] * 2))


def test_tags_and_lines_grow_with_the_image():
    found = Prediction(np.array([[100.0, 100.0, 900.0, 900.0]]), np.array([0]), np.array([0.9]))
    changed = {}
    for side in (1000, 4000):
        plain = np.full((side, side, 3), 90, np.uint8)
        drawn = prediction.drawn(plain, found, ["cat"], "detection")
        changed[side] = int((drawn != plain).any(axis=2)[500].sum())
        assert (plain == 90).all()
    assert changed == {1000: 4, 4000: 20}  # the row crosses the two upright lines
    assert (prediction.drawn(plain, found, ["cat"], "detection", 0.95) == 90).all()


# The table of layers


def test_the_table_of_layers_counts_as_by_hand():
    """Weights and multiply-adds of the first and the last layer, worked out from their shapes; all weights as torchvision has them."""
    pytest.importorskip("torchinfo")
    done = call("network", "finetune", "--set", "model=squeezenet1_1", "--set", "size=64", "--set", "weights=none",
                "--classes", 3, "--depth", 3, "--json")  # fmt: skip
    table = json.loads(done.stdout)
    layers = {layer["name"]: layer for layer in table["layers"]}
    first = layers["features.0"]
    assert (first["kind"], first["output"]) == ("Conv2d", [1, 64, 31, 31])  # (64 - 3) // 2 + 1
    assert first["parameters"] == 64 * 3 * 9 + 64
    assert first["multiplications"] == (64 * 3 * 9 + 64) * 31 * 31
    head = layers["classifier.1"]
    assert (head["output"][1], head["parameters"]) == (3, 512 * 3 + 3)
    assert (
        layers[""]["parameters"]
        == table["parameters"]
        == sum(layers[name]["parameters"] for name in ("features", "classifier"))
    )
    import torchvision

    plain = torchvision.models.squeezenet1_1(num_classes=3)
    assert table["parameters"] == sum(part.numel() for part in plain.parameters())


def test_the_table_of_layers_is_printed(detection):
    pytest.importorskip("torchinfo")
    done = call("network", "ssd", "--set", "size=64", "--set", "width=16", "--classes", 2, "--depth", 1)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
    assert "parameters" in lines[-1]
    assert "for one image of 64 x 64" in lines[-1]


def test_a_trainer_without_a_network_is_said(tmp_path):
    import studykit

    with studykit.installed(studykit.install(tmp_path)):
        assert "declares no network" in fails("network", "quick")
