"""Measure how cost grows: with the number of images (of annotations like COCO's), from 1 process to 2, and what lies under it.

    python bench/scale.py [--sizes 10000,100000,1000000] [--pictures 2000] [--files 100000] [--tasks 500] [--no-ray] [--json FILE|-]

Each step is a command of its own, measured with all that it starts. Then: images read from files and from shards, in their order and
at random; folders listed; tasks and bytes through Ray on this machine. No figure here has a goal: they are there to be extrapolated
from, which the last table does, by a straight line through what was measured (docs/scale.md says what that leaves out). Linux only.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import inputs
import machine
import scale_under
from measure import Cost, measured
from scale_report import line_through, show

HERE = Path(__file__).resolve().parent
STEPS = ("generate", "stats", "validate", "coco-csv", "coco-csv --stream", "coco-webdataset", "shards")
TWICE = ("coco-csv", "coco-webdataset")  # with two workers, too


@dataclass(frozen=True)
class Measured:
    """What one step took.

    Attributes:
        step: its name.
        images: of how many images.
        workers: processes.
        cost: time and memory.
        megabytes: of the file of annotations that was read, or of what `generate` wrote.
    """

    step: str
    images: int
    workers: int
    cost: Cost
    megabytes: float


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def grow(options: argparse.Namespace, work: Path) -> list[Measured]:
    """Each step at each size."""
    found: list[Measured] = []
    for images in options.sizes:
        folder = work / f"coco-{images}"
        file = folder / "annotations" / "instances_train2017.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        out, shards = work / "out", work / "shards"
        for place in (out, shards):
            shutil.rmtree(place, ignore_errors=True)
        ours = str(inputs.AUGSUITE)
        none = ["--images", "none"]
        commands: dict[str, list[str]] = {
            "generate": [sys.executable, str(HERE / "train2017.py"), str(file), "--images", str(images)],
            "stats": [ours, "stats", str(folder), "--json"],
            "validate": [ours, "validate", str(folder), "--annotations-only", "--json"],
            "coco-csv": [ours, "convert", str(folder), str(out), "--to", "csv", *none, "--overwrite"],
            "coco-webdataset": [ours, "convert", str(folder), str(shards), "--to", "webdataset", *none, "--overwrite"],
            "shards": [ours, "stats", str(shards), "--json"],
        }
        commands["coco-csv --stream"] = [*commands["coco-csv"], "--stream"]
        for step in STEPS:
            for workers in (1, 2) if step in TWICE else (1,):
                many = ["--workers", str(workers)] if workers > 1 else []
                cost = measured([*commands[step], *many], options.limit, options.memory * 10**9, work / "log.txt")
                if step == "validate" and cost.failure and "(exit status 1)" in cost.failure:
                    cost = Cost(cost.cpu_s, cost.wall_s, cost.peak_mb, None)  # it found something, as in any such file
                found.append(Measured(step, images, workers, cost, file.stat().st_size / 1e6))
                tell(f"{step} {images:,} workers {workers}: {said(cost)}")
        for place in (out, shards, folder):
            shutil.rmtree(place, ignore_errors=True)
    return found


def said(cost: Cost) -> str:
    return cost.failure or f"{cost.cpu_s:.2f} s CPU, {cost.wall_s:.2f} s, {cost.peak_mb:,.0f} MB"


def lines(found: list[Measured]) -> list[dict[str, object]]:
    """For each step of one worker: a constant and a slope, of CPU time and of memory; None where two sizes did not finish."""
    result: list[dict[str, object]] = []
    for step in STEPS:
        rows = [row for row in found if row.step == step and row.workers == 1 and not row.cost.failure]
        if len({row.images for row in rows}) < 2:
            result.append({"step": step, "cpu_s": None, "peak_mb": None})
            continue
        images = [row.images for row in rows]
        result.append(
            {
                "step": step,
                "cpu_s": line_through(images, [row.cost.cpu_s for row in rows]),
                "peak_mb": line_through(images, [row.cost.peak_mb for row in rows]),
            }
        )
    return result


def parse() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--sizes", type=numbers, default=[10_000, 100_000, 1_000_000], help="images (default: 10000,100000,1000000)")
    add("--pictures", type=int, default=2000, help="photographs in files and shards (default: %(default)s)")
    add("--files", type=int, default=100_000, help="files of a folder that is listed (default: %(default)s)")
    add("--tasks", type=int, default=500, help="through each engine (default: %(default)s)")
    add("--no-ray", action="store_true", help="leave Ray out")
    add("--limit", type=float, default=3600, help="seconds for one step (default: %(default)s)")
    add("--memory", type=int, default=12, help="10^9 bytes for one process (default: %(default)s)")
    add("--json", metavar="FILE", help="write all figures; - for standard output, and the tables go to standard error")
    add("--work", type=Path, help="make the files here (default: a temporary folder)")
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="augsuite-scale-", dir=options.work) as made:
        work = Path(made)
        facts = machine.facts(work)
        grown = grow(options, work)
        reads = scale_under.images(work, options.pictures, tell)
        listed = scale_under.listing(work, options.files, tell)
        ray = not options.no_ray and importlib.util.find_spec("ray") is not None
        engines = scale_under.engines(options.tasks, ray=ray, tell=tell)
        store = scale_under.object_store(tell) if ray else None
    found = {
        "machine": facts | {"load_after": os.getloadavg()},
        "command": ["python", *sys.argv],
        "versions": machine.versions(),
        "grown": [asdict(row) for row in grown],
        "lines": lines(grown),
        "images": reads,
        "listing": listed,
        "engines": engines,
        "object_store": store,
        "goals": {},
    }
    show(found, sys.stderr if options.json == "-" else sys.stdout)
    if options.json == "-":
        print(json.dumps(found, indent=2))
    elif options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
