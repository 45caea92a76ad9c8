"""A trainer that takes milliseconds, installed like anybody's plugin, and a dataset of eight pictures."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from augsuite import registry
from augsuite.cli import main
from augsuite.study import identity

PLUGIN = """
from augsuite import hookimpl
from augsuite.spec import Ref, TrainerSpec

@hookimpl
def augsuite_trainers():
    yield TrainerSpec("quick", "for tests", "detection", "AP", Ref("quick_trainer:Config"), Ref("quick_trainer:train"))
"""

TRAINER = '''
import os, signal, time
from pathlib import Path
import msgspec
from augsuite.protocols import RunRecord

class Config(msgspec.Struct, frozen=True):
    """Settings."""
    epochs: int = 2
    nap_s: float = 0.0
    bonus: float = 0.0

def train(config, train, val, *, seed, folder, log):
    """The number depends on what the policy did to the boxes, and on the seed."""
    if train.policy.name == "raises":
        raise RuntimeError("the loss is not finite\\nsecond line")
    if train.policy.name == "dies" and not os.path.exists(os.environ["QUICK_LOG"] + ".calm"):
        os.kill(os.getpid(), signal.SIGKILL)
    with open(os.environ["QUICK_LOG"], "a") as file:
        file.write(f"{train.policy.name} {seed} {os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\\n")
    images, total = 0, 0.0
    for epoch in range(config.epochs):
        time.sleep(config.nap_s)
        for batch in train.batches(epoch, 4, (40, 40)):
            images += len(batch)
            total += sum(float(boxes[:, 0].sum()) for boxes in batch.boxes)
        log(epoch + 1, config.epochs, {"loss": float("nan") if train.policy.name == "nan" else 1 / (epoch + 1), "AP": total / images})
    value = float("nan") if train.policy.name == "nan" else total / images + seed + config.bonus
    print("chatter of a trainer")
    return RunRecord(metrics={"AP": value, "AP50": 2 * value, "AP/cat": value, "AP/dog": value / 2}, images=images,
                     seconds=config.nap_s * config.epochs, cpu_seconds=0.01, parameters=7)

def double(number):
    """Work for an engine."""
    if number == 13:
        raise ValueError("unlucky")
    if number == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number
'''

STUDY = """\
study: quick
dataset: pets
split: {train: 6, val: 2, seed: 0}
trainer: quick
config: {nap_s: NAP}
seeds: 3
arms:
  none: none
  hflip: [{do: hflip, p: 1.0}]
"""


def install(folder: Path) -> Path:
    """Lay the plugin out as an installed distribution; its folder belongs on the path."""
    info = folder / "quick_trainer-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: quick-trainer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[augsuite]\nquick = quick_plugin\n")
    (folder / "quick_plugin.py").write_text(PLUGIN)
    (folder / "quick_trainer.py").write_text(TRAINER)
    return folder


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Within, this process finds the plugin too."""
    with pytest.MonkeyPatch.context() as patch:
        _forget()
        patch.syspath_prepend(str(folder))
        try:
            yield
        finally:
            _forget()
            sys.path_importer_cache.pop(str(folder), None)


def _forget() -> None:
    registry.default.cache_clear()
    identity.source_digest.cache_clear()
    for name in ("quick_plugin", "quick_trainer"):
        sys.modules.pop(name, None)


def pets(folder: Path) -> Path:
    """Eight pictures of 40 x 40 with one box each, its left side at 2, 3, ..., 9 and its width 10, as COCO."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    rng = np.random.default_rng(5)
    images, boxes = [], []
    for row in range(8):
        name = f"{row}.png"
        PIL.Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / "images" / name)
        images.append({"id": row + 1, "file_name": name, "width": 40, "height": 40})
        box = [2.0 + row, 5.0, 10.0, 20.0]
        boxes.append(
            {"id": row + 1, "image_id": row + 1, "category_id": 1 + row % 2, "bbox": box, "area": 200.0, "iscrowd": 0}
        )
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": boxes, "categories": names}
    (folder / "annotations" / "instances.json").write_text(json.dumps(content))
    return folder


class Bench:
    """A folder with the plugin, the pictures and a study file, and the program to run on it."""

    def __init__(self, folder: Path, nap_s: float = 0.0) -> None:
        self.folder = folder
        self.plugin = install(folder / "site")
        pets(folder / "pets")
        self.file = folder / "study.yaml"
        self.file.write_text(STUDY.replace("NAP", str(nap_s)))
        self.log = folder / "trained.log"
        self.log.touch()
        self.calm = folder / "trained.log.calm"  # where it exists, the arm `dies` does not
        self.out = folder / "studies" / "quick"
        self.store = folder / "studies" / "_store"

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(self.plugin), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, "QUICK_LOG": str(self.log)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "augsuite", *arguments]

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def invoke(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same in this process, which saves seconds: for what needs no worker processes and no kill."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, installed(self.plugin), redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            patch.setenv("QUICK_LOG", str(self.log))
            patch.setattr(sys, "argv", ["augsuite", *arguments])
            try:
                main()
                status = 0
            except SystemExit as end:
                status = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())

    def trained(self) -> list[str]:
        """Arm and seed of each run that a trainer really trained, sorted."""
        return sorted(" ".join(line.split()[:2]) for line in self.log.read_text().splitlines())

    def state(self) -> dict:
        """What `study.json` holds."""
        return json.loads((self.out / "study.json").read_text())

    def records(self) -> dict[str, int]:
        return {path.parent.name: path.stat().st_mtime_ns for path in self.store.glob("runs/*/record.json")}
