"""FiftyOne reads what we write: each importer of detections and labels, value by value."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

import augsuite
from augsuite.boxes import Layout

BOXES = {
    "a.png": [("cat", [4, 3, 20, 15]), ("dög & co", [0, 0, 40, 30])],
    "b c.png": [("dög & co", [1, 2, 11, 27]), ("cat", [10, 4, 5, 8])],
    "empty.png": [],
}
SIZES = {"a.png": (40, 30), "b c.png": (16, 32), "empty.png": (8, 8)}


def dataset(folder: Path) -> augsuite.Dataset:
    folder.mkdir()
    for number, (name, size) in enumerate(SIZES.items()):
        PIL.Image.new("RGB", size, (number * 90, 40, 200)).save(folder / name)
    classes = ["unused", "cat", "dög & co"]
    rows = [(row, classes.index(label), box) for row, found in enumerate(BOXES.values()) for label, box in found]
    return augsuite.Dataset(
        augsuite.Images.of(SIZES, list(SIZES.values()), [7, 900, 3], ["val"] * 3, SIZES),
        augsuite.Categories.of(classes, [90, 3, 18]),
        augsuite.Annotations.of(
            [image for image, _, _ in rows],
            [label for _, label, _ in rows],
            [box for _, _, box in rows],
            Layout.XYWH_PX,
        ),
        root=folder,
    )


@pytest.fixture(scope="module")
def found(fo, tmp_path_factory):
    """Format -> what FiftyOne's importer found: file name -> label and box, as fractions of the image."""
    place = tmp_path_factory.mktemp("fiftyone")
    data = dataset(place / "in")
    for name in ("coco", "voc", "yolo", "cvat"):
        augsuite.write(data, place / name, name)
    labels = augsuite.Annotations.of([0, 1, 2], [1, 2, 1])
    folder = augsuite.Dataset(
        augsuite.Images.of(SIZES, list(SIZES.values()), files=SIZES), data.categories, labels, root=place / "in"
    )
    augsuite.write(folder, place / "folder", "folder")
    asked = {
        "coco": (
            "COCODetectionDataset",
            {"data_path": str(place / "coco/images/val"), "labels_path": str(place / "coco/annotations/instances_val.json"),
             "include_id": False},
        ),
        "voc": (
            "VOCDetectionDataset",
            {"data_path": str(place / "voc/JPEGImages"), "labels_path": str(place / "voc/Annotations")},
        ),
        "yolo": ("YOLOv5Dataset", {"yaml_path": str(place / "yolo/data.yaml"), "split": "val"}),
        "cvat": (
            "CVATImageDataset",
            {"data_path": str(place / "cvat/images"), "labels_path": str(place / "cvat/annotations.xml")},
        ),
        "folder": ("ImageClassificationDirectoryTree", {"dataset_dir": str(place / "folder")}),
    }  # fmt: skip
    return {name: dict(_read(fo, kind, options)) for name, (kind, options) in asked.items()}


def _read(fo, kind, options):
    """Image file -> label and box, as fractions, of each detection; or the label of the whole image."""
    data = fo.Dataset.from_dir(dataset_type=getattr(fo.types, kind), progress=False, **options)
    fields = [name for name in ("ground_truth", "detections", "label") if name in data.get_field_schema()]
    for sample in data:
        label = next((sample[name] for name in fields if sample[name] is not None), None)
        found = (
            [[each.label, list(each.bounding_box)] for each in label.detections]
            if hasattr(label, "detections")
            else label and label.label
        )
        yield Path(sample.filepath).name, found or []
    data.delete()


@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "cvat"])
def test_boxes_are_where_they_were(found, name):
    read = found[name]
    assert set(read) - {"empty.png"} == {"a.png", "b c.png"}
    for image, boxes in BOXES.items():
        width, height = SIZES[image]
        if (
            name == "voc"
        ):  # FiftyOne takes VOC's corners as they stand: they count from 1, and the last pixel belongs to the box
            boxes = [(label, (x + 1, y + 1, w - 1, h - 1)) for label, (x, y, w, h) in boxes]  # noqa: PLW2901
        expected = sorted((label, [x / width, y / height, w / width, h / height]) for label, (x, y, w, h) in boxes)
        for (label, box), (wanted, place) in zip(sorted(read.get(image, [])), expected, strict=True):
            assert label == wanted
            assert box == pytest.approx(place, abs=1e-6)


def test_labels_are_the_names_of_folders(found):
    assert found["folder"] == {"a.png": "cat", "b c.png": "dög & co", "empty.png": "cat"}
