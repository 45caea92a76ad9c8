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
        shared: whether options that this dataset's format does not read are someone else's, and no mistake.
    """

    source_format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    skip_invalid: bool = False
    allow_outside: bool = False
    shared: bool = False

    def __call__(self, dataset: str | os.PathLike[str], intake: Intake | None = None) -> Dataset:
        """Read a dataset, and say on stderr what was surprising, unless `intake` is there to take it.

        Raises:
            DataError: see `augsuite.conversion.read`.
            ConfigError: see there.
        """
        from augsuite.conversion import read_as
        from augsuite.dataset import Intake

        taken = intake or Intake(self.skip_invalid, self.allow_outside)
        options = self.options
        if self.shared and options:
            known = self.options_of(dataset)
            options = {name: value for name, value in options.items() if name in known}
        data = read_as(dataset, self.source_format, taken, options)
        if intake is None:
            tell(taken.notes, taken.skipped)
        return data

    def options_of(self, dataset: str | os.PathLike[str]) -> frozenset[str]:
        """The options that a dataset's format reads.

        Raises:
            ConfigError: if the format does not exist or is not recognised.
        """
        from augsuite.detection import detect, find_format, find_place, options_of

        spec = find_format(self.source_format) if self.source_format else detect(find_place(dataset))
        return options_of(spec, "read")


def reading_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--from`, `--option`, `--skip-invalid` and `--allow-outside`; it gets them as one argument `reading`."""

    @click.option("--from", "source_format", metavar="FORMAT", help="The dataset's format; detected by default.")
    @click.option(
        "--option", "format_options", multiple=True, metavar="NAME=VALUE", help="An option of the reader or writer."
    )
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
