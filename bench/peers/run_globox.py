"""What globox 2.9 does, by its own API. Run by the interpreter of its environment: CONVERSION INPUTS TARGET."""

import sys
from pathlib import Path

from globox import AnnotationSet

conversion, inputs, target = sys.argv[1], *map(Path, sys.argv[2:])
target.mkdir(parents=True)
start, _, end = conversion.partition("-")
if start == "coco":
    data = AnnotationSet.from_coco(inputs / "coco" / "annotations" / "instances_train2017.json")
elif start == "voc":
    data = AnnotationSet.from_pascal_voc(inputs / "voc" / "Annotations")
else:
    # Its one reader of CSV with a row for each box; it takes the sizes from the image files.
    data = AnnotationSet.from_openimage(
        inputs / "openimages" / "annotations.csv", image_folder=inputs / "photos" / "images" / "train2017"
    )

if end == "voc":
    data.save_pascal_voc(target)
elif end == "yolo":
    names = sorted(data._id_to_label.values())  # noqa: SLF001 - a loop over all boxes to find them would be ours, not globox's
    data.save_yolo_v5(target, label_to_id={name: number for number, name in enumerate(names)})
elif end == "csv":
    data.save_openimage(target / "annotations.csv")
else:
    data.save_coco(target / "instances.json", auto_ids=True)
