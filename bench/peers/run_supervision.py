"""What supervision 0.31 does, by its own API. Run by the interpreter of its environment: CONVERSION INPUTS TARGET."""

import sys
from pathlib import Path

from supervision import DetectionDataset

conversion, inputs, target = sys.argv[1:]
images = f"{inputs}/photos/images/train2017"
folder = Path(target)
folder.mkdir(parents=True)
start, _, end = conversion.partition("-")
if start == "coco":
    data = DetectionDataset.from_coco(images, f"{inputs}/coco/annotations/instances_train2017.json")
else:
    data = DetectionDataset.from_pascal_voc(images, f"{inputs}/voc/Annotations")

if end == "voc":
    data.as_pascal_voc(annotations_directory_path=str(folder / "Annotations"))
elif end == "yolo":
    data.as_yolo(annotations_directory_path=str(folder / "labels"), data_yaml_path=str(folder / "data.yaml"))
else:
    data.as_coco(annotations_path=str(folder / "instances.json"))
