"""How commands read the dataset that they are given: the same options, the same words about surprises."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from augsuite.commands.console import parse_options

if TYPE_CHECKING:
    from augsuite.dataset import Dataset, Intake

R = TypeVar("R")

_LISTED = 20  # skipped rows


@dataclass(frozen=True)
class Reading:
    """What was said on the command line about reading; call it with a dataset.

    Attributes:
        source_format: the format's name; None to detect it.
        options: of the format.
        skip_invalid: leave invalid rows out.
        allow_outside: let names and links lead out of the dataset's folder.
    """

    source_format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    skip_invalid: bool = False
    allow_outside: bool = False

    def __call__(self, dataset: str | os.PathLike[str], intake: Intake | None = None) -> Dataset:
        """Read a dataset, and say on stderr what was surprising, unless `intake` is there to take it.

        Raises:
            DataError: see `augsuite.conversion.read`.
            ConfigError: see there.
        """
        from augsuite.conversion import read_as
        from augsuite.dataset import Intake

        taken = intake or Intake(self.skip_invalid, self.allow_outside)
        data = read_as(dataset, self.source_format, taken, self.options)
        if intake is None:
            tell(taken.notes, taken.skipped)
        return data


def reading_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--from`, `--option`, `--skip-invalid` and `--allow-outside`; it gets them as one argument `reading`."""

    @click.option("--from", "source_format", metavar="FORMAT", help="The dataset's format; detected by default.")
    @click.option("--option", "format_options", multiple=True, metavar="NAME=VALUE", help="An option of that format.")
    @click.option("--skip-invalid", is_flag=True, help="Leave out invalid rows, counted, instead of stopping.")
    @click.option(
        "--allow-outside", is_flag=True, help="Let names and links lead to images outside the dataset's folder."
    )
    @functools.wraps(command)
    def wrapped(
        *arguments: Any,
        source_format: str | None,
        format_options: tuple[str, ...],
        skip_invalid: bool,
        allow_outside: bool,
        **others: Any,
    ) -> R:
        return command(
            *arguments,
            reading=Reading(source_format, parse_options(format_options), skip_invalid, allow_outside),
            **others,
        )

    return wrapped


def tell(notes: Mapping[str, int], skipped: Collection[str]) -> None:
    """Print what a reader noticed and left out on stderr."""
    for line, times in notes.items():
        click.echo(f"note: {line}{f' ({times:,} times)' if times > 1 else ''}", err=True)
    for line in list(skipped)[:_LISTED]:
        click.echo(f"skipped: {line}", err=True)
    if len(skipped) > _LISTED:
        click.echo(f"skipped: {len(skipped) - _LISTED:,} more", err=True)
