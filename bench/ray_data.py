"""Time the two roads that Ray has for images: tasks, which our engine `ray` uses, and Ray Data. One cluster of two processes.

    python bench/ray_data.py [--images 2000] [--rounds 3] [--json FILE|-]

Two jobs on made-up photographs of 640 x 480: what `validate` and `dedupe` do with a file (decode a JPEG at a reduced scale, hash it), and
a full decode to RGB, of which only the mean leaves the process. Each road has the same files in the same batches, its results are
compared with those of this process. They take turns; the first round, in which processes import what they need, does not count.
Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from augsuite.dataset import parallel
from augsuite.dataset.images import decode
from augsuite.dataset.inspection import inspect_files
from augsuite.engines.choice import at_work

BATCH = 64
SIDE = (640, 480)


def photographs(folder: Path, count: int) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{row:06d}.jpg") for row in range(count)]
    made = []
    for row, path in enumerate(paths):
        if row < BATCH:
            file, small = io.BytesIO(), rng.integers(0, 255, (SIDE[1] // 8, SIDE[0] // 8, 3), np.uint8)
            PIL.Image.fromarray(small).resize(SIDE).save(file, "jpeg", quality=90)
            made.append(file.getvalue())
        Path(path).write_bytes(made[row % BATCH])
    return paths


def hashes(paths: list[str]) -> np.ndarray:
    return inspect_files(paths).hashes


def means(paths: list[str]) -> np.ndarray:
    return np.array([decode(Path(path)).mean() for path in paths])


def by_tasks(work: Callable[[list[str]], np.ndarray], paths: list[str], engine: str) -> np.ndarray:
    batches = [paths[at : at + BATCH] for at in range(0, len(paths), BATCH)]
    with at_work(engine, 2 if engine != "inline" else 1):
        return np.concatenate(list(parallel.mapped(work, batches)))


def by_data(work: Callable[[list[str]], np.ndarray], paths: list[str]) -> np.ndarray:
    """Rows may come in any order, so each carries its path."""
    import ray

    def rows(batch: dict[str, Any]) -> dict[str, Any]:
        return {"path": batch["path"], "found": work([str(path) for path in batch["path"]])}

    there = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=-(-len(paths) // BATCH))
    return _sorted(there.map_batches(rows, batch_size=BATCH, batch_format="numpy"))


def _sorted(there: Any) -> np.ndarray:
    taken = sorted(there.take_all(), key=lambda row: row["path"])
    return np.array([row["found"] for row in taken])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="photographs")
    parser.add_argument("--rounds", type=int, default=3, help="of which the quickest counts")
    parser.add_argument("--json", help="write the figures there, too; `-` for stdout")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder), options.images)
        by_tasks(hashes, paths[:1], "ray")  # the cluster is there now
        import ray

        ray.data.DataContext.get_current().enable_progress_bars = False
        roads: list[tuple[str, str, Callable[[], np.ndarray]]] = []
        for job, work in (("look", hashes), ("decode", means)):
            roads += [(job, engine, partial(by_tasks, work, paths, engine)) for engine in ("inline", "local", "ray")]
            roads.append((job, "Ray Data", partial(by_data, work, paths)))
        seconds: dict[tuple[str, str], list[float]] = {(job, road): [] for job, road, _ in roads}
        right: dict[str, np.ndarray] = {}
        for _ in range(options.rounds + 1):
            for job, road, run in roads:
                started = time.perf_counter()
                with contextlib.redirect_stdout(sys.stderr):
                    values = run()
                seconds[job, road].append(time.perf_counter() - started)
                if not np.array_equal(values, right.setdefault(job, values)):
                    raise SystemExit(f"{job} by {road}: other values")
        ray.shutdown()
    found: list[dict[str, Any]] = []
    print("| job | road | first round s | median s | images/s |\n| --- | --- | ---: | ---: | ---: |", file=sys.stderr)
    for (job, road), (first, *rest) in seconds.items():
        middle = statistics.median(rest)
        rate = len(paths) / middle
        found.append({"job": job, "road": road, "first_s": first, "s": middle, "images_per_s": rate})
        print(f"| {job} | {road} | {first:.2f} | {middle:.2f} | {rate:,.0f} |", file=sys.stderr)
    if options.json:
        text = json.dumps({"images": options.images, "rows": found, "goals": {}}, indent=2)
        print(text) if options.json == "-" else Path(options.json).write_text(text)


if __name__ == "__main__":
    main()
