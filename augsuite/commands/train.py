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
from augsuite.commands.engine import Chosen, address_option
from augsuite.commands.reading import Reading, reading_options
from augsuite.dataset.archives import at
from augsuite.errors import ConfigError

if TYPE_CHECKING:
    from augsuite.dataset import Dataset
    from augsuite.protocols import RunRecord
    from augsuite.training.ramp import Curve

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
@click.option(
    "--draw",
    type=click.IntRange(min=0, max=100),
    default=8,
    show_default=True,
    help="Draw predictions on so many validation images.",
)
@click.option("--engine", metavar="ENGINE", help="Train in processes of an engine, such as `ray`, instead of this one.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="With --engine: how many train together.",
)
@address_option
@click.option("--find-lr", is_flag=True, help="Find a learning rate instead: leaves lr.json and lr.svg in the folder.")
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
    draw: int,
    engine: str | None,
    processes: int,
    ray_address: str | None,
    find_lr: bool,
    as_json: bool,
) -> None:
    """Train TRAINER on DATASET and measure it on images that it has not seen.

    The weights, the predictions and the curves are left in the folder of the run. A run that was killed goes on where it was when the
    same command is given again.

    Several GPUs, or processes: torchrun --nproc-per-node 2 -m augsuite train ... On a Ray cluster: --engine ray --processes 2.
    """
    from augsuite import registry
    from augsuite.augment.policies import policy
    from augsuite.study.session import CHECKPOINT, find_rate, settings_of, train_once
    from augsuite.study.together import Training, check_engine, train_together
    from augsuite.training import processes as group

    if engine is not None and (find_lr or group.world() > 1):
        raise ConfigError(f"--engine {engine} does not go with {'--find-lr' if find_lr else 'torchrun'}.")
    where = Chosen(engine or "local", address=ray_address)
    where.check()
    if engine is not None:
        check_engine(engine, processes)
    spec = registry.find("trainer", registry.default().trainers(), trainer)
    config = parse_settings(pairs)
    settings_of(trainer, config)  # before any file is read
    registry.load(spec.train, f"trainer {trainer}", spec.extra)  # and so is a package missed
    chosen = policy(policy_name)
    main = group.rank() == 0
    name = f"{trainer}-{Path(dataset).name}-{chosen.name}-{seed}"
    folder = run_folder(out, name, check=main)
    parts, said = divide_data(dataset, reading, val, split, split_seed)
    if main:
        click.echo(said, err=True)
    result: Any
    try:
        with Shown(f"{trainer} on {Path(dataset).name}", spec.metric, silent=not main) as shown:
            if find_lr:
                result = find_rate(trainer, config, parts[0], chosen, seed, folder, progress=shown, workers=workers)
            elif engine is not None:
                run = Training(trainer, config, *parts, chosen, seed, folder.resolve(), trackers, workers, draw)
                with where.connected():
                    result = train_together(run, engine, processes, shown)
            else:
                result = train_once(
                    trainer, config, *parts, chosen, seed, folder, trackers, progress=shown, workers=workers, draw=draw
                )
    except KeyboardInterrupt:
        if main and not find_lr and (folder / CHECKPOINT).exists():
            click.echo("stopped. The same command goes on from the last checkpoint.", err=True)
        raise
    if not main:
        return
    if not find_lr:
        _write_layers(trainer, config, len(parts[0].categories), folder)
    if as_json:
        print_json({"folder": str(folder), **msgspec.to_builtins(result)})
    elif find_lr:
        print_rate(result, folder)
    else:
        print_record(result, spec.metric, folder)


def _write_layers(trainer: str, config: dict[str, Any], classes: int, folder: Path) -> None:
    """Leave `network.txt`, what `augsuite network` prints, where the trainer shows its network."""
    from augsuite.commands.network import layer_table, told
    from augsuite.dataset.saving import save_text
    from augsuite.errors import MissingExtraError

    try:
        text = told(layer_table(trainer, config, classes, depth=3))
    except (ConfigError, MissingExtraError):  # it declares none, or torchinfo is not installed
        return
    except RuntimeError as error:
        click.echo(f"note: network.txt is left out: {str(error).splitlines()[0]}", err=True)
        return
    save_text(f"{text}\n", folder / "network.txt")


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


def run_folder(out: Path | None, name: str, *, check: bool = True) -> Path:
    """Where the run goes: the folder asked for, or one under `runs/`.

    Args:
        out: the folder asked for.
        name: of the other.
        check: whether to look into it; of several processes one does, since it also begins to write there.

    Raises:
        ConfigError: if it is in use for something else.
    """
    folder = out or Path("runs") / re.sub(r"[^A-Za-z0-9._+-]+", "-", name)
    ours = any((folder / file).exists() for file in ("run.json", "lr.json"))
    if check and folder.exists() and not ours and any(not path.name.startswith(".") for path in folder.iterdir()):
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
        return (
            data,
            other,
        ), f"train: all {len(data):,} images of {at(Path(dataset))}   val: all {len(other):,} of {at(Path(val))}"
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

    def __init__(self, title: str, metric: str, *, silent: bool = False) -> None:
        """Prepare the display.

        Args:
            title: what is trained on what.
            metric: the trainer's.
            silent: show nothing, as all but the first of several processes do.
        """
        console = Console(stderr=True, highlight=False)
        self._metric, self._silent = metric, silent
        self._value: float | None = None
        self._last = time.monotonic()
        self._bars: Progress | None = None
        if console.is_terminal and not silent:
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

    def __call__(self, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        """Show an epoch that is done."""
        self._value = values.get(self._metric, self._value)
        self._show(epoch, epochs, float(epoch), values, line=epoch in {1, epochs})

    def pulse(self, epoch: int, epochs: int, done: float, values: Mapping[str, float]) -> None:
        """Show an epoch that is not done; `done` of it is, in [0, 1]."""
        self._show(epoch, epochs, epoch - 1 + done, values, line=False)

    def say(self, line: str) -> None:
        """Show a line that stays."""
        if self._bars is not None:
            self._bars.console.print(line, markup=False)
        elif not self._silent:
            click.echo(line, err=True)

    def _show(self, epoch: int, epochs: int, done: float, values: Mapping[str, float], *, line: bool) -> None:
        said = f"epoch {epoch}/{epochs}"
        if "loss" in values:
            said += f"   loss {values['loss']:.3f}"
        if self._value is not None:
            said += f"   {self._metric} {self._value:.1f}"
        if "images_per_s" in values:
            said += f"   {values['images_per_s']:,.0f} images/s   waiting {values.get('wait_frac', 0.0):.0%}"
        if self._bars is not None:
            self._bars.update(self._task, total=epochs, completed=done, said=said)
        elif not self._silent and (line or time.monotonic() - self._last > _LINE_S):
            self._last = time.monotonic()
            click.echo(said, err=True)


def print_rate(curve: Curve, folder: Path) -> None:
    """Print what a range test suggests, and where its curve is."""
    if curve.lowest is None:
        click.echo(f"no suggestion: the loss was not a number after {len(curve.lr)} steps. Look at the data first.")
    elif curve.suggestion is None:
        click.echo(f"no suggestion: the loss did not fall in {len(curve.lr)} steps. Look at the data first.")
    else:
        steepest = "" if curve.steepest is None else f"falls fastest at {curve.steepest:.1e}, "
        click.echo(
            f"suggested: --set lr={curve.suggestion:.1e}   ({len(curve.lr)} steps from {curve.lr[0]:.0e} to {curve.lr[-1]:.1e}; "
            f"the loss {steepest}is close to its lowest from {curve.close:.1e} on, and lowest at {curve.lowest:.1e})"
        )
    for name, what in (("lr.svg", "plot"), ("lr.json", "curve")):
        click.echo(f"{what + ':':12} {folder / name}")


def print_record(record: RunRecord, metric: str, folder: Path) -> None:
    """Print the metrics, the cost, and where everything is."""
    names = sorted(record.metrics, key=lambda name: (name != metric, "/" in name))
    print_table(["metric", "%"], [[name, f"{record.metrics[name]:.1f}"] for name in names], right=frozenset({1}))
    per_image = 1000 * record.cpu_seconds / record.images if record.images else 0.0
    waited = ""
    if record.wait_seconds is not None and record.seconds:
        waited = f"   waiting for data {record.wait_seconds / record.seconds:.0%}"
    click.echo(
        f"{record.parameters:,} parameters   {record.images:,} images in {record.seconds:.1f} s   "
        f"{record.cpu_seconds:.1f} CPU s ({per_image:.1f} ms an image){waited}"
    )
    for name, what in (
        ("model.pt", "weights"),
        ("predictions.json", "predictions"),
        ("predictions.csv", "predictions"),
        ("predictions.png", "drawn"),
        ("network.txt", "network"),
        ("metrics.jsonl", "curves"),
        ("record.json", "record"),
    ):
        if (folder / name).exists():
            click.echo(f"{what + ':':12} {folder / name}")
