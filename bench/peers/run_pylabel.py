"""What PyLabel 0.1 does, by its own API. Run by the interpreter of its environment: CONVERSION INPUTS TARGET."""

import sys
from pathlib import Path

from pylabel import importer

conversion, inputs, target = sys.argv[1:]
images = f"{inputs}/photos/images/train2017"
folder = Path(target)
folder.mkdir(parents=True)
start, _, end = conversion.partition("-")
if start == "coco":
    data = importer.ImportCoco(f"{inputs}/coco/annotations/instances_train2017.json", path_to_images=images)
else:
    data = importer.ImportVOC(f"{inputs}/voc/Annotations", path_to_images=images)

if end == "voc":
    data.export.ExportToVoc(output_path=str(folder))
elif end == "yolo":
    data.export.ExportToYoloV5(output_path=str(folder / "labels"), yaml_file="data.yaml")
else:
    data.export.ExportToCoco(output_path=str(folder / "instances.json"))
