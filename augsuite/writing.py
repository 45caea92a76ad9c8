"""A dataset to a folder in any format, whole or not at all."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from augsuite import registry
from augsuite.dataset import Dataset, Intake, checked, sidecars
from augsuite.dataset.fence import fenced
from augsuite.dataset.files import with_sizes
from augsuite.dataset.losses import Keeping
from augsuite.dataset.output import fresh_folder
from augsuite.dataset.parts import joined
from augsuite.dataset.placing import Placing, place_images
from augsuite.dataset.publishing import target_of
from augsuite.dataset.urls import url_of
from augsuite.detection import by_scheme, check_options, detect, find_format, place_in
from augsuite.errors import ConfigError, DataError, nearest
from augsuite.protocols import Losses
from augsuite.spec import FormatSpec

PLACINGS: tuple[Placing, ...] = ("copy", "hardlink", "symlink", "none")


@dataclass
class Written:
    """What was written.

    Attributes:
        images: how many images.
        boxes: how many boxes.
        image_labels: how many labels of whole images.
        losses: what the format could not hold.
        lost: the same as text.
    """

    images: int = 0
    boxes: int = 0
    image_labels: int = 0
    losses: Losses = field(default_factory=Losses)
    lost: list[str] = field(default_factory=list)


def write(
    data: Dataset,
    folder: str | os.PathLike[str],
    format: str | FormatSpec,  # noqa: A002 - the word users know; the built-in is not needed here
    *,
    overwrite: bool = False,
    images: Placing = "copy",
    lossless: bool = False,
    sidecar: bool = False,
    intake: Intake | None = None,
    progress: Callable[[int], None] | None = None,
    **options: str,
) -> Losses:
    """Write a dataset, whole or not at all.

    Args:
        data: the dataset.
        folder: where; must not exist, or be empty, unless `overwrite` is set. For a format with a scheme `<scheme>://<name>` or a name.
        format: the format to write, by name or declaration.
        overwrite: exchange an existing dataset for this one.
        images: how image files get there: `copy`, `hardlink`, `symlink` or `none`.
        lossless: write nothing if anything would be lost.
        sidecar: write what the format cannot hold into a file beside it, from which `read` brings it back.
        intake: takes what was surprising; with its `skip_invalid`, broken image files are passed on as they are.
        progress: called with 1 for each image placed.
        options: those of the format.

    Returns:
        What the format could not hold.

    Raises:
        DataError: if `lossless` is set and something would be lost, an image file is broken, or the data cannot be written.
        ConfigError: if the folder exists, or the format or an option does not.
    """
    spec = writable(find_format(format), images)
    check_options(spec, "write", options)
    target = target_in(spec, folder)
    intake = intake or Intake()
    writing = _Writing(target, spec, images, lossless, sidecar, intake, progress, options, overwrite)
    check_target(data, target, overwrite)
    return writing.run([data]).losses


def write_parts(
    parts: Iterable[Dataset],
    target: Path,
    spec: FormatSpec,
    images: Placing,
    lossless: bool,
    sidecar: bool,
    intake: Intake,
    progress: Callable[[int], None] | None,
    options: Mapping[str, str],
    overwrite: bool,
) -> Written:
    """Write a dataset from parts, as `augsuite.protocols.ReadParts` gives them; see `write`."""
    return _Writing(target, spec, images, lossless, sidecar, intake, progress, options, overwrite).run(parts)


def writable(spec: FormatSpec, images: str) -> FormatSpec:
    """The declaration, if its format can be written and images can be placed in this way.

    Raises:
        ConfigError: otherwise.
    """
    if not spec.writable:
        able = ", ".join(name for name, other in registry.default().formats().items() if other.writable)
        raise ConfigError(f"the format {spec.name!r} can be read only. Write one of: {able}.")
    if images not in PLACINGS:
        raise ConfigError(f"unknown way to place images {images!r}. {nearest(images, PLACINGS)}")
    return spec


def target_in(spec: FormatSpec, target: str | os.PathLike[str]) -> Path:
    """Where a format writes.

    Raises:
        ConfigError: if the place is one for another format.
    """
    if spec.scheme:
        return place_in(spec, target)
    other = by_scheme(target)
    if other is not None:
        raise ConfigError(
            f"{url_of(target)}: is a place for the format {other.name} alone. Name a folder, or write --to {other.name}."
        )
    return target_of(Path(target))


@dataclass
class _Writing:
    """One dataset on its way to a folder."""

    target: Path
    spec: FormatSpec
    images: Placing
    lossless: bool
    sidecar: bool
    intake: Intake
    progress: Callable[[int], None] | None
    options: Mapping[str, str]
    overwrite: bool
    done: Written = field(default_factory=Written)
    of_writer: Losses = field(default_factory=Losses)
    names: Dataset | None = None
    whole: tuple[Dataset, Dataset] | None = None

    def run(self, parts: Iterable[Dataset]) -> Written:
        """Write the parts.

        Raises:
            DataError: see `write`.
        """
        if self.spec.scheme:
            return self._store(parts)
        done, missing, keeping = self.done, 0, Keeping(self.spec.keeps, placed=self.images != "none")
        left: deque[Dataset] = deque()
        placed: Sequence[str] = ()
        with fresh_folder(self.target, self.spec.resumes, direct=not self.sidecar) as temporary:
            for paths in self._write(self._kept(parts, keeping, left), temporary):
                part = left.popleft()
                self._check_lossless(keeping)
                missing += place_images(part, paths, temporary, self.images, self.intake, self.progress)
                placed = paths
            self._check_lossless(keeping)
            if self.whole:
                sidecars.write(temporary, *self.whole, placed, self.spec.name, self._read_back(temporary))
        if missing and self.images != "none":
            self.intake.note(f"{missing:,} of {done.images:,} images have no file; their annotations were written")
        return done

    def _store(self, parts: Iterable[Dataset]) -> Written:
        """Write to where there are no folders."""
        keeping, left = Keeping(self.spec.keeps), deque[Dataset]()
        data = joined(self._kept(parts, keeping, left))
        self._check_lossless(keeping)
        if self.spec.store is not None:
            store = registry.load(self.spec.store, f"format {self.spec.name}", "all")
            store(data, self.target, self.of_writer, overwrite=self.overwrite, **self.options)
        self._check_lossless(keeping)
        return self.done

    def _check_lossless(self, keeping: Keeping) -> None:
        done = self.done
        total = Counter(keeping.losses())
        total.update(self.of_writer)  # counts below zero are what a writer takes back
        done.losses = Losses(+total)
        done.lost = describe(done.losses, self.names) if self.names is not None else []
        if self.lossless and done.losses:
            raise DataError(
                f"{self.target}: the format {self.spec.name} would lose {'; '.join(done.lost)}. Nothing was written; "
                "drop --lossless to accept."
            )

    def _read_back(self, folder: Path) -> Dataset:
        """What a reader makes of what was written."""
        reader = registry.load(self.spec.read, f"format {self.spec.name}", "all")
        with fenced(folder, allow_outside=True):
            return checked(reader(folder, Intake(skip_invalid=True, allow_outside=True)), str(folder))

    def _write(self, parts: Iterable[Dataset], folder: Path) -> Iterator[Sequence[str]]:
        """Have the format write; yields the places of each part's images."""
        spec, losses = self.spec, self.of_writer
        if spec.write_parts is not None:
            writer = registry.load(spec.write_parts, f"format {spec.name}", "all")
            yield from writer(parts, folder, losses, **self.options)
        elif spec.write is not None:
            whole = registry.load(spec.write, f"format {spec.name}", "all")
            yield from (whole(part, folder, losses, **self.options) for part in parts)

    def _kept(self, parts: Iterable[Dataset], keeping: Keeping, left: deque[Dataset]) -> Iterator[Dataset]:
        """What is left of each part for the writer."""
        emptied: Dataset | None = None
        given = False
        for part in parts:
            check_target(part, self.target, self.overwrite)
            self.names = _names(part, self.names)
            kept = keeping.take(sidecars.mark(part) if self.sidecar else part)
            if len(part) and not len(kept):
                emptied = part
                continue
            if self.sidecar:
                self.whole, kept = (part, kept), sidecars.unmark(kept)
            if "sizes" in self.spec.keeps:
                kept = with_sizes(kept)
            self.done.images += len(kept)
            boxes = int(kept.annotations.is_box.sum())
            self.done.boxes += boxes
            self.done.image_labels += len(kept.annotations) - boxes
            left.append(kept)
            given = True
            yield kept
        if emptied is not None and not given:
            said = "; ".join(describe(Losses(keeping.losses()), emptied))
            raise DataError(
                f"{self.target}: the format {self.spec.name} can hold none of the images (lost: {said}). Choose another format."
            )


def _names(part: Dataset, before: Dataset | None) -> Dataset:
    """A dataset without rows that has all extras seen so far: enough to word losses."""
    if before is None:
        return part
    nothing = np.zeros(0, object)
    extras = [
        {**dict.fromkeys(old, nothing), **dict.fromkeys(new, nothing)}
        for old, new in (
            (before.images.extra, part.images.extra),
            (before.annotations.extra, part.annotations.extra),
        )
    ]
    empty = part.take([])
    return replace(
        empty,
        images=replace(empty.images, extra=extras[0]),
        annotations=replace(empty.annotations, extra=extras[1]),
    )


def describe(losses: Losses, data: Dataset) -> list[str]:
    """Losses as text: `voc.pose on 4,888 boxes`, `364 image ids`; the largest first."""
    parts = (
        ("images", data.images.extra),
        ("categories", data.categories.extra),
        ("annotations", data.annotations.extra),
    )
    lines = []
    for kind, count in losses.most_common():
        named = "boxes" if data.annotations.is_box.all() else "annotations"
        part = " and ".join(named if part == "annotations" else part for part, extras in parts if kind in extras)
        lines.append(f"{kind} on {count:,} {part}" if part else kind if kind in data.extra else f"{count:,} {kind}")
    return lines


def check_target(data: Dataset | None, target: Path, overwrite: bool, source: Path | None = None) -> None:
    """Refuse to destroy anything that the user did not mean: what is not a dataset, the source, or where they stand.

    Args:
        data: what is about to be written, where it is known: a folder that holds its images is refused.
        target: the folder to write; one that does not exist or is empty is only refused within the source.
        overwrite: whether a dataset there may be replaced.
        source: what was read, where it is known: a folder that holds it is refused, and so is one that lies in it, even a new one,
            which would be read as a part of it the next time.

    Raises:
        ConfigError: if it is refused.
    """
    spec = by_scheme(target)
    if spec is not None:
        if not overwrite and registry.load(spec.detect, f"format {spec.name}", "all")(target):
            raise ConfigError(
                f"{url_of(target)}: exists already. Choose another name, or pass --overwrite to replace it."
            )
        return
    if source is not None and by_scheme(source):
        source = None
    target = target_of(target)
    place = target.resolve()
    new = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not new and not overwrite:
        raise ConfigError(f"{target}: exists already. Choose another folder, or pass --overwrite to replace it.")
    if new:
        if source is not None and source.is_dir() and source.resolve() in place.parents:
            raise ConfigError(f"{target}: would become part of the dataset that is being read. Choose another folder.")
        return
    if not target.is_dir() or place in (Path.cwd(), *Path.cwd().parents) or place == Path.home():
        raise ConfigError(f"{target}: will not be replaced by a dataset. Choose another folder.")
    if data is not None and any(folder.is_relative_to(place) for folder in _image_folders(data)):
        raise ConfigError(f"{target}: holds the images that are being read. Choose another folder.")
    if source is not None and (source.resolve().is_relative_to(place) or place.is_relative_to(source.resolve())):
        raise ConfigError(f"{target}: is part of the dataset that is being read, or holds it. Choose another folder.")
    try:
        detect(target)
    except ConfigError as error:
        if "could be" not in str(error):
            raise ConfigError(
                f"{target}: holds something that is no dataset. Remove it yourself, or choose another."
            ) from error


def _image_folders(data: Dataset) -> set[Path]:
    """The folders that hold a dataset's image files, links followed."""
    names = {os.path.dirname(name) for name in data.images.files if name}  # noqa: PTH120 - 100,000 Paths would be slow
    return {(data.root / name).resolve() for name in names}
