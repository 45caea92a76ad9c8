"""`augsuite study`: measure what each augmentation does."""

from __future__ import annotations

import click

from augsuite.commands.study_init import init, schema
from augsuite.commands.study_plan import plan
from augsuite.commands.study_results import compare, export, reproduce
from augsuite.commands.study_run import run
from augsuite.commands.study_shown import show


@click.group()
def study() -> None:
    """Measure what each augmentation does: the same trainer on the same seeds, arm by arm."""


for command in (init, schema, plan, run, show, compare, export, reproduce):
    study.add_command(command)
