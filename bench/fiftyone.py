"""FiftyOne beside our plugin: samples and predictions into it, augmented copies of samples in it, and whether their boxes are right.

    python bench/fiftyone.py                              20,000 samples with 7 boxes, 200 images augmented: some minutes
    python bench/fiftyone.py --samples 2000 --rounds 1    a smaller one; --only loading, augmenting or boxes for a part
    python bench/fiftyone.py --peer marks=CHECKOUT --packages marks=FOLDER    beside another plugin, a checkout of it
    python bench/fiftyone.py --json -                     every figure, the machine, the versions and the goals

A peer is a plugin of FiftyOne whose `__init__.py` has `transform_sample(sample, transforms, label_fields)`, as
jacobmarks/fiftyone-albumentations-plugin has: the work of its operator for one sample. `--packages` names a folder of packages for its
process alone (`pip install --target FOLDER 'albumentations==1.4.4' ...`): it was written for older ones than ours.

Everything runs on a MongoDB of its own in a temporary folder. Figures are CPU seconds, of the process and of MongoDB; contenders take
turns, and the median of the rounds is shown.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # this file is called as the package is, which must come first

import argparse
import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

from fiftyone_tables import goals, show
from machine import facts, versions

PARTS = ("loading", "augmenting", "boxes")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--boxes", type=int, default=7, help="of each sample")
    parser.add_argument(
        "--data", help="a dataset to augment: bccd, or what is bundled (shelf) where AUGSUITE_DATA is not set"
    )
    parser.add_argument("--images", type=int, default=200, help="of it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--packages", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--json", metavar="FILE", help="- for standard output")
    options = parser.parse_args()
    peers = dict(pair.split("=", 1) for pair in options.peer)
    packages = dict(pair.split("=", 1) for pair in options.packages)
    work = Path(tempfile.mkdtemp(prefix="augsuite-bench-"))
    # Not sooner: FiftyOne asks its database once more when Python ends, and waits for one whose files are gone.
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    before = facts(work)
    data = options.data or ("bccd" if os.environ.get("AUGSUITE_DATA") else "shelf")
    for name, place in (("HOME", "home"), ("XDG_DATA_HOME", "data"), ("XDG_CACHE_HOME", "cache")):
        (work / place).mkdir()
        os.environ[name] = str(work / place)
    os.environ.pop("FIFTYONE_DATABASE_URI", None)
    found = measure(options, data, work, peers, packages)
    found |= {"machine": before | {"load_after": os.getloadavg()}, "versions": versions(), "goals": goals(found)}
    if options.json == "-":
        print(json.dumps(found, indent=1))
        return
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))
    show(found)


def measure(
    options: argparse.Namespace, data: str, work: Path, peers: dict[str, str], packages: dict[str, str]
) -> dict[str, Any]:
    """Every part that was asked for; MongoDB ends with the last process that uses it."""
    from fiftyone_augmenting import augmenting, boxes
    from fiftyone_loading import loading

    wanted = options.only or PARTS
    found: dict[str, Any] = {}
    if "loading" in wanted:
        found["loading"] = loading(options.samples, options.boxes, options.rounds, work)
    if "augmenting" in wanted:
        found["augmenting"] = augmenting(data, options.images, options.rounds, work, peers, packages)
    if "boxes" in wanted:
        found["boxes"] = boxes(work, peers, packages)
    return found


if __name__ == "__main__":
    main()
