"""`augsuite study init` and `augsuite study schema`: a study file to start from, and what editors need to help with it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from augsuite import registry
from augsuite.errors import ConfigError

_DESIGNS = ("named", "add-one", "leave-one-out", "cumulative", "grid", "factorial")
_WORDS = {
    "named": "arms by name, to be written out",
    "add-one": "nothing, and each augmentation alone",
    "leave-one-out": "all augmentations, and all but each",
    "cumulative": "one augmentation more in each row",
    "grid": "one augmentation at several strengths",
    "factorial": "two augmentations, alone and together",
}


@click.command()
@click.argument("dataset")
@click.option(
    "--trainer", help="The trainer; see `augsuite trainers`. By default one that fits what the dataset holds."
)
@click.option("--name", help="Name of the study; the dataset's by default.")
@click.option("--design", type=click.Choice(_DESIGNS), help="How the arms come about; `named` by default.")
@click.option("--seeds", type=click.IntRange(min=1), help="Runs of each arm; 3 by default.")
@click.option("--epochs", type=click.IntRange(min=1), help="Of each run; the trainer's default by default.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Write this file, and the schema beside it; stdout by default."
)
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: take what is said, and the defaults.")
def init(
    dataset: str,
    trainer: str | None,
    name: str | None,
    design: str | None,
    seeds: int | None,
    epochs: int | None,
    out: Path | None,
    yes: bool,
) -> None:
    """Write a commented study file for DATASET.

    On a terminal, asks for what is not said. A path is written as seen from the folder that the file lies in: that of --out, or the
    present one.
    """
    from augsuite.study.file import check_name
    from augsuite.study.starter import SCHEMA, example

    if name is not None:
        check_name(name, "--name")
    trainers = registry.default().trainers()
    if trainer is not None:
        registry.find("trainer", trainers, trainer)
    if out is not None and out.exists():
        raise ConfigError(f"{out}: is there already. Delete it, or name another file.")
    asks = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    own = re.sub(r"[^A-Za-z0-9._+-]+", "-", Path(dataset).name).strip("-.") or "study"
    trainer = trainer or _fitting(dataset)
    if asks:
        click.echo("A study file: press Enter for what stands in brackets; everything can be edited later.", err=True)
        name = name or click.prompt("name of the study", default=own, err=True)
        check_name(name, "the study")
        trainer = click.prompt("trainer", default=trainer, type=click.Choice(sorted(trainers)), err=True)
        for each in _DESIGNS if design is None else ():
            click.echo(f"  {each:<14} {_WORDS[each]}", err=True)
        design = design or click.prompt("design", default="add-one", type=click.Choice(_DESIGNS), err=True)
        seeds = seeds or click.prompt("seeds: runs of each arm", default=3, type=click.IntRange(min=1), err=True)
        if epochs is None:
            default = _default_epochs(trainer)
            chosen = click.prompt("epochs of each run", default=default, type=click.IntRange(min=1), err=True)
            epochs = None if chosen == default else chosen
        if out is None:
            out = click.prompt("file", default=f"{name}.yaml", type=click.Path(path_type=Path), err=True)
            if out.exists():
                raise ConfigError(f"{out}: is there already. Delete it, or name another file.")
    text = example(
        _seen_from(dataset, out),
        name or own,
        trainer,
        task=trainers[trainer].task,
        design=design or "named",
        seeds=seeds or 3,
        epochs=epochs,
    )
    if out is None:
        click.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    (out.parent / SCHEMA).write_bytes(_schema())
    click.echo(f"{out} and {out.parent / SCHEMA}; next: augsuite study plan {out}", err=True)


@click.command()
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Write this file; stdout by default.")
def schema(out: Path | None) -> None:
    """Print the JSON Schema of study files, with which an editor completes names and marks mistakes.

    It has the trainers, transforms and policies of this installation. A study file that begins with the line
    `# yaml-language-server: $schema=study.schema.json` finds it beside itself.
    """
    if out is None:
        click.echo(_schema().decode(), nl=False)
        return
    out.write_bytes(_schema())


def _schema() -> bytes:
    from augsuite.study.schema import schema

    return msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n"


def _fitting(dataset: str) -> str:
    """A trainer for what the dataset holds; `ssd` where it cannot be read from here, which `study run` will say."""
    from augsuite.conversion import read
    from augsuite.errors import AugsuiteError

    try:
        data = read(dataset)
    except AugsuiteError:
        return "ssd"
    boxed = bool(data.annotations.is_box.any())
    return "ssd" if boxed or not len(data.annotations) else "finetune"


def _default_epochs(trainer: str) -> int:
    from augsuite.study.session import settings_of

    settings: Any = settings_of(trainer, {})
    return int(getattr(settings, "epochs", 1))


def _seen_from(dataset: str, out: Path | None) -> str:
    """The dataset as the file will name it: a path relative to its folder, or a name as it is."""
    path = Path(dataset)
    if out is None or path.is_absolute() or not path.exists():
        return dataset
    return Path(os.path.relpath(path, out.parent)).as_posix()
