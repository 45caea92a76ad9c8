"""`finetune` on datasets on disk, of every format that can hold a label of a whole image."""

import numpy as np
import PIL.Image
import pytest

import augsuite
from augsuite import registry
from augsuite.augment import Policy
from augsuite.errors import DataError
from augsuite.study.session import train_once

FORMATS = [
    name
    for name, spec in registry.default().formats().items()
    if "image_labels" in spec.keeps and spec.writable and not spec.scheme
]
PLAIN = Policy(name="none", steps=())
SETTINGS = {
    "model": "lenet",
    "weights": "none",
    "size": 32,
    "epochs": 8,
    "batch_size": 8,
    "optimizer": "adam",
    "lr": 3e-4,
    "precision": "fp32",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Red and blue pictures in folders of these names: what a network learns is what the folders say."""
    root = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    for channel, name in ((0, "red"), (2, "blue")):
        (root / name).mkdir()
        for row in range(12):
            pixels = rng.integers(0, 80, (32, 32, 3), dtype=np.uint8)
            pixels[:, :, channel] += 120
            PIL.Image.fromarray(pixels).save(root / name / f"{name}{row}.png")
    return root


def test_the_usual_formats_are_among_them():
    assert {"csv", "folder", "imagefolder", "openimages", "parquet"} <= set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_classifier_learns_from_every_format_that_holds_labels(name, folders, tmp_path):
    augsuite.convert(folders, tmp_path / "data", to=name)
    data = augsuite.read(tmp_path / "data")
    assert len(data) == 24
    record = train_once("finetune", SETTINGS, data, data, PLAIN, 0, tmp_path / "run")
    assert record.metrics["top1"] == 100.0
    assert record.metrics["top1/red"] == record.metrics["top1/blue"] == 100.0


def test_boxes_alone_are_one_clear_line(tmp_path):
    (tmp_path / "boxes").mkdir()
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "boxes" / "a.png")
    (tmp_path / "boxes" / "labels.csv").write_text(
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,32,32,cat,1,1,9,9\n"
    )
    data = augsuite.read(tmp_path / "boxes")
    with pytest.raises(DataError, match=r"no image labels.*It has boxes: try the trainer ssd"):
        train_once("finetune", SETTINGS, data, data, PLAIN, 0, tmp_path / "run")
