"""A COCO dataset, written by hand, that uses what JSON and the format allow; and its comparison, in which spelling counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import PIL.Image

TRAIN = r"""{
 "info": {"description": "odd \u00e4 \ud83d\ude00 / \/", "year": 2017, "version": 1.50, "contributor": null,
  "list": [1, 2.0, {"a": -0.0}], "big": 12345678901234567890.5},
 "licenses": [{"id": 1, "name": "A", "url": "http:\/\/x.y"}, {"id": 7, "name": null, "odd": 1e-05}],
 "categories": [
  {"id": 90, "name": "d\u00f6g & \"cat\"", "supercategory": "animal", "keypoints": ["nose", "ear l"], "skeleton": [[1, 2]]},
  {"id": 3, "name": "a b", "supercategory": null},
  {"id": 18, "name": "unused \u72ac", "isthing": 1, "color": [1, 2, 3]}
 ],
 "images": [
  {"id": 900100581904, "file_name": "a.jpg", "width": 40, "height": 30, "license": 7, "flickr_url": "http:\/\/a",
   "date_captured": "2013-11-14 17:02:52", "coco_url": ""},
  {"id": 5, "file_name": "sub dir/\u00fc b.jpg", "width": 41, "height": 31, "license": null,
   "extra": {"deep": [null, true, 9007199254740993]}},
  {"id": 7, "file_name": "empty.jpg", "height": 30, "width": 40}
 ],
 "annotations": [
  {"id": 12, "image_id": 5, "category_id": 90, "bbox": [1.50, 2, 10, 10.0], "area": 100.0, "iscrowd": 0,
   "segmentation": [[1.5, 2, 11.50, 2, 11.5, 12.0, 1.5, 12]], "score": 0.10},
  {"id": 4, "image_id": 900100581904, "category_id": 3, "bbox": [1e-05, -0.0, 3.25, 4E0], "area": null,
   "segmentation": {"size": [30, 40], "counts": [0, 9, 1191]}, "iscrowd": 1},
  {"id": 9007199254740993, "image_id": 900100581904, "category_id": 3, "bbox": [0, 0, 40, 30], "iscrowd": false,
   "attributes": {"n": 12345678901234567890, "f": 12345678901234567890.5, "e": 1e-05}, "area": 1200},
  {"id": 13, "image_id": 5, "category_id": 90, "bbox": [0.3333333333333333, 0.1, 0.7000000000000001, 9],
   "segmentation": {"size": [31, 41], "counts": "abc\\`0d"}, "keypoints": [1, 2, 2, 3.50, 4, 1], "num_keypoints": 2,
   "area": 12345678901234567890.5},
  {"id": 1, "image_id": 5, "category_id": 3, "bbox": [-2.5, 3, 100, 5], "segmentation": [],
   "segments_info": [{"id": 1, "category_id": 3, "iscrowd": 0, "bbox": [1, 2, 3, 4], "area": 1.0}]}
 ],
 "type": "instances", "extra_top": [1.0, 10], "nothing": null
}"""
VAL = r"""{
 "info": {"description": "val"},
 "licenses": [],
 "categories": [
  {"id": 3, "name": "a b", "supercategory": null},
  {"id": 90, "name": "d\u00f6g & \"cat\"", "supercategory": "animal", "keypoints": ["nose", "ear l"], "skeleton": [[1, 2]]}
 ],
 "images": [
  {"id": 5, "file_name": "a.jpg", "width": 20, "height": 30},
  {"id": 1, "file_name": "sub dir/\u00fc b.jpg", "width": 41, "height": 31}
 ],
 "annotations": [
  {"id": 12, "image_id": 1, "category_id": 90, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0},
  {"id": 5, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12.5, "iscrowd": 0, "segmentation": null}
 ]
}"""
FILES = {
    "train2017": {"a.jpg": (40, 30), "sub dir/ü b.jpg": (41, 31), "empty.jpg": (40, 30)},
    "val2017": {"a.jpg": (20, 30), "sub dir/ü b.jpg": (41, 31)},
}


def write_odd(folder: Path) -> Path:
    """Write the dataset: two splits that share ids and file names, categories in another order in each."""
    (folder / "annotations").mkdir(parents=True)
    for split, text in (("train2017", TRAIN), ("val2017", VAL)):
        (folder / "annotations" / f"instances_{split}.json").write_text(text, encoding="utf-8")
    for split, files in FILES.items():
        for number, (name, size) in enumerate(files.items()):
            path = folder / "images" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("RGB", size, (number * 50, 10, 200 if split == "val2017" else 90)).save(path)
    return folder


def spelled(path: Path) -> Any:
    """A JSON file with each number as the text that stands there, marked, so that 1.5, 1.50 and "1.5" differ."""
    return json.loads(
        path.read_bytes(), parse_float=lambda text: f"number {text}", parse_int=lambda text: f"number {text}"
    )


def of_folder(folder: Path) -> dict[str, Any]:
    """Name of each annotation file -> what it says."""
    return {path.name: spelled(path) for path in sorted((folder / "annotations").glob("*.json"))}
