"""`augsuite view`: a dataset, a policy or a study in the FiftyOne App."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from augsuite import ConfigError, Dataset, Policy, read
from augsuite import policy as find_policy
from augsuite.dataset import Intake
from augsuite.dataset.archives import SUFFIXES
from augsuite.dataset.urls import url_of
from augsuite_fiftyone.app import LOOPBACK, App, show
from augsuite_fiftyone.database import check_installed

_SAMPLES = 50  # of a policy
_LISTED = 20  # skipped rows
_THERE = "a dataset that is in FiftyOne already"


@dataclass(frozen=True)
class Asked:
    """What was said on the command line."""

    source: str
    policy: str | None
    samples: int | None
    seed: int
    field: str
    name: str | None
    keep: bool
    seeds: str | None
    min_score: float | None
    images: str | None
    database: str | None
    read: Callable[[], Dataset]


@click.command()
@click.argument("source", metavar="DATASET|STUDY")
@click.option("--policy", metavar="POLICY", help="Show what a policy makes of it: a name or a YAML file.")
@click.option("--samples", type=click.IntRange(1), help="Images, at random; all, or 50 with a policy.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Chooses images and random numbers.")
@click.option("--field", default="ground_truth", show_default=True, help="The name of the label field.")
@click.option("--name", help="The name in FiftyOne; that of the dataset by default.")
@click.option("--keep", is_flag=True, help="Keep what a policy made after the App is closed.")
@click.option("--seeds", metavar="0,1|all", help="Of a study: whose predictions; the first seed's by default.")
@click.option("--min-score", type=click.FloatRange(0, 1), help="Of a study: the least score of a box that is shown.")
@click.option("--images", metavar="DATASET", help="Of a study: where its images are now.")
@click.option("--port", type=click.IntRange(1, 65535), help="Of the App; 5151 if that is free.")
@click.option("--address", default=LOOPBACK, show_default=True, help="What the App listens on.")
@click.option("--browser/--no-browser", default=True, help="Open a browser, where there is a display.")
@click.option("--database", metavar="URI", help="A MongoDB of yours; augsuite's own by default.")
@click.option("--from", "source_format", metavar="FORMAT", help="The dataset's format; detected by default.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the reader.")
@click.option("--skip-invalid", is_flag=True, help="Leave out invalid rows, counted, instead of stopping.")
@click.option("--allow-outside", is_flag=True, help="Let names and links lead to images outside the dataset's folder.")
def view(
    source: str,
    policy: str | None,
    samples: int | None,
    seed: int,
    field: str,
    name: str | None,
    keep: bool,
    seeds: str | None,
    min_score: float | None,
    images: str | None,
    port: int | None,
    address: str,
    browser: bool,
    database: str | None,
    source_format: str | None,
    options: tuple[str, ...],
    skip_invalid: bool,
    allow_outside: bool,
) -> None:
    """Open a dataset, or a study's folder, in the FiftyOne App.

    DATASET is whatever `augsuite convert` reads, or fiftyone://NAME. It is kept in augsuite's own FiftyOne database, so that what you tag or
    correct in the App is there the next time; `augsuite fiftyone delete` removes it. With --policy, each image becomes a group: the
    original, each step alone, and the whole policy, drawn as a training with the same seed draws them; that goes away with the App, unless
    you --keep it.

    The App listens on this machine alone. Ctrl-C ends it.
    """
    check_installed()
    from augsuite_fiftyone.study_looks import WORKSPACE, is_study

    given = functools.partial(_read, source, source_format, options, skip_invalid, allow_outside)
    asked = Asked(source, policy, samples, seed, field, name, keep, seeds, min_score, images, database, given)
    if is_study(source):
        _refuse({"--from": source_format, "--option": options or None}, "a study")
    elif policy is None and source.startswith("fiftyone:"):
        _refuse({"--option": options or None}, _THERE)
    opened = _opener(asked)
    if address != LOOPBACK:
        click.echo(f"note: whoever reaches {address} can see and change what is in FiftyOne's database", err=True)
    # The App takes seconds to start, which reading and storing can use.
    with App(port, address, database) as app, opened() as dataset:
        app.ready()
        link = app.link(dataset, workspace=WORKSPACE if is_study(source) else None)
        click.echo(link)
        shown = show(link, browser=browser)
        click.echo(f"{'' if shown else 'Open it in a browser. '}Ctrl-C ends the App.", err=True)
        with _interrupted_by_termination():
            app.wait()


def _opener(asked: Asked) -> Callable[[], contextlib.AbstractContextManager[str]]:
    """What puts into FiftyOne what was asked for, and gives its name there. Checks what can be checked at once.

    Raises:
        ConfigError: if options do not go together, or there is no such policy.
    """
    from augsuite_fiftyone.study_looks import is_study

    of_studies = {"--seeds": asked.seeds, "--min-score": asked.min_score, "--images": asked.images}
    if is_study(asked.source):
        _refuse({"--policy": asked.policy, "--samples": asked.samples}, "a study")
        return functools.partial(_study, asked)
    _refuse(of_studies, "a dataset")
    url = url_of(asked.source)
    if asked.policy is not None:
        return functools.partial(_policy, asked, find_policy(asked.policy))
    if url is not None and url.scheme == "fiftyone":
        _refuse({"--samples": asked.samples, "--name": asked.name}, _THERE)
        return functools.partial(_there, asked, url.rest)
    return functools.partial(_dataset, asked)


def _refuse(options: dict[str, Any], what: str) -> None:
    for option, value in options.items():
        if value is not None:
            raise ConfigError(f"{option} is nothing that {what} has. Leave it out.")


@contextlib.contextmanager
def _dataset(asked: Asked) -> Iterator[str]:
    from augsuite_fiftyone.database import connect
    from augsuite_fiftyone.view_dataset import view_dataset

    data = asked.read()
    missing = int((data.images.files == "").sum())
    if 0 < missing < len(data):
        click.echo(f"note: {missing:,} of {len(data):,} images have no file, and are left out", err=True)
    connect(asked.database)
    name = asked.name or _name(asked) + (f"-{asked.samples}" if asked.samples is not None else "")
    with _progress("storing", len(data) if asked.samples is None else min(asked.samples, len(data))) as step:
        dataset = view_dataset(
            data,
            name,
            field=asked.field,
            samples=asked.samples,
            seed=asked.seed,
            exact_name=asked.name is not None,
            progress=step,
        )
    yield dataset.name


@contextlib.contextmanager
def _policy(asked: Asked, policy: Policy) -> Iterator[str]:
    from augsuite_fiftyone.database import connect
    from augsuite_fiftyone.slices import slices_of
    from augsuite_fiftyone.view_policy import remove, view_policy

    url = url_of(asked.source)
    if url is not None and url.scheme == "fiftyone":  # else reading it would connect to augsuite's own database
        connect(asked.database)
    data = asked.read()
    connect(asked.database)
    samples = min(asked.samples or _SAMPLES, len(data))
    with _progress("rendering", samples * len(slices_of(policy))) as step:
        dataset = view_policy(
            data,
            policy,
            asked.name or f"{_name(asked)}-{policy.name}",
            samples=samples,
            seed=asked.seed,
            field=asked.field,
            exact_name=asked.name is not None,
            keep=asked.keep,
            progress=step,
        )
    try:
        yield dataset.name
    finally:
        dataset.reload()
        if not dataset.persistent:  # neither --keep nor somebody in the App kept it
            remove(dataset)


@contextlib.contextmanager
def _there(asked: Asked, name: str) -> Iterator[str]:
    from augsuite_fiftyone.database import connect

    fo = connect(asked.database)
    if not fo.dataset_exists(name):
        raise ConfigError(
            f"fiftyone://{name}: there is no such dataset. `augsuite fiftyone list` lists those there are."
        )
    yield name


@contextlib.contextmanager
def _study(asked: Asked) -> Iterator[str]:
    from augsuite_fiftyone.view_study import open_study

    seeds: list[int] | Literal["all"] | None = None
    if asked.seeds == "all":
        seeds = "all"
    elif asked.seeds is not None:
        if not re.fullmatch(r"\d+(,\d+)*", asked.seeds):
            raise ConfigError(f"--seeds {asked.seeds}: write numbers with commas between them, or all.")
        seeds = [int(seed) for seed in asked.seeds.split(",")]
    with _progress("storing", None) as step:
        dataset = open_study(
            asked.source,
            name=asked.name,
            seeds=seeds,
            min_score=asked.min_score,
            images=asked.images,
            persistent=True,
            database=asked.database,
            progress=step,
        )
    yield dataset.name


def _read(
    source: str, source_format: str | None, options: tuple[str, ...], skip_invalid: bool, allow_outside: bool
) -> Dataset:
    """Read the dataset, and say on stderr what was surprising."""
    intake = Intake(skip_invalid, allow_outside)
    given: dict[str, Any] = {}
    for pair in options:
        name, separator, value = pair.partition("=")
        if not separator or not name or not name.isidentifier() or name in {"path", "format", "intake"}:
            raise ConfigError(f"--option {pair!r}: write it as NAME=VALUE.")
        given[name] = value
    data = read(source, source_format, intake=intake, **given)
    for line, times in intake.notes.items():
        click.echo(f"note: {line}{f' ({times:,} times)' if times > 1 else ''}", err=True)
    for line in intake.skipped[:_LISTED]:
        click.echo(f"skipped: {line}", err=True)
    if len(intake.skipped) > _LISTED:
        click.echo(f"skipped: {len(intake.skipped) - _LISTED:,} more", err=True)
    return data


def _name(asked: Asked) -> str:
    """What to call it in FiftyOne: the last part of where it is."""
    url = url_of(asked.source)
    last = (url.rest if url else os.path.abspath(asked.source)).replace("\\", "/").rstrip("/").rpartition("/")[2]  # noqa: PTH100 - a name, not a file
    for suffix in SUFFIXES:
        last = last.removesuffix(suffix)
    return Path(last).stem if Path(last).suffix in {".json", ".csv", ".parquet"} else last or "dataset"


@contextlib.contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as display:
        task = display.add_task(what, total=total)
        yield lambda step: display.advance(task, step)


@contextlib.contextmanager
def _interrupted_by_termination() -> Iterator[None]:
    """Let an ordinary `kill` end the App as Ctrl-C does, so that nothing stays behind."""
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
