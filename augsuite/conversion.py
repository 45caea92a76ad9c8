"""Read a dataset in any format, write it in any other, and say what was lost on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from augsuite import registry
from augsuite.config import check_options
from augsuite.dataset import Dataset, Intake, checked
from augsuite.dataset.files import with_sizes
from augsuite.dataset.locate import locate
from augsuite.dataset.losses import keep
from augsuite.dataset.output import Placing, fresh_folder, place_images
from augsuite.errors import ConfigError, DataError, nearest
from augsuite.protocols import Losses
from augsuite.spec import FormatSpec

PLACINGS: tuple[Placing, ...] = ("copy", "hardlink", "symlink", "none")


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        source_format: the format read.
        target_format: the format written.
        target: the folder written.
        images: how many images it holds.
        boxes: how many boxes.
        image_labels: how many labels of whole images.
        losses: what the target cannot hold: kind -> how many values.
        lost: the same as text, one entry for each kind.
        skipped: the invalid rows left out, one line each.
        notes: surprises that lost nothing: line -> how often.
        seconds: wall time.
    """

    source_format: str
    target_format: str
    target: Path
    images: int
    boxes: int
    image_labels: int
    losses: Losses
    lost: list[str]
    skipped: list[str]
    notes: Mapping[str, int]
    seconds: float


def detect(path: Path) -> FormatSpec:
    """Find the format of a file or folder.

    Raises:
        ConfigError: if no format fits, or two fit equally well.
    """
    formats = registry.default().formats()
    scores, broken = {}, []
    for name, spec in formats.items():
        try:
            scores[name] = registry.load(spec.detect, f"format {name}", "all")(path)
        except Exception as error:  # noqa: BLE001 - a stranger's detector costs its own format, not all the others
            broken.append(f" The format {name} could not look ({registry.one_line(error)}).")
    best = max(scores.values(), default=0.0)
    found = [name for name, score in scores.items() if score == best]
    if best <= 0:
        looked = "; ".join(f"{name}: {', '.join(spec.patterns)}" for name, spec in formats.items())
        raise ConfigError(
            f"{path}: no dataset format was recognised. Looked for {looked}.{''.join(broken)} Name the format with --from."
        )
    if len(found) > 1:
        raise ConfigError(f"{path}: could be {' or '.join(found)}. Say which with --from {found[0]}.")
    return formats[found[0]]


def read(
    path: str | os.PathLike[str],
    format: str | FormatSpec | None = None,  # noqa: A002 - the word users know; the built-in is not needed here
    skip_invalid: bool = False,
    *,
    intake: Intake | None = None,
    **options: str,
) -> Dataset:
    """Read a dataset.

    Args:
        path: a file or folder; or the name of a bundled dataset, or of a folder in `AUGSUITE_DATA`.
        format: its format, by name or declaration; detected where it is None.
        skip_invalid: leave invalid rows out instead of stopping at the first.
        intake: takes what was left out and what was surprising, for a caller who wants to show it.
        options: those of the format; `augsuite formats` lists them.

    Returns:
        The dataset, checked.

    Raises:
        DataError: if a file cannot be read or holds an invalid row.
        ConfigError: if the path, format or an option does not exist, or no format fits.
    """
    return read_as(path, format, intake or Intake(skip_invalid), options)


def read_as(
    path: str | os.PathLike[str], source_format: str | FormatSpec | None, intake: Intake, options: Mapping[str, str]
) -> Dataset:
    """As `read`, with the options as a mapping: their names may be whatever a user typed."""
    found = locate(path)
    return _read(found, _format(source_format) if source_format else detect(found), intake, options)


def _read(path: Path, spec: FormatSpec, intake: Intake, options: Mapping[str, str]) -> Dataset:
    _check_options(spec, "read", options)
    reader = registry.load(spec.read, f"format {spec.name}", "all")
    return checked(reader(path, intake, **options), str(path))


def write(
    data: Dataset,
    folder: str | os.PathLike[str],
    format: str | FormatSpec,  # noqa: A002 - as in `read`
    *,
    overwrite: bool = False,
    images: Placing = "copy",
    lossless: bool = False,
    intake: Intake | None = None,
    progress: Callable[[int], None] | None = None,
    **options: str,
) -> Losses:
    """Write a dataset, whole or not at all.

    Args:
        data: the dataset.
        folder: where; must not exist, or be empty, unless `overwrite` is set.
        format: the format to write, by name or declaration.
        overwrite: exchange an existing dataset for this one.
        images: how image files get there: `copy`, `hardlink`, `symlink` or `none`.
        lossless: write nothing if anything would be lost.
        intake: takes what was surprising; with its `skip_invalid`, broken image files are passed on as they are.
        progress: called with 1 for each image placed.
        options: those of the format.

    Returns:
        What the format could not hold.

    Raises:
        DataError: if `lossless` is set and something would be lost, an image file is broken, or the data cannot be written.
        ConfigError: if the folder exists, or the format or an option does not.
    """
    spec = _format(format)
    _check_options(spec, "write", options)
    if not spec.writable:
        able = ", ".join(name for name, other in registry.default().formats().items() if other.writable)
        raise ConfigError(f"the format {spec.name!r} can be read only. Write one of: {able}.")
    if images not in PLACINGS:
        raise ConfigError(f"unknown way to place images {images!r}. {nearest(images, PLACINGS)}")
    target, intake = Path(folder), intake or Intake()
    check_target(data, target, overwrite)
    kept, counts = keep(data, spec.keeps, placed=images != "none")
    losses = Losses(counts)
    if len(data) and not len(kept):
        said = "; ".join(describe(losses, data))
        raise DataError(
            f"{target}: the format {spec.name} can hold none of the images (lost: {said}). Choose another format."
        )
    if "sizes" in spec.keeps:
        kept = with_sizes(kept)
    with fresh_folder(target) as temporary:
        paths = _write(spec, kept, temporary, losses, options)
        losses = Losses(+losses)
        if lossless and losses:
            said = "; ".join(describe(losses, data))
            raise DataError(
                f"{target}: the format {spec.name} would lose {said}. Nothing was written; drop --lossless to accept."
            )
        missing = place_images(kept, paths, temporary, images, intake, progress)
    if missing and images != "none":
        intake.note(f"{missing:,} of {len(kept):,} images have no file; their annotations were written")
    return losses


def _write(spec: FormatSpec, data: Dataset, folder: Path, losses: Losses, options: Mapping[str, str]) -> Sequence[str]:
    """Have a format write a whole dataset."""
    if spec.write_parts is None:
        assert spec.write is not None
        return registry.load(spec.write, f"format {spec.name}", "all")(data, folder, losses, **options)
    writer = registry.load(spec.write_parts, f"format {spec.name}", "all")
    return [path for paths in writer([data], folder, losses, **options) for path in paths]


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str,
    source_format: str | None = None,
    *,
    skip_invalid: bool = False,
    overwrite: bool = False,
    images: Placing = "copy",
    lossless: bool = False,
    options: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Read a dataset and write it in another format.

    Args:
        source: see `read`.
        target: the folder to write; see `write`.
        to: the format to write.
        source_format: the format to read; detected where it is None.
        skip_invalid: see `read`.
        overwrite: see `write`.
        images: see `write`.
        lossless: see `write`.
        options: of the reader and of the writer; each gets those that it declares.
        progress: called with 1 and the number of images, for each image placed.

    Raises:
        DataError: see `read` and `write`.
        ConfigError: see `read` and `write`; also for an option that neither side has.
    """
    started = time.perf_counter()
    found = locate(source)
    reading = _format(source_format) if source_format else detect(found)
    writing = _format(to)
    given = dict(options or {})
    known = _options(reading, "read") | _options(writing, "write")
    for name in given:
        if name not in known:
            raise ConfigError(f"unknown option {name!r} for {reading.name} -> {writing.name}. {nearest(name, known)}")
    check_target(None, Path(target), overwrite, found)
    intake = Intake(skip_invalid)
    data = _read(found, reading, intake, {key: given[key] for key in given.keys() & _options(reading, "read")})
    losses = write(
        data,
        target,
        writing.name,
        overwrite=overwrite,
        images=images,
        lossless=lossless,
        intake=intake,
        progress=None if progress is None else (lambda step: progress(step, len(data))),
        **{key: given[key] for key in _options(writing, "write") & given.keys()},
    )
    return Conversion(
        source_format=reading.name,
        target_format=writing.name,
        target=Path(target),
        images=len(data) - losses["images without annotations"] - losses["images without a file"],
        boxes=int(data.annotations.is_box.sum()) - losses["boxes"],
        image_labels=int((~data.annotations.is_box).sum()) - losses["image labels"],
        losses=losses,
        lost=describe(losses, data),
        skipped=intake.skipped,
        notes=intake.notes,
        seconds=time.perf_counter() - started,
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


def _format(name: str | FormatSpec) -> FormatSpec:
    if isinstance(name, FormatSpec):
        return name
    return registry.find("format", registry.default().formats(), name)


def _options(spec: FormatSpec, use: str) -> frozenset[str]:
    return frozenset(option.name for option in spec.options if option.on in {use, "both"})


def _check_options(spec: FormatSpec, use: str, options: Mapping[str, str]) -> None:
    check_options(f"{use} {spec.name}", [option for option in spec.options if option.on in {use, "both"}], options)


def check_target(data: Dataset | None, target: Path, overwrite: bool, source: Path | None = None) -> None:
    """Refuse to destroy anything that the user did not mean: what is not a dataset, the source, or where they stand.

    Args:
        data: what is about to be written, where it is known: a folder that holds its images is refused.
        target: the folder to write; nothing is refused where it does not exist or is empty.
        overwrite: whether a dataset there may be replaced.
        source: what was read, where it is known: a folder that holds it, or that lies in it, is refused.

    Raises:
        ConfigError: if it is refused.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise ConfigError(f"{target}: exists already. Choose another folder, or pass --overwrite to replace it.")
    place = target.resolve()
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
