"""A study beside the same trainings as plain scripts: CPU seconds for the same number of training images, at the same metric.

    python bench/study.py                         4 arms x 3 seeds of TinySSD on bccd, and 12 scripts: about ten minutes on two cores
    python bench/study.py --epochs 40             longer trainings; --seeds 5 for more of them
    python bench/study.py --json FILE             every figure; - for standard output

One side is one `augsuite study run`, from the command line to the report. The other are as many processes as the study has runs, one
after the other: `bench/plain_ssd.py`, which says how it is like torchvision's references. Both train the same network on the same
images with the same settings, one thread a process, as many at once as `--workers` says, and take turns: while the scripts of some
runs go on the study is stopped (SIGSTOP), and the other way round, so that a slow moment of the machine hits both. What counts is CPU
time, user and system, of all processes of a side.

The references evaluate after every epoch, the study at the end. How much of the ratio that makes is shown: the scripts' time again,
without what all evaluations but the last took.

Whether the metric is the same is judged arm by arm, by the 95 % intervals of both means and of their difference (Welch), and over all
arms, by the interval of the mean difference with the spread of the seeds pooled over arms and sides. The two sides draw other random
numbers, so their runs are no pairs. What an effect costs is the CPU time divided by the mean width of the effects' intervals; and since
widths fall with the root of the number of runs, the CPU time times the square of that width is what an interval one point wide
would take.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import machine
from rich.console import Console
from rich.table import Table
from scipy import stats

from augsuite.config import parse_yaml
from augsuite.dataset import Dataset
from augsuite.study.effects import Values, measure
from augsuite.study.file import load

Found = dict[str, Any]

HERE = Path(__file__).parent
HALF = 0.5
LOOK_S = 0.1
ARMS: Mapping[str, Any] = {  # those of plain_ssd.py
    "none": "none",
    "hflip": [{"do": "hflip", "p": 0.5}],
    "hflip+vflip": [{"do": "hflip", "p": 0.5}, {"do": "vflip", "p": 0.5}],
    "iou_crop": [{"do": "iou_crop"}],
}
TRAIN, VAL = 40, 160


class Process:
    """A command with a process group of its own, which can be stopped for a while."""

    def __init__(self, command: Sequence[str], work: Path, name: str) -> None:
        """Start it; what it prints goes to files in `work`."""
        self.name, self.out, self.log = name, work / f"{name}.out", work / f"{name}.log"
        # Nothing of the user's shell: a store elsewhere may hold the runs already.
        left_out = {"AUGSUITE_STORE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
        environment = {name: value for name, value in os.environ.items() if name not in left_out}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=log, process_group=0
            )
        self.cpu_s: float | None = None

    def ended(self, *, wait: bool = False) -> bool:
        """Whether it has; then `cpu_s` is known, of it and of all that it waited for."""
        if self.cpu_s is None:
            pid, status, used = os.wait4(self._process.pid, 0 if wait else os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_s = used.ru_utime + used.ru_stime
                if self._process.returncode:
                    said = self.log.read_text("utf-8", "replace").strip()
                    sys.exit(f"{self.name} ended with exit status {self._process.returncode}: {said[-2000:]}")
        return self.cpu_s is not None

    def send(self, number: signal.Signals) -> None:
        """A signal to the whole group, if it is still there."""
        if self.cpu_s is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


@contextlib.contextmanager
def killed() -> Iterator[list[Process]]:
    """Takes processes; whatever of them is left at the end is killed, however that comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench/study.py: stopped."))  # else what follows is passed over
    started: list[Process] = []
    try:
        yield started
    finally:
        for process in started:
            process.send(signal.SIGKILL)


def write_question(work: Path, data: Path, epochs: int, seeds: int) -> Path:
    """The study file; JSON is YAML."""
    file = work / "study.yaml"
    question = {
        "study": "bench",
        "dataset": str(data),
        "split": {"train": TRAIN, "val": VAL, "seed": 0},
        "trainer": "ssd",
        "config": {"epochs": epochs, "device": "cpu"},
        "seeds": seeds,
        "reference": "none",
        "arms": ARMS,
    }
    file.write_text(json.dumps(question), encoding="utf-8")
    parse_yaml(file.read_text(encoding="utf-8"), str(file))
    return file


def write_coco(data: Dataset, file: Path) -> None:
    """A part of the study's images as the scripts read them; making it costs them nothing."""
    table = data.annotations
    rows = zip(data.boxes().tolist(), table.image_rows.tolist(), table.category_rows.tolist(), strict=True)
    document = {
        "images": [
            {"id": row + 1, "file_name": str(data.path(row)), "width": width, "height": height}
            for row, (width, height) in enumerate(data.images.sizes.tolist())
        ],
        "annotations": [
            {
                "id": row + 1,
                "image_id": image + 1,
                "category_id": category + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
            }
            for row, ((x0, y0, x1, y1), image, category) in enumerate(rows)
        ],
        "categories": [{"id": row + 1, "name": name} for row, name in enumerate(data.categories.names.tolist())],
    }
    file.write_text(json.dumps(document), encoding="utf-8")


def trained(out: Path) -> list[Found]:
    """The records of the study's runs that are complete."""
    return [json.loads(path.read_bytes()) for path in out.glob("runs/*/record.json")]


def take_turns(work: Path, data: Path, options: argparse.Namespace) -> tuple[Process, list[tuple[str, int, Process]]]:
    """Run both sides, some runs of each at a time."""
    file, out = write_question(work, data, options.epochs, options.seeds), work / "out"
    asked = load(file)
    parts = work / "train.json", work / "val.json"
    for part, path in zip((asked.train, asked.val), parts, strict=True):
        write_coco(part, path)
    left = [(arm, seed) for seed in range(options.seeds) for arm in ARMS]
    done: list[tuple[str, int, Process]] = []
    with killed() as started:
        command = ["-m", "augsuite", "study", "run", str(file), "--out", str(out), "--workers", str(options.workers)]
        study = Process([sys.executable, *command], work, "study")
        started.append(study)
        while left or not study.ended():
            study.send(signal.SIGCONT)
            target = len(done) + options.workers
            while not study.ended() and (len(trained(out)) < target or not left):
                time.sleep(LOOK_S)
            study.send(signal.SIGSTOP)
            now, left = left[: options.workers], left[options.workers :]
            for arm, seed in now:
                arguments = [*map(str, parts), "/", arm, str(seed), str(options.epochs)]
                name = f"{arm}-{seed}"
                one = Process([sys.executable, str(HERE / "plain_ssd.py"), *arguments], work, name)
                started.append(one)
                done.append((arm, seed, one))
            for _, _, one in done:
                one.ended(wait=True)
            print(f"{len(done)} scripts, {len(trained(out))} runs of the study", file=sys.stderr)
    return study, done


# What it came to


def both(work: Path, study: Process, scripts: Sequence[tuple[str, int, Process]]) -> tuple[Found, Found]:
    """CPU seconds, images and metric of either side."""
    report = json.loads((work / "out" / "report.json").read_bytes())
    records = trained(work / "out")
    spent = sum(record["cpu_seconds"] for record in records)
    drawn = sum(record["augment_seconds"] for record in records)
    ours = {
        "cpu_s": study.cpu_s,
        "parts": {
            "images": drawn,
            "training": spent - drawn,
            "evaluating once, starting, judging": (study.cpu_s or 0.0) - spent,
        },
        "images": sum(record["images"] for record in records),
        "parameters": sorted({record["parameters"] for record in records}),
        "values": {arm["arm"]: {int(s): v for s, v in arm["values"].items()} for arm in report["arms"]},
    }
    said = [json.loads(one.out.read_bytes()) for _, _, one in scripts]
    total = sum(one.cpu_s or 0.0 for _, _, one in scripts)
    repeated = sum(each["cpu"]["evaluation"] - each["cpu"]["last_evaluation"] for each in said)
    parts = {name: sum(each["cpu"][name] for each in said) for name in ("start", "data", "steps", "evaluation")}
    values: dict[str, dict[int, float]] = {arm: {} for arm in ARMS}
    for (arm, seed, _), each in zip(scripts, said, strict=True):
        values[arm][seed] = each["metrics"]["AP"]
    theirs = {
        "cpu_s": total,
        "cpu_s_one_evaluation": total - repeated,
        "parts": {
            "start": parts["start"],
            "images": parts["data"],
            "training": parts["steps"],
            "evaluating, every epoch": parts["evaluation"],
            "ending": total - sum(parts.values()),
        },
        "images": sum(each["images"] for each in said),
        "parameters": sorted({each["parameters"] for each in said}),
        "values": values,
    }
    for what in ("images", "parameters"):
        if ours[what] != theirs[what]:
            sys.exit(
                f"bench/study.py: the sides differ in {what}: {ours[what]} and {theirs[what]}. They must train alike."
            )
    return ours, theirs


def interval(mean: float, error: float, freedom: float) -> Found:
    """A mean with its 95 % interval."""
    reach = float(stats.t.ppf(0.975, freedom)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def agreement(ours: Values, theirs: Values) -> tuple[list[Found], Found]:
    """Ours minus theirs, arm by arm and over all arms."""
    rows, variances, counts = [], [], []
    for arm, mine in ours.items():
        sides = [list(values.values()) for values in (mine, theirs[arm])]
        means = [statistics.fmean(side) for side in sides]
        errors = [statistics.variance(side) / len(side) for side in sides]
        if not all(errors):
            sys.exit(f"bench/study.py: {arm}: all seeds came to the same {means}. More --epochs.")
        welch = sum(errors) ** 2 / sum(e**2 / (len(side) - 1) for e, side in zip(errors, sides, strict=True))
        own = [interval(m, e**0.5, len(s) - 1) for m, e, s in zip(means, errors, sides, strict=True)]
        rows.append(
            {
                "arm": arm,
                "ours": own[0],
                "theirs": own[1],
                "overlap": own[0]["low"] <= own[1]["high"] and own[1]["low"] <= own[0]["high"],
                "difference": interval(means[0] - means[1], sum(errors) ** 0.5, welch),
            }
        )
        variances += [statistics.variance(side) for side in sides]
        counts += [len(side) for side in sides]
    pooled = statistics.fmean(variances)  # all sides have as many seeds
    error = math.sqrt(pooled * sum(1 / count for count in counts)) / len(rows)
    mean = statistics.fmean(row["difference"]["mean"] for row in rows)
    return rows, interval(mean, error, sum(counts) - len(counts))


def width(values: Values) -> float | None:
    """The mean width of the effects' paired intervals, in points; None where no arm has one."""
    found = [e.high - e.low for e in measure({"AP": values}, "none") if e.low is not None and e.high is not None]
    return statistics.fmean(found) if found else None


def figures(ours: Found, theirs: Found) -> Found:
    """All that is shown."""
    arms, overall = agreement(ours["values"], theirs["values"])
    ratio = ours["cpu_s"] / theirs["cpu_s"]
    same = overall["low"] <= 0 <= overall["high"] or overall["mean"] > 0
    for side in (ours, theirs):
        wide = side["width"] = width(side["values"])
        side["cpu_s_per_point"] = side["cpu_s"] / wide if wide else None
        side["cpu_s_for_one_point"] = side["cpu_s"] * wide**2 if wide else None
    return {
        "augsuite": ours,
        "plain scripts": theirs,
        "ratio_one_evaluation": ours["cpu_s"] / theirs["cpu_s_one_evaluation"],
        "arms": arms,
        "difference": overall,
        "goals": {
            "half_of_plain_scripts": {"value": ratio, "goal": f"<= {HALF}", "met": ratio <= HALF},
            "equal_metric": {"value": overall, "goal": "holds 0, or ours is above", "met": same},
        },
    }


def show(found: Found, out: TextIO) -> None:
    """Print the tables."""
    console = Console(file=out, width=None if out.isatty() else 130, highlight=False)
    facts = found["machine"]
    console.print(
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, {facts['system']}; "
        f"load {facts['load_before'][0]:.1f} before, {facts['load_after'][0]:.1f} after"
    )
    console.print(", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    sides = found["augsuite"], found["plain scripts"]
    table = Table(title=f"CPU seconds, {sides[0]['images']:,} training images", title_justify="left")
    for column in ("", "CPU s", "ms/image", "of these"):
        table.add_column(column, justify="right" if column in {"CPU s", "ms/image"} else "left")
    for name, side in zip(("augsuite study run", "plain scripts"), sides, strict=True):
        parts = ", ".join(f"{part} {value:.1f}" for part, value in side["parts"].items())
        table.add_row(name, f"{side['cpu_s']:.1f}", f"{side['cpu_s'] / side['images'] * 1e3:.1f}", parts)
    once = sides[1]["cpu_s_one_evaluation"]
    table.add_row("plain, one evaluation each", f"{once:.1f}", f"{once / sides[1]['images'] * 1e3:.1f}", "")
    console.print(table)
    table = Table("arm", "augsuite AP", "plain AP", "overlap", "difference", title="Metric", title_justify="left")
    for row in found["arms"]:
        said = [_ranged(row[what]) for what in ("ours", "theirs", "difference")]
        table.add_row(row["arm"], said[0], said[1], "yes" if row["overlap"] else "NO", said[2])
    table.add_row("all", "", "", "", _ranged(found["difference"]))
    console.print(table)
    for name, side in zip(("augsuite", "plain scripts"), sides, strict=True):
        if side["width"] is not None:
            console.print(
                f"{name}: effects' intervals {side['width']:.1f} points wide, {side['cpu_s_per_point']:.0f} CPU s per point of "
                f"width; one point wide would take about {side['cpu_s_for_one_point']:,.0f} CPU s"
            )
    goal = found["goals"]["half_of_plain_scripts"]
    console.print(
        f"{_met(goal)}: augsuite takes {goal['value']:.2f} of the plain scripts' CPU time (goal {goal['goal']}); "
        f"{found['ratio_one_evaluation']:.2f} if they evaluated once"
    )
    console.print(f"{_met(found['goals']['equal_metric'])}: the same metric within noise, or more")


def _met(goal: Mapping[str, Any]) -> str:
    return "met" if goal["met"] else "MISSED"


def _ranged(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.1f} [{value['low']:.1f}, {value['high']:.1f}]"


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.environ.get("AUGSUITE_DATA", "datasets")
    parser.add_argument("--data", type=Path, default=Path(root, "bccd"), help="the dataset (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=15, help="of each training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of each arm, at least 2 (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="at once (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write all figures; - for standard output")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: one seed has no spread to judge by; give at least 2")
    with tempfile.TemporaryDirectory(prefix="augsuite-bench-") as folder:
        work = Path(folder)
        facts = machine.facts(work)
        study, scripts = take_turns(work, options.data.resolve(), options)
        found = {
            "machine": facts | {"load_after": os.getloadavg()},
            "command": ["python", *sys.argv],
            "versions": machine.versions()
            | {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "pycocotools")},
            **figures(*both(work, study, scripts)),
        }
    show(found, sys.stderr if options.json == "-" else sys.stdout)
    if options.json == "-":
        print(json.dumps(found, indent=2))
    elif options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
