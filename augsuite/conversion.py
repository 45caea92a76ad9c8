"""Read a dataset in any format, write it in any other, and say what was lost on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from augsuite import registry
from augsuite.dataset import Dataset, Intake, checked, sidecars
from augsuite.dataset.fence import fenced
from augsuite.dataset.files import with_tame_names
from augsuite.dataset.parallel import Retried
from augsuite.dataset.placing import Placing
from augsuite.dataset.urls import Url, url_of
from augsuite.detection import by_scheme, check_options, detect, find_format, find_place, options_of
from augsuite.engines.choice import at_work
from augsuite.errors import ConfigError, nearest
from augsuite.protocols import Losses
from augsuite.spec import FormatSpec
from augsuite.writing import PLACINGS, check_target, describe, target_in, writable, write, write_parts

__all__ = ["PLACINGS", "Conversion", "check_target", "convert", "describe", "detect", "read", "read_as", "write"]


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        source_format: the format read.
        target_format: the format written.
        target: the folder written, or the URL.
        images: how many images it holds.
        boxes: how many boxes.
        image_labels: how many labels of whole images.
        losses: what the target cannot hold: kind -> how many values.
        lost: the same as text, one entry for each kind.
        skipped: the invalid rows left out, one line each.
        notes: surprises that lost nothing: line -> how often.
        retried: work that was done again, since a process or a machine had died.
        seconds: wall time.
    """

    source_format: str
    target_format: str
    target: Path | Url | None
    images: int
    boxes: int
    image_labels: int
    losses: Losses
    lost: list[str]
    skipped: list[str]
    notes: Mapping[str, int]
    retried: list[Retried]
    seconds: float


def read(
    path: str | os.PathLike[str],
    format: str | FormatSpec | None = None,  # noqa: A002 - the word users know; the built-in is not needed here
    skip_invalid: bool = False,
    *,
    allow_outside: bool = False,
    intake: Intake | None = None,
    **options: str,
) -> Dataset:
    """Read a dataset.

    Args:
        path: a file or folder; or the name of a bundled dataset, or of a folder in `AUGSUITE_DATA`; or `<scheme>://<name>` of a format
            whose datasets are no files.
        format: its format, by name or declaration; detected where it is None.
        skip_invalid: leave invalid rows out instead of stopping at the first.
        allow_outside: let names and links lead to image files outside the dataset's folder.
        intake: takes what was left out and what was surprising, for a caller who wants to show it.
        options: those of the format; `augsuite formats` lists them.

    Returns:
        The dataset, checked.

    Raises:
        DataError: if a file cannot be read or holds an invalid row.
        ConfigError: if the path, format or an option does not exist, or no format fits.
    """
    return read_as(path, format, intake or Intake(skip_invalid, allow_outside), options)


def read_as(
    path: str | os.PathLike[str], source_format: str | FormatSpec | None, intake: Intake, options: Mapping[str, str]
) -> Dataset:
    """As `read`, with the options as a mapping: their names may be whatever a user typed."""
    found = find_place(path, source_format)
    return _read(found, find_format(source_format) if source_format else detect(found), intake, options)


def _read(path: Path, spec: FormatSpec, intake: Intake, options: Mapping[str, str]) -> Dataset:
    check_options(spec, "read", options)
    reader = registry.load(spec.read, f"format {spec.name}", "all")
    if spec.scheme:
        return checked(reader(path, intake, **options), str(url_of(path)))
    with fenced(path, allow_outside=intake.allow_outside):
        data = _checked(reader(path, intake, **options), path, intake)
        beside = sidecars.find(path)
        return sidecars.bring_back(beside, data, spec.name, intake) if beside else data


def _read_parts(path: Path, spec: FormatSpec, intake: Intake, options: Mapping[str, str]) -> Iterator[Dataset]:
    check_options(spec, "read", options)
    if not spec.scheme and sidecars.find(path):
        raise ConfigError(f"{path}: has a sidecar, which cannot be streamed. Drop --stream, or move the sidecar away.")
    if spec.read_parts is not None:
        reader = registry.load(spec.read_parts, f"format {spec.name}", "all")
        parts = reader(path, intake, **options)
        while True:
            with fenced(path, allow_outside=intake.allow_outside):  # for the reader, not for who takes its parts
                part = next(parts, None)
            if part is None:
                return
            yield _checked(part, path, intake)


def _checked(data: Dataset, path: Path, intake: Intake) -> Dataset:
    return checked(with_tame_names(data) if intake.allow_outside else data, str(path))


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str | None = None,
    source_format: str | None = None,
    *,
    skip_invalid: bool = False,
    allow_outside: bool = False,
    overwrite: bool = False,
    images: Placing = "copy",
    lossless: bool = False,
    sidecar: bool = False,
    stream: bool = False,
    workers: int | None = None,
    engine: str = "local",
    options: Mapping[str, str] | None = None,
) -> Conversion:
    """Read a dataset and write it in another format.

    Args:
        source: see `read`.
        target: the folder to write; see `write`.
        to: the format to write; may be left out where `target` says it by its scheme.
        source_format: the format to read; detected where it is None.
        skip_invalid: see `read`.
        allow_outside: see `read`.
        overwrite: see `write`.
        images: see `write`.
        lossless: see `write`.
        sidecar: see `write`.
        stream: read and write in parts, in memory that does not grow with the dataset, if both formats can; the same files.
        workers: how many processes read and write; the same files, whatever their number. One by default, or as many as a cluster has
            room for.
        engine: where they run: `local`, or the name of a plugin's engine; the same files.
        options: of the reader and of the writer; each gets those that it declares.

    Raises:
        DataError: see `read` and `write`.
        ConfigError: see `read` and `write`; also for an option that neither side has, and for what cannot be streamed.
    """
    started = time.perf_counter()
    found = find_place(source, source_format)
    reading = find_format(source_format) if source_format else detect(found)
    spec = find_format(to) if to else by_scheme(target)
    if spec is None:
        raise ConfigError(f"{os.fspath(target)}: does not say in which format to write. Name it with --to.")
    writing = writable(spec, images)
    place = target_in(writing, target)
    given = dict(options or {})
    known = options_of(reading, "read") | options_of(writing, "write")
    for name in given:
        if name not in known:
            raise ConfigError(f"unknown option {name!r} for {reading.name} -> {writing.name}. {nearest(name, known)}")
    if stream:
        _check_stream(reading, writing, sidecar)
    check_target(None, place, overwrite, found)
    intake = Intake(skip_invalid, allow_outside, wants=None if sidecar else _wanted(reading, writing, given))
    of_reader = {key: given[key] for key in given.keys() & options_of(reading, "read")}
    of_writer = {key: given[key] for key in given.keys() & options_of(writing, "write")}
    check_options(writing, "write", of_writer)
    retried: list[Retried] = []
    with at_work(engine, workers, places=[source, target], retried=retried):
        if stream:
            parts = _read_parts(found, reading, intake, of_reader)
        else:
            parts = iter([_read(found, reading, intake, of_reader)])
        done = write_parts(parts, place, writing, images, lossless, sidecar, intake, None, of_writer, overwrite)
    return Conversion(
        source_format=reading.name,
        target_format=writing.name,
        target=url_of(place) if writing.scheme else place,
        images=done.images,
        boxes=done.boxes,
        image_labels=done.image_labels,
        losses=done.losses,
        lost=done.lost,
        skipped=intake.skipped,
        notes=intake.notes,
        retried=retried,
        seconds=time.perf_counter() - started,
    )


def _check_stream(reading: FormatSpec, writing: FormatSpec, sidecar: bool) -> None:
    formats = registry.default().formats()
    for spec, able, what in ((reading, "read_parts", "read"), (writing, "write_parts", "written")):
        if getattr(spec, able) is None:
            names = ", ".join(name for name, other in formats.items() if getattr(other, able))
            raise ConfigError(
                f"the format {spec.name!r} cannot be {what} in parts. Drop --stream, or use one that can be: {names}."
            )
    if sidecar:
        raise ConfigError("a sidecar holds the whole dataset, and cannot be streamed. Drop --sidecar or --stream.")


def _wanted(reading: FormatSpec, writing: FormatSpec, given: Mapping[str, str]) -> frozenset[str]:
    """The extras that a format's writer looks at; all of them where it may write its own as they were."""
    options = [option for option in writing.options if option.name in given or reading.name == writing.name]
    return writing.keeps.union(*(option.wants for option in options))
