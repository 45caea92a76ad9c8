"""How commands write the dataset that they made: the same options, and the same line about what came of it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import numpy as np

from augsuite import conversion, registry
from augsuite.commands import console
from augsuite.commands.engine import Chosen, engine_options
from augsuite.commands.reading import Reading, tell
from augsuite.dataset.checks import Intake
from augsuite.dataset.output import Placing
from augsuite.dataset.urls import Url, url_of
from augsuite.detection import by_scheme, check_options, find_format, find_place, options_of
from augsuite.errors import ConfigError, nearest
from augsuite.writing import target_in, write_parts

if TYPE_CHECKING:
    from augsuite.dataset import Dataset
    from augsuite.protocols import Losses
    from augsuite.spec import FormatSpec

R = TypeVar("R")


@dataclass(frozen=True)
class Writing:
    """What was said on the command line about writing.

    Attributes:
        to: the format's name; None for that of the source.
        images: how image files get there.
        overwrite: replace a dataset that is there.
        chosen: where they are read and written.
    """

    to: str | None = None
    images: Placing = "copy"
    overwrite: bool = False
    chosen: Chosen = field(default_factory=Chosen)

    def prepare(self, target: Path, sources: Sequence[str], reading: Reading) -> Target:
        """Find out, before anything is read, whether the result can be written.

        Args:
            target: the folder to write.
            sources: the datasets that will be read; the first one's format is the one to write where none was named.
            reading: how they are read; its options may be the writer's, too.

        Raises:
            ConfigError: if the target exists or holds a source, the format does not exist or cannot be written, or neither side has
                an option.
        """
        formats = registry.default().formats()
        named = by_scheme(target) if self.to is None else None
        name = (
            self.to or (named and named.name) or reading.source_format or conversion.detect(find_place(sources[0])).name
        )
        spec = registry.find("format", formats, name)
        if spec.scheme and named is None and self.to is None:
            raise ConfigError(f"{target}: does not say in which format to write. Name it with --to.")
        target = target_in(spec, target)
        for source in sources:
            conversion.check_target(None, target, self.overwrite, find_place(source, reading.source_format))
        if not spec.writable:
            able = ", ".join(other for other, each in formats.items() if each.writable)
            raise ConfigError(f"the format {name!r} can be read only. Name one to write with --to: {able}.")
        return Target(target, name, self, replace(reading, shared=True), _options(reading, sources, spec))


@dataclass(frozen=True)
class Target:
    """A place that can be written.

    Attributes:
        folder: the place.
        format: the name of the format.
        writing: how.
        reading: how the sources are read.
        options: of the writer.
        intake: takes what is surprising, for `write` to tell at the end.
    """

    folder: Path
    format: str
    writing: Writing
    reading: Reading
    options: Mapping[str, str]
    intake: Intake = field(init=False)
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        object.__setattr__(self, "intake", Intake(self.reading.skip_invalid))

    @property
    def place(self) -> Path | Url:
        """The place as the user names it."""
        return (url_of(self.folder) if by_scheme(self.folder) else None) or self.folder

    def read(self, dataset: str, intake: Intake | None = None) -> Dataset:
        """Read a source; see `Reading`."""
        with self.writing.chosen.at_work(dataset, self.folder):
            return self.reading(dataset, intake)

    def put(self, data: Dataset, images: Placing, *, sidecar: bool = False) -> Losses:
        """Write a dataset and say nothing; see `augsuite.writing.write`."""
        spec, overwrite = find_format(self.format), self.writing.overwrite
        with self.writing.chosen.at_work(self.folder):
            return write_parts(
                [data], self.folder, spec, images, False, sidecar, self.intake, None, self.options, overwrite
            ).losses

    def write(
        self, data: Dataset, before: Dataset, *, as_json: bool = False, details: Mapping[str, Any] | None = None
    ) -> None:
        """Write a dataset, and say on stdout what it is beside what it was.

        Args:
            data: what to write.
            before: what it was made of.
            as_json: print JSON in place of the line.
            details: what else the JSON should say.
        """
        with console.shown_progress():
            losses = self.put(data, self.writing.images)
        for what, ids in (
            ("image ids", before.images.ids),
            ("category ids", before.categories.ids),
            ("annotation ids", before.annotations.ids),
        ):
            if (ids == np.arange(1, len(ids) + 1)).all():
                losses.pop(what, None)  # the source had none: its reader numbered the rows, and gaps came by the edit
        lost = conversion.describe(losses, data)
        seconds = time.perf_counter() - self.started
        boxes, boxes_before = (int(each.annotations.is_box.sum()) for each in (data, before))
        labels, labels_before = (int((~each.annotations.is_box).sum()) for each in (data, before))
        if as_json:
            console.print_json(
                {
                    "target": str(self.place),
                    "format": self.format,
                    "images": len(data),
                    "boxes": boxes,
                    "image_labels": labels,
                    "categories": data.categories.names.tolist(),
                    "images_before": len(before),
                    "boxes_before": boxes_before,
                    "image_labels_before": labels_before,
                    "losses": dict(losses),
                    "lost": lost,
                    "notes": dict(self.intake.notes),
                    "retried": [asdict(each) for each in self.writing.chosen.retried],
                    "seconds": seconds,
                    **(details or {}),
                }
            )
            return
        parts = [_of(len(data), len(before), "images")]
        parts += [_of(boxes, boxes_before, "boxes")] * bool(boxes_before or not labels_before)
        parts += [_of(labels, labels_before, "image labels")] * bool(labels_before)
        parts.append(f"{len(data.categories):,} categories")
        click.echo(
            f"{self.place} ({self.format})   {'   '.join(parts)}   {seconds:.1f} s   lost: {', '.join(lost) or 'nothing'}"
        )
        tell(self.intake.notes, self.intake.skipped)
        self.writing.chosen.tell()


def _options(reading: Reading, sources: Sequence[str], spec: FormatSpec) -> dict[str, str]:
    """The options that are the writer's.

    Raises:
        ConfigError: if neither a reader nor the writer has one.
    """
    if not reading.options:
        return {}
    of_writer = options_of(spec, "write")
    known = of_writer.union(*map(reading.options_of, sources))
    for name in reading.options:
        if name not in known:
            raise ConfigError(f"unknown option {name!r}, to read or to write {spec.name}. {nearest(name, known)}")
    options = {name: value for name, value in reading.options.items() if name in of_writer}
    check_options(spec, "write", options)
    return options


def _of(now: int, before: int, what: str) -> str:
    return f"{now:,} {what}" if now == before else f"{now:,} of {before:,} {what}"


def writing_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--to`, `--images`, `--overwrite` and those of `engine_options`; it gets them as one argument `writing`."""

    @click.option("--to", metavar="FORMAT", help="The format to write; that of the source by default.")
    @click.option(
        "--images",
        type=click.Choice(conversion.PLACINGS),
        default="copy",
        show_default=True,
        help="How image files get there.",
    )
    @click.option("--overwrite", is_flag=True, help="Replace the dataset at TARGET.")
    @engine_options
    @functools.wraps(command)
    def wrapped(*arguments: Any, to: str | None, images: Placing, overwrite: bool, chosen: Chosen, **others: Any) -> R:
        return command(*arguments, writing=Writing(to, images, overwrite, chosen), **others)

    return wrapped
