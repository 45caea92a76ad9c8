"""What the commands share on the terminal: data to stdout, progress to stderr, and only where a person looks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from augsuite.errors import ConfigError

_UNFOLDED = 100_000  # columns: more than any row has

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def print_json(value: Any) -> None:
    """Print any plain value as indented JSON on stdout."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(headings: list[str], rows: list[list[str]], *, right: frozenset[int] = frozenset()) -> None:
    """Print a plain table on stdout, columns aligned; where the output is no terminal, one line for each row.

    Args:
        headings: one for each column.
        rows: cells.
        right: columns that are numbers.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else _UNFOLDED
    console = Console(width=width, highlight=False, markup=False)
    with console.capture() as printed:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """`1,234/s`, or nothing before there is a rate."""
        speed = task.finished_speed or task.speed
        said = "" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.1f}/s"
        return Text(said, style="progress.data.speed")


def progress() -> Progress:
    """A progress display on stderr, with count, rate and time left; silent where stderr is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


@contextlib.contextmanager
def shown_progress() -> Iterator[None]:
    """Show, as `progress` does, whatever work inside the block tells: one bar for each kind of work."""
    from augsuite.dataset.progress import listening  # not above: listings import no dataset

    with progress() as display:
        bars: dict[str, TaskID] = {}

        def show(what: str, step: int, total: int | None) -> None:
            if what not in bars or step == 0:
                bars[what] = display.add_task(what, total=total)
            display.advance(bars[what], step)

        with listening(show):
            yield


def parse_options(pairs: tuple[str, ...]) -> dict[str, str]:
    """`("units=pixel",)` -> `{"units": "pixel"}`.

    Raises:
        ConfigError: for a pair without `=`.
    """
    options = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise ConfigError(f"--option {pair!r}: write it as NAME=VALUE.")
        options[name] = value
    return options
