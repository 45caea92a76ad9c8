"""The folder plugin, with torchvision's ImageFolder as judge."""

from __future__ import annotations

import pytest

import augsuite
from augsuite import conversion
from augsuite.errors import ConfigError, DataError


@pytest.fixture
def classes(tmp_path, image_file):
    for number, name in enumerate(("train/dog/2", "train/dog/10", "train/cat/1", "val/cat/1")):
        image_file(tmp_path / "in" / f"{name}.png", (8 + number, 6), (number, 0, 0))
    (tmp_path / "in" / "val" / "dog").mkdir()
    return tmp_path / "in"


def test_folders_become_image_labels(classes):
    data = augsuite.read(classes)
    assert data.images.names.tolist() == ["cat/1.png", "dog/2.png", "dog/10.png", "cat/1.png"]
    assert data.images.splits.tolist() == ["train", "train", "train", "val"]
    assert data.categories.names.tolist() == ["cat", "dog"]
    assert data.annotations.category_rows.tolist() == [0, 1, 1, 0]
    assert not data.annotations.is_box.any()
    assert data.sample(0).targets.tolist() == [1, 0]


def test_torchvision_agrees(classes, tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    augsuite.write(augsuite.read(classes), tmp_path / "out", "folder", lossless=True)
    judge = datasets.ImageFolder(tmp_path / "out" / "train")
    data = augsuite.read(tmp_path / "out").where(splits=["train"])
    assert judge.classes == data.categories.names.tolist()
    assert sorted(judge.samples) == sorted(
        (str(data.path(row)), int(data.annotations.category_rows[row])) for row in range(len(data))
    )


def test_splits_are_optional(tmp_path, image_file):
    image_file(tmp_path / "cat" / "a.jpg", (5, 5))
    image_file(tmp_path / "dog" / "a.jpg", (5, 5))
    data = augsuite.read(tmp_path)
    assert data.images.splits.tolist() == ["", ""]
    assert data.categories.names.tolist() == ["cat", "dog"]


def test_folders_of_another_format_are_not_classes(tmp_path, image_file):
    image_file(tmp_path / "images" / "a.jpg", (5, 5))
    image_file(tmp_path / "labels" / "a.png", (5, 5))
    with pytest.raises(ConfigError, match="no dataset format was recognised"):
        conversion.detect(tmp_path)


def test_boxes_do_not_become_labels_in_silence(tmp_path, image_file):
    image_file(tmp_path / "a.jpg", (5, 5))
    boxes = augsuite.Dataset(
        augsuite.Images.of(["a.jpg"], files=["a.jpg"]),
        augsuite.Categories.of(["x"]),
        augsuite.Annotations.of([0], [0], [[0, 0, 1, 1]]),
        root=tmp_path,
    )
    with pytest.raises(DataError, match="can hold none of the images"):
        augsuite.write(boxes, tmp_path / "out", "folder")
    assert not (tmp_path / "out").exists()


def test_the_real_sample(real_data):
    data = augsuite.read(real_data / "cifar10_sample")
    assert len(data) == 3000
    assert len(data.categories) == 10
    assert len(data.where(splits=["train"])) == 2000


def test_folders_that_are_all_called_like_splits_are_no_classes(tmp_path, image_file):
    for split in ("train", "valid", "test"):
        image_file(tmp_path / split / "a.jpg", (8, 6))
    with pytest.raises(ConfigError, match="no dataset format was recognised"):
        augsuite.read(tmp_path)


def test_where_only_a_folder_below_is_a_dataset_it_is_named(tmp_path, image_file):
    image_file(tmp_path / "VOCdevkit" / "VOC2007" / "JPEGImages" / "a.jpg", (8, 6))
    (tmp_path / "VOCdevkit" / "VOC2007" / "Annotations").mkdir()
    (tmp_path / "VOCdevkit" / "VOC2007" / "Annotations" / "a.xml").write_text(
        "<annotation><filename>a.jpg</filename></annotation>"
    )
    with pytest.raises(ConfigError, match=r"its folder VOC2007 is voc\. Name .*/VOC2007 instead\.$"):
        augsuite.read(tmp_path / "VOCdevkit")


def test_images_beside_a_folder_of_other_files_are_no_class(tmp_path, image_file):
    image_file(tmp_path / "image_2" / "a.png", (8, 6))
    (tmp_path / "label_2").mkdir()
    (tmp_path / "label_2" / "a.txt").write_text("Car 0.00 0 -1.5 1 2 3 4 1 1 1 1 1 1 1\n")
    with pytest.raises(ConfigError, match="no dataset format was recognised"):
        augsuite.read(tmp_path)
