"""Other people's readers on what we write, value by value: pycocotools, torchvision, Datumaro."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from cocokit import TRAIN, VAL, write_odd
from peers import peer_python, run_peer

import augsuite
from augsuite import conversion
from augsuite.boxes import Layout

BOXES = {
    ("train", "a.jpg"): [("cat", [4, 3, 20, 15]), ("dög & co", [0, 0, 40, 30])],
    ("val", "ü c.jpg"): [("dög & co", [1, 2, 11, 27]), ("cat", [10, 4, 5, 8])],
    ("train", "empty.jpg"): [],
}
SIZES = {"a.jpg": (40, 30), "ü c.jpg": (16, 32), "empty.jpg": (8, 8)}


def dataset(folder: Path) -> augsuite.Dataset:
    """Boxes by hand; category and image ids with gaps, a category without boxes, an image without any."""
    folder.mkdir()
    for number, (name, size) in enumerate(SIZES.items()):
        PIL.Image.new("RGB", size, (number * 90, 40, 200)).save(folder / name)
    classes = ["unused", "cat", "dög & co"]
    rows = [(row, classes.index(label), box) for row, found in enumerate(BOXES.values()) for label, box in found]
    return augsuite.Dataset(
        augsuite.Images.of(SIZES, list(SIZES.values()), [7, 900_100_581_904, 3], [split for split, _ in BOXES], SIZES),
        augsuite.Categories.of(classes, [90, 3, 18]),
        augsuite.Annotations.of(
            [image for image, _, _ in rows],
            [label for _, label, _ in rows],
            [box for _, _, box in rows],
            Layout.XYWH_PX,
            [40, 12, 5, 9],
        ),
        root=folder,
    )


# COCO


@pytest.mark.parametrize(("split", "text"), [("train2017", TRAIN), ("val2017", VAL)])
def test_pycocotools_finds_in_our_file_what_it_finds_in_the_original(tmp_path, capsys, split, text):
    """COCO -> VOC with a sidecar -> COCO, looked at through pycocotools' own index."""
    coco = pytest.importorskip("pycocotools.coco")
    source = write_odd(tmp_path / "in")
    conversion.convert(source, tmp_path / "voc", "voc", sidecar=True)
    conversion.convert(tmp_path / "voc", tmp_path / "out", "coco")
    name = f"annotations/instances_{split}.json"
    given, ours = coco.COCO(str(source / name)), coco.COCO(str(tmp_path / "out" / name))
    assert list(ours.imgs) == list(given.imgs)
    assert list(ours.anns) == list(given.anns)
    assert list(ours.cats) == list(given.cats)
    assert (ours.imgs, ours.anns, ours.cats) == (given.imgs, given.anns, given.cats)
    assert ours.dataset == json.loads(text)
    for category in given.cats:
        assert ours.getImgIds(catIds=[category]) == given.getImgIds(catIds=[category])
    capsys.readouterr()


def test_pycocotools_finds_what_came_from_another_format(tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    augsuite.write(dataset(tmp_path / "in"), tmp_path / "cvat", "cvat", sidecar=True)
    conversion.convert(tmp_path / "cvat", tmp_path / "out", "coco")
    train = coco.COCO(str(tmp_path / "out/annotations/instances_train.json"))
    assert {number: (image["file_name"], image["width"], image["height"]) for number, image in train.imgs.items()} == {
        7: ("a.jpg", 40, 30),
        3: ("empty.jpg", 8, 8),
    }
    assert {number: category["name"] for number, category in train.cats.items()} == {
        90: "unused",
        3: "cat",
        18: "dög & co",
    }
    assert {
        number: (row["category_id"], row["bbox"], row["area"], row["iscrowd"]) for number, row in train.anns.items()
    } == {
        40: (3, [4, 3, 20, 15], 300, 0),
        12: (18, [0, 0, 40, 30], 1200, 0),
    }
    capsys.readouterr()


def test_torchvision_pairs_images_and_targets(tmp_path, capsys):
    datasets = pytest.importorskip("torchvision.datasets")
    data = dataset(tmp_path / "in")
    augsuite.write(data, tmp_path / "out", "coco")
    home = tmp_path / "out"
    for split in ("train", "val"):
        judge = datasets.CocoDetection(home / "images" / split, home / f"annotations/instances_{split}.json")
        seen = {}
        for row, (image, targets) in enumerate(judge):
            name = judge.coco.imgs[judge.ids[row]]["file_name"]
            assert image.size == SIZES[name]
            assert np.array_equal(np.asarray(image), np.asarray(PIL.Image.open(data.root / name)))
            names = {number: category["name"] for number, category in judge.coco.cats.items()}
            seen[split, name] = [(names[each["category_id"]], each["bbox"]) for each in targets]
        assert seen == {key: boxes for key, boxes in BOXES.items() if key[0] == split}
    capsys.readouterr()


# VOC


def test_torchvision_reads_our_voc_as_it_reads_pascals(tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    data = dataset(tmp_path / "in")
    (tmp_path / "judge" / "VOCdevkit").mkdir(parents=True)
    augsuite.write(data, tmp_path / "judge" / "VOCdevkit" / "VOC2012", "voc")
    seen: dict[tuple[str, str], Any] = {}
    for split in ("train", "val"):
        for image, target in datasets.VOCDetection(tmp_path / "judge", year="2012", image_set=split):
            said = target["annotation"]
            name = said["filename"]
            assert image.size == SIZES[name] == (int(said["size"]["width"]), int(said["size"]["height"]))
            seen[split, name] = [
                (each["name"], [float(each["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")])
                for each in said.get("object", [])
            ]
    # Pixels count from 1 and the last belongs to the box: xmin = x + 1, xmax = x + width
    assert seen == {
        key: [(label, [x + 1, y + 1, x + w, y + h]) for label, (x, y, w, h) in boxes] for key, boxes in BOXES.items()
    }


# Datumaro

DATUMARO = """
import datumaro, json, sys
found = {}
for name, (path, kind) in json.loads(sys.argv[1]).items():
    data = datumaro.Dataset.import_from(path, kind)
    names = [each.name for each in data.categories()[datumaro.AnnotationType.label]]
    found[name] = [
        [item.subset, item.id, list(item.media.size or [])[::-1], [[names[each.label], each.get_bbox()] for each in item.annotations
         if isinstance(each, datumaro.Bbox)]]
        for item in data
    ]
print("FOUND " + json.dumps(found, default=float))
"""


@pytest.fixture(scope="module")
def datumaro(tmp_path_factory):
    """Format -> (split, stem) -> size, and labels with x, y, width, height."""
    place = tmp_path_factory.mktemp("datumaro")
    data = dataset(place / "in")
    python = peer_python("datumaro", "datumaro==1.13.12")
    for name in ("coco", "voc", "yolo", "cvat"):
        augsuite.write(data, place / name, name)
    augsuite.write(data, place / "darknet", "yolo", layout="darknet")
    # Without this file of its own Datumaro knows the 20 classes of Pascal alone
    (place / "voc" / "labelmap.txt").write_text("cat:::\ndög & co:::\n", encoding="utf-8")
    kinds = {"coco": "coco", "voc": "voc", "yolo": "yolo", "darknet": "yolo", "cvat": "cvat"}
    asked = {name: [str(place / name), kind] for name, kind in kinds.items()}
    said = run_peer(python, DATUMARO, json.dumps(asked), home=place)
    return {
        # `trainval` is Pascal's list of both, and darknet calls its second list `valid`
        name: {
            (split.removesuffix("id"), Path(stem).name): (size, boxes)
            for split, stem, size, boxes in items
            if split != "trainval"
        }
        for name, items in json.loads(said.split("FOUND ")[1]).items()
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["coco", "voc", "yolo", "darknet", "cvat"])
def test_datumaro_finds_each_box_of_each_split(datumaro, name):
    seen = datumaro[name]
    assert set(seen) == {(split, Path(image).stem) for split, image in BOXES}
    for (split, image), boxes in BOXES.items():
        size, found = seen[split, Path(image).stem]
        assert size == list(SIZES[image])
        if (
            name == "voc"
        ):  # Datumaro takes VOC's corners as they stand: they count from 1, and the last pixel belongs to the box
            boxes = [(label, [x + 1, y + 1, w - 1, h - 1]) for label, (x, y, w, h) in boxes]  # noqa: PLW2901
        for (label, box), (wanted, place) in zip(sorted(found), sorted(boxes), strict=True):
            assert label == wanted
            assert box == pytest.approx(place, abs=0.01)  # Datumaro rounds
