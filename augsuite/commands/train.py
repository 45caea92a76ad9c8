"""`augsuite train`: one run of one trainer."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from augsuite.commands.console import json_option, print_json, print_table
from augsuite.commands.reading import Reading, reading_options
from augsuite.errors import ConfigError

if TYPE_CHECKING:
    from augsuite.dataset import Dataset
    from augsuite.protocols import RunRecord

_EXPONENT = re.compile(r"[-+]?[0-9]+e[-+]?[0-9]+")
"""A number that YAML 1.1 takes for text, for want of a point."""

_LINE_S = 10.0
"""Seconds between two lines of progress in a log."""


@click.command()
@click.argument("trainer")
@click.argument("dataset")
@reading_options
@click.option("--val", help="Another dataset to measure on, read in the same way.")
@click.option(
    "--split",
    help="TRAIN or TRAIN:VAL, each a split's name, a number of images or a share of them: train:test, 40:160, 0.8. "
    "By default the dataset's own splits, else 80 % and 20 % at random.",
)
@click.option("--split-seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of a random split.")
@click.option("--policy", "policy_name", default="none", show_default=True, help="A policy's name or YAML file.")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A setting of the trainer; may be repeated.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights, order and draws.")
@click.option("--out", "-o", type=click.Path(path_type=Path, file_okay=False), help="Folder of the run.")
@click.option("--tracker", "trackers", multiple=True, default=("files",), show_default=True, help="May be repeated.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that render images."
)
@json_option
def train(
    trainer: str,
    dataset: str,
    reading: Reading,
    val: str | None,
    split: str | None,
    split_seed: int,
    policy_name: str,
    pairs: tuple[str, ...],
    seed: int,
    out: Path | None,
    trackers: tuple[str, ...],
    workers: int,
    as_json: bool,
) -> None:
    """Train TRAINER on DATASET and measure it on images that it has not seen.

    The weights, the predictions and the curves are left in the folder of the run.
    """
    from augsuite import registry
    from augsuite.augment.policies import policy
    from augsuite.study.session import settings_of, train_once

    spec = registry.find("trainer", registry.default().trainers(), trainer)
    config = parse_settings(pairs)
    settings_of(trainer, config)  # before any file is read
    chosen = policy(policy_name)
    folder = run_folder(out, f"{trainer}-{Path(dataset).name}-{chosen.name}-{seed}")
    parts, said = divide_data(dataset, reading, val, split, split_seed)
    click.echo(said, err=True)
    with Shown(f"{trainer} on {Path(dataset).name}", spec.metric) as shown:
        record = train_once(
            trainer, config, *parts, chosen, seed, folder, trackers=trackers, progress=shown.tell, workers=workers
        )
    if as_json:
        print_json({"folder": str(folder), **msgspec.to_builtins(record)})
        return
    print_record(record, spec.metric, folder)


def parse_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`("lr=1e-3", "sizes=[[0.1], [0.2]]")` as names and values; a value is written as in YAML.

    Raises:
        ConfigError: for a pair without `=`, or a value that is no YAML.
    """
    from augsuite.config import parse_yaml

    settings: dict[str, Any] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise ConfigError(f"--set {pair!r}: write it as NAME=VALUE.")
        value = parse_yaml(text, f"--set {name}")
        settings[name] = float(text) if _EXPONENT.fullmatch(text) else value
    return settings


def run_folder(out: Path | None, name: str) -> Path:
    """Where the run goes: the folder asked for, or one under `runs/`.

    Raises:
        ConfigError: if it is in use for something else.
    """
    folder = out or Path("runs") / re.sub(r"[^A-Za-z0-9._+-]+", "-", name)
    if folder.exists() and any(folder.iterdir()) and not (folder / "run.json").exists():
        raise ConfigError(f"{folder}: holds files that are no run. Name another folder with -o.")
    return folder


def divide_data(
    dataset: str, reading: Reading, val: str | None, split: str | None, split_seed: int
) -> tuple[tuple[Dataset, Dataset], str]:
    """The images to train on and those to measure on, and a line that says which they are.

    Raises:
        ConfigError: for a split that does not exist, or more images than there are.
    """
    from augsuite.config import build
    from augsuite.study.file import Split, default_split, divide

    data = reading(dataset)
    if val is not None:
        if split is not None:
            raise ConfigError("--val and --split: give one of them.")
        other = reading(val)
        return (data, other), f"train: all {len(data):,} images of {dataset}   val: all {len(other):,} of {val}"
    if split is None:
        chosen = default_split(data)
    else:
        given = split.split(":", 1)
        values: Mapping[str, Any] = dict(zip(("train", "val"), map(_part, given), strict=False))
        chosen = build(Split, {**values, "seed": split_seed}, f"--split {split}")
    train, rest = divide(data, chosen)
    names = [f"the split {part}" if isinstance(part, str) else "" for part in (chosen.train, chosen.val)]
    drawn = "" if all(names) else f"   (drawn with seed {chosen.seed})"
    first, second = (f" ({name})" if name else "" for name in names)
    return (train, rest), f"train: {len(train):,} images{first}   val: {len(rest):,} images{second}{drawn}"


def _part(text: str) -> str | int | float:
    """What a part of a split means: a whole number counts images, another number is a share, the rest is a name."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class Shown:
    """Shows a run on stderr: a bar where a person looks, a line now and then in a log."""

    def __init__(self, title: str, metric: str) -> None:
        """Prepare the display."""
        console = Console(stderr=True, highlight=False)
        self._metric = metric
        self._last = time.monotonic()
        self._bars: Progress | None = None
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[said]}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bars.add_task(title, total=None, said="")

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def tell(self, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        """Show an epoch."""
        said = f"epoch {epoch}/{epochs}   loss {values['loss']:.3f}" if "loss" in values else f"epoch {epoch}/{epochs}"
        if self._metric in values:
            said += f"   {self._metric} {values[self._metric]:.1f}"
        if self._bars is not None:
            self._bars.update(self._task, total=epochs, completed=epoch, said=said)
        elif epoch in {1, epochs} or time.monotonic() - self._last > _LINE_S:
            self._last = time.monotonic()
            click.echo(said, err=True)


def print_record(record: RunRecord, metric: str, folder: Path) -> None:
    """Print the metrics, the cost, and where everything is."""
    names = sorted(record.metrics, key=lambda name: (name != metric, "/" in name))
    print_table(["metric", "%"], [[name, f"{record.metrics[name]:.1f}"] for name in names], right=frozenset({1}))
    per_image = 1000 * record.cpu_seconds / record.images if record.images else 0.0
    click.echo(
        f"{record.parameters:,} parameters   {record.images:,} images in {record.seconds:.1f} s   "
        f"{record.cpu_seconds:.1f} CPU s ({per_image:.1f} ms an image)"
    )
    for name, what in (
        ("model.pt", "weights"),
        ("predictions.json", "predictions"),
        ("predictions.csv", "predictions"),
        ("metrics.jsonl", "curves"),
        ("record.json", "record"),
    ):
        if (folder / name).exists():
            click.echo(f"{what + ':':12} {folder / name}")
