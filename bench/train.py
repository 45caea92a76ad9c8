"""Training beside torchvision's reference loop: images a second, from JPEG files on disk to steps of the optimizer.

    python bench/train.py                              both models, fp32 and bf16, one thread and two, and with a worker
    python bench/train.py --only tinyssd --stages      also where the time of a step goes
    python bench/train.py --json                       the same as JSON, with `goals`

Both contenders train the same network in the same precision with the same optimizer on the same images, and take turns, an epoch each. Ours
is `augsuite_ssd.trainer.train` itself; `bench/train_peers.py` holds the others. Only steps count: the time that the trainer's own record
says, in which its network, its evaluation and its files are not, and the CPU time of loader workers. CPU time is that of all threads; a
ratio is that of the sums over the rounds.

The data are folders that `augsuite read` understands; by default `raccoon` and `bccd` under $AUGSUITE_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported; set_num_threads raises it

import cv2
import numpy as np
import torch
import torchvision
import train_peers as peers
from machine import facts, versions
from torchvision.models.detection import _utils, ssd, ssdlite
from torchvision.models.detection.transform import GeneralizedRCNNTransform

import augsuite
from augsuite.augment import Feed
from augsuite.augment.loading import WaitTimer
from augsuite.boxes import clip
from augsuite.dataset import Dataset
from augsuite.training import Loop
from augsuite.training.stepping import Stepper
from augsuite_ssd import trainer
from augsuite_ssd.detector import Detector
from augsuite_ssd.models import make_detector, side_of
from augsuite_ssd.settings import Config

LITE, TINY = "ssdlite320_mobilenet_v3_large", "tinyssd_fine"
GOALS = {LITE: 1.25, TINY: 3.0}
"""How many times the images a second of the peer ours shall train."""
SHARE = 0.1
"""Of a step of TinySSD that matching and loss may take."""
SETUPS = ((1, 0), (2, 0), (1, 1))
"""Threads of PyTorch, workers that load."""
PEERS = {LITE: "torchvision", TINY: "course"}


@dataclass
class Took:
    """What some epochs took.

    Attributes:
        images: trained on.
        wall_s: seconds on the clock.
        cpu_s: of this process and of the loader's workers.
        wait_s: of `wall_s`, waiting for batches.
        stages: name -> seconds of it (CPU seconds where there is no GPU); only asked for with `--stages`.
    """

    images: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    wait_s: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)

    def add(self, other: Took) -> None:
        """Sum up."""
        self.images += other.images
        self.wall_s += other.wall_s
        self.cpu_s += other.cpu_s
        self.wait_s += other.wait_s
        for name, seconds in other.stages.items():
            self.stages[name] = self.stages.get(name, 0.0) + seconds


Contender = Callable[[int], Took]
"""Trains one epoch; the round's number seeds it."""


@dataclass(frozen=True)
class Task:
    """One comparison."""

    data: str
    model: str
    policy: str
    precision: str
    threads: int
    workers: int
    batch: int
    device: str


# Contenders


def ours(data: Dataset, task: Task, folder: Path, *, cache: bool = False) -> Contender:
    """The trainer `ssd`."""
    config = Config(
        model=task.model,
        epochs=1,
        batch_size=task.batch,
        lr=1e-3,
        optimizer="sgd",
        precision=task.precision,  # type: ignore[arg-type]  # argparse checks it
        device=task.device,  # type: ignore[arg-type]  # and this
        threads=task.threads,
    )
    feed = Feed(data, augsuite.policy(task.policy), workers=task.workers, cache=cache)
    check = Feed(data.take([0]), augsuite.policy("none"), mean=feed.mean, std=feed.std)

    def run(seed: int) -> Took:
        feed.seed = seed if not task.workers else 0  # running workers have theirs
        before = workers_cpu_s()
        record = trainer.train(config, feed, check, seed=seed, folder=folder, log=lambda *_: None)
        cpu = record.cpu_seconds + workers_cpu_s() - before
        return Took(record.images, record.seconds, cpu, record.wait_seconds)

    return run


def theirs(data: Dataset, task: Task) -> Contender:
    """The loop of torchvision's reference, or that of the course."""
    device = torch.device(task.device)
    cases = []
    for row in range(len(data)):
        sample = data.sample(row)
        boxes = clip(sample.boxes, sample.source.width, sample.source.height)
        good = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        cases.append((data.path(row), boxes[good], sample.labels[good] + 1))
    torch.manual_seed(0)
    side = 0
    losses_of: peers.Losses
    if task.model == LITE:
        model = torchvision.models.get_model(
            LITE, weights=None, weights_backbone=None, num_classes=len(data.categories) + 1
        ).to(device)
        losses_of, network = model, model
    else:
        settings = Config(model=task.model)
        detector = make_detector(settings, len(data.categories)).to(device)
        side = side_of(settings, detector)
        anchors = torch.from_numpy(detector.anchors(side, side)).to(device)
        losses_of, network = peers.Course(detector, anchors), detector
    batches = peers.loader(cases, peers.preset(task.policy, side), task.batch, task.workers)
    precision = {"fp32": torch.float32, "bf16": torch.bfloat16}[task.precision]

    def run(seed: int) -> Took:
        torch.manual_seed(seed)
        torch.set_num_threads(task.threads)
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
        timer = WaitTimer()
        workers, cpu, wall = workers_cpu_s(), time.process_time(), time.perf_counter()
        peers.train_one_epoch(losses_of, optimizer, timer(batches), device, precision, len(batches))
        if device.type == "cuda":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        torch.set_num_threads(1)
        return Took(len(batches) * task.batch, wall, cpu + workers_cpu_s() - workers, timer.waited_s)

    return run


def workers_cpu_s() -> float:
    """CPU seconds so far of all processes that this one started, and of those that they started."""

    def below(pid: int) -> Iterator[int]:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, task.read_text().split()):
                yield child
                yield from below(child)

    ticks = 0
    for pid in below(os.getpid()):
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(values[11]) + int(values[12])
    return ticks / os.sysconf("SC_CLK_TCK")


# Where the time of a step goes

OURS = [
    (Feed, "batch", "decode, augment"),
    (Loop, "images", "to floats"),
    (Detector, "forward", "forward"),
    (trainer, "make_targets", "matching"),
    (trainer, "detection_loss", "loss"),
    (Stepper, "add", "backward"),
    (Stepper, "take", "optimizer"),
    (trainer, "detect", ""),  # evaluation, which is none of it
]
THEIRS = [
    (peers.Images, "__getitem__", "decode, augment"),
    (GeneralizedRCNNTransform, "forward", "to floats"),
    (ssdlite.SSDLiteFeatureExtractorMobileNet, "forward", "forward"),
    (ssdlite.SSDLiteHead, "forward", "forward"),
    (Detector, "forward", "forward"),
    (ssd.box_ops, "box_iou", "matching"),
    (_utils.SSDMatcher, "__call__", "matching"),
    (ssd.SSD, "compute_loss", "loss"),
    (peers, "all_targets", "matching"),
    (peers, "course_losses", "loss"),
    (peers, "backward", "backward"),
    (peers, "optimize", "optimizer"),
]


@contextmanager
def timed(places: list[tuple[Any, str, str]], device: str) -> Iterator[dict[str, float]]:
    """Within, each of the functions takes its time; what one stage calls of another counts for the other."""
    spent: dict[str, float] = {}
    stack: list[str] = []
    last = 0.0

    def charge() -> None:
        nonlocal last
        if device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter() if device == "cuda" else time.process_time()
        if stack and "" not in stack:
            spent[stack[-1]] = spent.get(stack[-1], 0.0) + now - last
        last = now

    def around(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            charge()
            stack.append(stage)
            try:
                return function(*given, **named)
            finally:
                charge()
                stack.pop()

        return run

    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, stage in places:
        setattr(owner, name, around(getattr(owner, name), stage))
    try:
        yield spent
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def in_stages(run: Contender, places: list[tuple[Any, str, str]], device: str) -> Contender:
    """The same contender, taken apart."""

    def staged(seed: int) -> Took:
        with timed(places, device) as spent:
            took = run(seed)
        whole = took.wall_s if device == "cuda" else took.cpu_s
        took.stages = {**spent, "other": whole - sum(spent.values())}
        return took

    return staged


# Measuring


def measured(data: Dataset, task: Task, rounds: int, *, stages: bool) -> list[dict[str, Any]]:
    """Interleaved rounds; what each contender took in all of them but the first, which warms up."""
    with tempfile.TemporaryDirectory() as name:
        mine, peer = ours(data, task, Path(name)), theirs(data, task)
        if stages:
            mine, peer = in_stages(mine, OURS, task.device), in_stages(peer, THEIRS, task.device)
        runs = {"augsuite": mine, PEERS[task.model]: peer}
        if not task.workers:
            kept = ours(data, task, Path(name), cache=True)
            runs["augsuite, decoded"] = in_stages(kept, OURS, task.device) if stages else kept
        sums = {contender: Took() for contender in runs}
        for number in range(rounds + 1):
            for contender, run in runs.items():
                took = run(number)
                if number:
                    sums[contender].add(took)
    first = sums["augsuite"]
    return [
        {
            **asdict(task),
            "name": contender,
            **asdict(took),
            "images_per_s": took.images / took.wall_s,
            "images_per_cpu_s": took.images / took.cpu_s,
            "wait_frac": took.wait_s / took.wall_s,
            "times_wall": took.wall_s / took.images * first.images / first.wall_s,
            "times_cpu": took.cpu_s / took.images * first.images / first.cpu_s,
        }
        for contender, took in sums.items()
    ]


def goals(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each goal: the value, what it shall be, and whether it is. Of CPU time where that is what trains: it depends less on what else runs."""
    said = {}
    for row in rows:
        model, what = row["model"], "times_wall" if row["device"] == "cuda" else "times_cpu"
        setup = f"{row['data']}.{model}.{row['policy']}.{row['precision']}.{row['threads']}t{row['workers']}w"
        if row["name"] == PEERS[model]:
            goal = GOALS[model]
            said[f"{what}.{setup}"] = {"value": row[what], "goal": f">= {goal:g}", "met": row[what] >= goal}
        if row["name"] == "augsuite" and model == TINY and row["stages"]:
            share = (row["stages"]["matching"] + row["stages"]["loss"]) / sum(row["stages"].values())
            said[f"matching_and_loss.{setup}"] = {"value": share, "goal": f"<= {SHARE:g}", "met": share <= SHARE}
    return said


def show(row: dict[str, Any]) -> None:
    """One contender, and where its time went."""
    print(
        "  {name:18}{images_per_s:8.1f} images/s {images_per_cpu_s:8.1f} /CPU s   {times_wall:5.2f} and {times_cpu:5.2f} times ours   "
        "waits {wait_frac:5.1%}".format(**row),
        flush=True,
    )
    if row["stages"]:
        whole = sum(row["stages"].values())
        parts = [
            f"{name} {seconds / row['images'] * 1e3:.2f} ({seconds / whole:.1%})"
            for name, seconds in row["stages"].items()
        ]
        print(f"    ms an image: {', '.join(parts)}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", help="a dataset; repeat for several")
    parser.add_argument("--only", default="", help="the model whose name holds this")
    parser.add_argument("--policy", choices=["ssd", "ssdlite"], default="ssd", help="and the peer's preset")
    parser.add_argument("--precision", action="append", choices=["fp32", "bf16"])
    parser.add_argument("--setup", action="append", help="THREADS:WORKERS, such as 1:0; repeat for several")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--images", type=int, default=48, help="in an epoch; five times as many for TinySSD")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stages", action="store_true", help="where nothing is loaded by workers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    setups = [tuple(map(int, each.split(":"))) for each in options.setup or []] or SETUPS
    root = os.environ.get("AUGSUITE_DATA", "datasets")
    machine = facts(Path(tempfile.gettempdir()))
    rows: list[dict[str, Any]] = []
    for path in options.data or [str(Path(root, name)) for name in ("raccoon", "bccd")]:
        whole = augsuite.read(path)
        for model in (LITE, TINY):
            if options.only not in model:
                continue
            count = min(len(whole), options.images * (1 if model == LITE else 5)) // options.batch * options.batch
            data = whole.take(np.sort(np.random.default_rng(0).permutation(len(whole))[:count]))
            for precision in options.precision or ["fp32", "bf16"]:
                for threads, workers in setups:
                    task = Task(
                        *(Path(path).name, model, options.policy, precision),
                        *(threads, workers, options.batch, options.device),
                    )
                    found = measured(data, task, options.rounds, stages=options.stages and not workers)
                    rows += found
                    if not options.json:
                        print(
                            f"{task.data}, {model}, {precision}, {threads} thread(s), {workers} worker(s), load {os.getloadavg()[0]:.1f}"
                        )
                        for row in found:
                            show(row)
    said = {
        "machine": {**machine, "load_after": os.getloadavg()},
        "versions": {**versions(), "torch": torch.__version__, "torchvision": torchvision.__version__},
        "results": rows,
        "goals": goals(rows),
    }
    if options.json:
        print(json.dumps(said, indent=1))
        return
    for name, each in said["goals"].items():  # type: ignore[attr-defined]
        print(f"{'met ' if each['met'] else 'MISSED'}  {name}: {each['value']:.3g} (goal {each['goal']})")


if __name__ == "__main__":
    main()
