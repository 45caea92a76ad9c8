"""`augsuite study`: measure what each augmentation does."""

from __future__ import annotations

import re
from pathlib import Path

import click

from augsuite import registry
from augsuite.commands.study_run import run
from augsuite.commands.study_shown import show


@click.group()
def study() -> None:
    """Measure what each augmentation does: the same trainer on the same seeds, arm by arm."""


@study.command()
@click.argument("dataset")
@click.option("--trainer", default="ssd", show_default=True, help="The trainer; see `augsuite trainers`.")
@click.option("--name", help="Name of the study; the dataset's by default.")
def init(dataset: str, trainer: str, name: str | None) -> None:
    """Print a commented study file for DATASET; redirect it to a file and edit it.

    A path is written as seen from the folder that the file will lie in.
    """
    from augsuite.study.file import example

    registry.find("trainer", registry.default().trainers(), trainer)
    chosen = name or re.sub(r"[^A-Za-z0-9._+-]+", "-", Path(dataset).name).strip("-.") or "study"
    click.echo(example(dataset, chosen, trainer), nl=False)


for command in (run, show):
    study.add_command(command)
