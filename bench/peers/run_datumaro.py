"""What Datumaro 1.13 does, by its own API. Run by the interpreter of its environment: CONVERSION INPUTS TARGET."""

import sys

from datumaro import Dataset

FORMATS = {"coco": "coco_instances", "voc": "voc_detection", "yolo": "yolo"}
conversion, inputs, target = sys.argv[1:]
start, _, end = conversion.partition("-")
Dataset.import_from(f"{inputs}/{start}", FORMATS[start]).export(target, FORMATS[end], save_media=False)
