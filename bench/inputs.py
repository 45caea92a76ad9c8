"""The same made-up dataset in each form that somebody reads: COCO, VOC, CSV, the CSV of OpenImages, and image files."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import train2017

SPLIT = "train2017"
AUGSUITE = Path(sys.executable).with_name("augsuite")
LINKS = 30_000  # of one file; ext4 allows 65,000
_DONE = "made"


def coco_file(folder: Path) -> Path:
    return folder / "coco" / "annotations" / f"instances_{SPLIT}.json"


def photos(folder: Path) -> Path:
    return folder / "photos" / "images" / SPLIT


def make(folder: Path, images: int, *, converted: bool, pictures: bool) -> None:
    """Make what is not there yet.

    Args:
        folder: gets `coco/`, and, on request, `voc/`, `csv/`, `openimages/annotations.csv` and `photos/`.
        images: how many.
        converted: make the sources of VOC->COCO and CSV->COCO.
        pictures: make `photos/`: the COCO dataset again, with an image file of the right size for each image, all of one grey.
            They are links to a few files.
    """
    _once(folder, "coco", lambda: _coco(folder, images))
    if converted:
        _once(folder, "voc", lambda: _voc(folder))
        _once(folder, "csv", lambda: _ours(folder, "csv"))
        _once(folder, "openimages", lambda: _openimages(folder))
    if pictures:
        _once(folder, "photos", lambda: _photos(folder))


def _once(folder: Path, name: str, work) -> None:  # noqa: ANN001 - a function without arguments
    marks = folder / "marks"
    if not (marks / name).exists():
        print(f"making {folder / name}", file=sys.stderr, flush=True)
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
        work()
        marks.mkdir(exist_ok=True)
        (marks / name).touch()


def _coco(folder: Path, images: int) -> None:
    coco_file(folder).parent.mkdir()
    (folder / "coco" / "images").mkdir()  # Datumaro insists on the folder, not on files in it
    train2017.write(coco_file(folder), images)


def _ours(folder: Path, to: str) -> None:
    command = [AUGSUITE, "convert", folder / "coco", folder / to, "--to", to, "--images", "none", "--overwrite"]
    (folder / to).rmdir()
    subprocess.run(command, check=True, capture_output=True)


def _voc(folder: Path) -> None:
    _ours(folder, "voc")
    # Datumaro wants to be told the classes.
    names = (f"class {number}:::" for number in train2017.NUMBERED)
    (folder / "voc" / "labelmap.txt").write_text("\n".join(names) + "\n")


def _openimages(folder: Path) -> None:
    with (
        (folder / "csv" / "annotations.csv").open(newline="") as source,
        (folder / "openimages" / "annotations.csv").open("w", newline="") as target,
    ):
        out = csv.writer(target)
        out.writerow(["ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax"])
        for row in csv.DictReader(source):
            if row["xmin"]:
                width, height = float(row["width"]), float(row["height"])
                x, y = (
                    (float(row[name]) / width for name in ("xmin", "xmax")),
                    (float(row[name]) / height for name in ("ymin", "ymax")),
                )
                out.writerow([row["filename"], row["class"], *x, *y])


def _photos(folder: Path) -> None:
    from PIL import Image

    annotations = folder / "photos" / "annotations"
    annotations.mkdir()
    os.link(coco_file(folder), annotations / coco_file(folder).name)
    photos(folder).mkdir(parents=True)
    place = os.fspath(photos(folder)) + "/"
    first: dict[tuple[int, int], tuple[str, int]] = {}
    for image in json.loads(coco_file(folder).read_bytes())["images"]:
        size, name = (image["width"], image["height"]), place + image["file_name"]
        original, links = first.get(size, ("", LINKS))
        if links == LINKS:
            Image.new("L", size, 128).save(name, quality=50)
            first[size] = (name, 1)
        else:
            os.link(original, name)
            first[size] = (original, links + 1)
