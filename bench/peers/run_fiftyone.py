"""What FiftyOne 1.22 does, by its own API. Run by the interpreter of its environment: CONVERSION INPUTS TARGET.

Its database is started here, on a port and in a folder of its own: otherwise FiftyOne joins any that the user has running, whose
work would not be counted. It is ended and waited for, so that its time belongs to this process's children.
"""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

conversion, inputs, target = sys.argv[1:]
start, _, end = conversion.partition("-")
home = tempfile.mkdtemp(prefix="bench-fiftyone-", dir=Path(target).parent)
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
mongod = Path(sysconfig.get_path("purelib"), "fiftyone", "db", "bin", "mongod")
database = subprocess.Popen(
    [mongod, "--dbpath", home, "--port", str(port), "--bind_ip", "127.0.0.1", "--quiet"], stdout=subprocess.DEVNULL
)
try:
    os.environ |= {
        "HOME": home,
        "FIFTYONE_DATABASE_URI": f"mongodb://127.0.0.1:{port}",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    }
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)

    import fiftyone as fo

    kinds = {"coco": fo.types.COCODetectionDataset, "voc": fo.types.VOCDetectionDataset, "yolo": fo.types.YOLOv5Dataset}
    labels = {"coco": "coco/annotations/instances_train2017.json", "voc": "voc/Annotations"}[start]
    paths = {"data_path": f"{inputs}/photos/images/train2017", "labels_path": f"{inputs}/{labels}"}
    only = {"label_types": ["detections"], "label_field": "boxes"} if start == "coco" else {"label_field": "boxes"}
    data = fo.Dataset.from_dir(dataset_type=kinds[start], **paths, **only)
    place = {
        "coco": {"labels_path": f"{target}/instances.json"},
        "voc": {"labels_path": f"{target}/labels"},
        "yolo": {"export_dir": target},
    }[end]
    data.export(dataset_type=kinds[end], label_field="boxes", export_media=False, **place)
finally:
    database.terminate()
    database.wait()
    shutil.rmtree(home, ignore_errors=True)
