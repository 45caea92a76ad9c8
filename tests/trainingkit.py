"""A small network trained in `Loop`, and programs that train in several processes, or in some that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import nn

import augsuite
from augsuite.augment import Feed, Policy
from augsuite.augment.policies import policy
from augsuite.cli import cli
from augsuite.study.session import train_once
from augsuite.training import Loop, Settings, processes
from augsuite.training.batchnorm import Presence, synchronised

PLAIN = Policy(name="none", steps=())
STEPS = [{"do": "hflip", "p": 0.5}, {"do": "brightness", "factor": [0.7, 1.3]}]
SSD = {"width": 16, "size": 64, "batch_size": 4, "epochs": 2, "precision": "fp32", "device": "cpu", "threads": 1}
FINETUNE = {**SSD, "model": "squeezenet1_1", "weights": "none", "lr": 1e-3}
del FINETUNE["width"]


def pictures(folder: Path, count: int = 9) -> Path:
    """A COCO dataset of pictures of 64 x 64 with a block each; those after the fifth are 'dark'."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    coco = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "light"}, {"id": 2, "name": "dark"}]}
    for row in range(count):
        pixels = rng.integers(100, 140, (64, 64, 3), dtype=np.uint8)
        x, y = rng.integers(0, 32, 2).tolist()
        pixels[y : y + 30, x : x + 30] = 250 if row % 2 else 0
        PIL.Image.fromarray(pixels).save(folder / f"{row}.png")
        coco["images"].append({"id": row + 1, "file_name": f"{row}.png", "width": 64, "height": 64})
        box = {"id": row + 1, "image_id": row + 1, "category_id": 1 + (row + 1) % 2, "bbox": [x, y, 30, 30]}
        coco["annotations"].append({**box, "area": 900, "iscrowd": 0})
    (folder / "annotations.json").write_text(json.dumps(coco))
    return folder


def labelled(folder: Path, count: int = 9) -> Path:
    """The same pictures, sorted into folders by category."""
    plain = pictures(folder.with_name(folder.name + "-all"), count)
    for row in range(count):
        kind = "light" if row % 2 else "dark"
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{row}.png").write_bytes((plain / f"{row}.png").read_bytes())
    return folder


def network(*, norm: bool = True, dropout: float = 0.3) -> nn.Module:
    layers = [
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Dropout(dropout),
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def fit(
    data, folder, *, norm=True, dropout=0.3, steps=STEPS, metric=None, stop=None, poison=None, watch=None, **settings
):
    """Train the network to say where the first box of an image is.

    Returns the record, the losses told, and the weights that count. `metric(epoch)` is what evaluation says; `stop` ends training by an
    exception after so many batches; `poison(loss, epoch, at)` may change a loss; `watch(loop)` is called after each step.
    """
    config = Settings(**{"epochs": 3, "batch_size": 4, "lr": 0.05, "precision": "fp32", "device": "cpu", **settings})
    folder.mkdir(parents=True, exist_ok=True)
    train, val = Feed(data, policy(steps), seed=1), Feed(data, PLAIN, seed=1)
    told = []
    metrics = {}
    with Loop(
        config, train, val, name="toy", seed=1, folder=folder, log=lambda epoch, _, values: told.append((epoch, values))
    ) as loop:
        model = network(norm=norm, dropout=dropout)
        loop.prepare(model, [{"params": list(model.parameters()), "weight_decay": 1e-4}])
        seen = 0
        for epoch in loop.epochs():
            loop.model.train()
            for at, batch in enumerate(loop.batches(epoch, (64, 64))):
                with loop.autocast():
                    outputs = loop.model(loop.images(batch)).float()
                wanted = (
                    np.stack([boxes[0] if len(boxes) else np.zeros(4) for boxes in batch.boxes]) / batch.images.shape[1]
                )
                has = torch.tensor([float(len(boxes) > 0) for boxes in batch.boxes])
                count = loop.total(has.sum())
                loss = (((outputs - torch.from_numpy(wanted).float()) ** 2).sum(dim=1) * has).sum() / count
                loss = loss if poison is None else poison(loss, epoch, at)
                loop.step(loss, batch, weight=count)
                if watch is not None:
                    watch(loop)
                seen += 1
                if seen == stop:
                    raise KeyboardInterrupt
            metrics = {"AP": metric(epoch) if metric else 1.0} if loop.evaluates(epoch) else {}
            loop.tell(epoch, metrics)
        loop.save()
        weights = {name: value.detach().clone() for name, value in loop.trained.state_dict().items()}
        return loop.record(metrics), told, weights


def together(root: Path) -> None:
    """Train in as many processes as there are; the first leaves what came out as `world-N.pt`."""
    boxes, names = augsuite.read(root / "boxes"), augsuite.read(root / "names")
    results = {}
    for title, settings in {
        "plain": {"norm": False},
        "accumulated": {"norm": False, "accumulate": 2, "clip_norm": 0.05, "ema": 0.9},
        "sync": {"sync_batch_norm": True},
        "own": {},
    }.items():
        _, told, weights = fit(boxes, root / "scratch", dropout=0.0, checkpoint_s=1e9, **settings)
        results[title] = ([values["loss"] for _, values in told], weights)
    for trainer, config, data in (
        ("ssd", {**SSD, "sync_batch_norm": True, "optimizer": "sgd", "lr": 1e-3}, boxes),
        ("finetune", {**FINETUNE, "model": "lenet"}, names),
        ("finetune", {**FINETUNE, "model": "resnet18", "sync_batch_norm": True, "lr": 1e-4}, names),
    ):
        told = []
        folder = root / f"{trainer}-{config.get('model', '')}-{processes.world()}"
        record = train_once(
            trainer, config, data, data, policy(STEPS), 1, folder, progress=lambda *values, t=told: t.append(values)
        )
        results[f"{trainer} {config.get('model', '')}"] = (
            [values["loss"] for *_, values in told],
            record.metrics if processes.rank() == 0 else {},
        )
    if processes.rank() == 0:
        torch.save(results, root / f"world-{processes.world()}.pt")
    if processes.world() > 1:
        layer(root)
        settings = [part for name, value in SSD.items() for part in ("--set", f"{name}={value}")]
        command = ["train", "ssd", str(root / "boxes"), "--split", "5:4", "-o", str(root / "run"), *settings, "--json"]
        cli.main(command, standalone_mode=False)


def layer(root: Path) -> None:
    """Normalise six images in two processes; the first leaves what came out as `layer-CASE.pt`."""
    rank = processes.rank()
    torch.manual_seed(0)
    images = torch.randn(6, 3, 4, 5) * 3 + torch.tensor([5.0, -100.0, 0.0]).view(1, 3, 1, 1)
    slopes = torch.randn(6, 3, 4, 5)
    for case, counts in {"uneven": (5, 1), "borrowed": (6, 0)}.items():
        old = nn.BatchNorm2d(3)
        with torch.no_grad():
            old.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        presence = Presence(counts=counts[rank] > 0)
        model = synchronised(nn.Sequential(old), presence)
        rows = slice(0, counts[0]) if rank == 0 else slice(counts[0], 6) if presence.counts else slice(0, 1)
        mine = images[rows].clone().requires_grad_()
        outputs = model(mine)
        (outputs * slopes[rows] * float(presence.counts)).sum().backward()
        full = {"outputs": torch.zeros_like(images), "gradient": torch.zeros_like(images)}
        if presence.counts:
            full["outputs"][rows], full["gradient"][rows] = outputs.detach(), mine.grad
        results = {name: processes.add_up(value) for name, value in full.items()}
        results |= {"weight": processes.add_up(old.weight.grad), "bias": processes.add_up(old.bias.grad)}
        results |= {"mean": model[0].running_mean, "variance": model[0].running_var}
        if rank == 0:
            torch.save({**results, "images": images, "slopes": slopes}, root / f"layer-{case}.pt")


def killed(root: Path, trainer: str, seed: int) -> None:
    """Train in children that are killed at random moments until one comes through; says how many it took."""
    rng = random.Random(seed)
    data = augsuite.read(root / ("boxes" if trainer == "ssd" else "names"))
    config = json.loads((root / f"{trainer}.json").read_text())
    attempts = 0
    while not (root / "killed" / trainer / "record.json").exists():
        attempts += 1
        child = os.fork()
        if not child:
            try:
                train_once(trainer, config, data, data, policy(STEPS), 5, root / "killed" / trainer)
                os._exit(0)
            finally:
                os._exit(1)
        if attempts < 12:
            time.sleep(rng.uniform(0.05, 0.6))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) == 1:
            sys.exit(f"{trainer}: failed")
    print(attempts)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "together":
        together(Path(sys.argv[2]))
    else:
        killed(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
