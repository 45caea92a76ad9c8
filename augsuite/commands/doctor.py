"""`augsuite doctor`: what is there, what is missing, what is broken, and what to do."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import click
from rich.console import Console

from augsuite.commands.console import json_option, print_json

_MARKS = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "missing": ("-", "bright_black"),
    "broken": ("BROKEN", "red"),
}
_NAME = 18


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--quick", is_flag=True, help="Import and start nothing: two seconds.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, jobs: tuple[str, ...], quick: bool, as_json: bool) -> None:
    """Check this machine, and say what to do for each thing that is missing or broken.

    A JOB narrows it to what that takes: convert, augment, train, fiftyone, ray, remote, timm, tensorboard, mlflow, wandb, visdom. The
    exit status is 1 if something is broken; with a JOB also if something is missing that it needs.
    """
    from augsuite.doctor import Check, examine, failed

    found: list[Check] = []
    group = ""
    with _spinner() as begin:
        for check in examine(jobs, quick=quick, begin=begin):
            found.append(check)
            if as_json:
                continue
            if check.group != group:
                group = check.group
                click.echo(click.style(group, bold=True))
            _print(check)
    bad = failed(found, jobs)
    counts = Counter(str(check.status) for check in found)
    if as_json:
        print_json({"failed": bad, "jobs": jobs, "counts": counts, "checks": found})
    else:
        words = [f"{counts[name]} {name}" for name in _MARKS if counts[name]]
        click.echo(
            click.style("something needs to be done" if bad else "all is well", fg="red" if bad else "green", bold=True)
            + f": {', '.join(words)}"
        )
    ctx.exit(bad)


def _print(check: object) -> None:
    from augsuite.doctor import Check

    if not isinstance(check, Check):
        return
    mark, colour = _MARKS[check.status]
    said = " ".join(check.said.split())
    click.echo(f"  {click.style(f'{mark:<7}', fg=colour)} {check.name:<{_NAME}} {said}")
    if check.advice:
        click.echo(f"  {'':7} {'':{_NAME}} {click.style('->', fg=colour)} {check.advice}")


@contextlib.contextmanager
def _spinner() -> Iterator[Callable[[str], None]]:
    """Something that turns on stderr while a process is waited for; nothing where nobody looks."""
    console = Console(stderr=True)
    if not console.is_terminal or not sys.stdout.isatty():
        yield lambda _: None
        return
    with console.status("looking") as status:
        yield lambda what: status.update(f"trying {what}")
