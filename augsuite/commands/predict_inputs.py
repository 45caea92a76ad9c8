"""What `augsuite predict` is asked about: a dataset, or images and videos by their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from augsuite.commands.reading import Reading
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite.dataset.archives import ArchivePath
from augsuite.dataset.files import is_image
from augsuite.dataset.images import Image, decode
from augsuite.dataset.video import Video, is_video
from augsuite.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Shot:
    """One image that is asked about.

    Attributes:
        name: how it is called in the results; a frame of a video is `clip.mp4#12`.
        source: the image or video file; none of an image inside an archive.
        row: of the dataset's images; -1 without a dataset.
        video: what the frame is of; None for an image.
    """

    name: str
    source: Path | None
    row: int = -1
    video: Video | None = None


@dataclass
class Inputs:
    """The images to ask about; iterate over `shots` once.

    Attributes:
        data: the dataset, if it is one.
        files: image and video files, with the names that they have in the results.
        skipped: what could not be read, and why; complete when `shots` is at its end.
    """

    data: Dataset | None
    files: Sequence[tuple[str, Path]] = ()
    videos: dict[Path, Video] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @property
    def total(self) -> int | None:
        """How many images and frames there are; None where a video does not say."""
        if self.data is not None:
            return len(self.data)
        counts = [self.videos[path].count if path in self.videos else 1 for _, path in self.files]
        return sum(counts) if all(counts) else None

    def shots(self) -> Iterator[tuple[Shot, Image]]:
        """Each image with its pixels; one that cannot be read is skipped, and noted.

        Raises:
            DataError: if a single file was asked about and cannot be read.
        """
        if self.data is not None:
            for row, name in enumerate(self.data.images.names):
                source = self.data.path(row) if self.data.images.files[row] else None
                shot = Shot(str(name), None if isinstance(source, ArchivePath) else source, row)
                try:
                    yield shot, self.data.sample(row).image
                except DataError as error:
                    self.skipped.append(str(error))
            return
        for name, path in self.files:
            if path in self.videos:
                video = self.videos[path]
                for number, frame in enumerate(video.frames()):
                    yield Shot(f"{name}#{number}", path, video=video), frame
                continue
            try:
                pixels = decode(path)
            except DataError as error:
                if len(self.files) == 1:
                    raise
                self.skipped.append(str(error))
                continue
            yield Shot(name, path), pixels

    def described(self, shots: Sequence[Shot], sizes: Sequence[tuple[int, int]], categories: Sequence[str]) -> Dataset:
        """A dataset of the images that were read, for the ids and names of the results.

        Args:
            shots: those that were read.
            sizes: width and height of each.
            categories: of the model.

        Returns:
            Without annotations. Of a dataset that has all categories of the model, its categories and ids; else the model's, and
            ids counted from 1.
        """
        nothing = Annotations.of([], [], np.zeros((0, 4)))
        own = Categories.of(categories)
        if self.data is None:
            images = Images.of([shot.name for shot in shots], np.array(sizes, np.int64).reshape(-1, 2))
            return Dataset(images, own, nothing, root=Path())
        images = self.data.images.take(np.array([shot.row for shot in shots], np.int64))
        if set(categories) <= {str(name) for name in self.data.categories.names}:
            own = self.data.categories
        return Dataset(images, own, nothing, root=self.data.root)


def find_inputs(paths: Sequence[str], reading: Reading, split: str | None) -> Inputs:
    """Sort out what was named on the command line.

    Args:
        paths: image files, video files, folders of them; or one dataset, by its path or name.
        reading: how a dataset is read.
        split: of the dataset.

    Raises:
        ConfigError: if a dataset is named among other things, or what is named does not exist or holds no images.
        DataError: if a dataset or a video cannot be read.
    """
    files: list[tuple[str, Path]] = []
    for text in paths:
        path = Path(text)
        if path.is_file() and (is_image(path) or is_video(path)):
            files.append((path.name, path))
            continue
        inside = _inside(path) if path.is_dir() and reading.source_format is None and not _is_dataset(path) else None
        if inside is not None:
            files += inside
            continue
        if len(paths) > 1:
            if path.suffix and not path.exists():
                raise ConfigError(f"{text}: no such file. Check its name.")
            raise ConfigError(
                f"{text}: a dataset is predicted on alone. Name it without other paths, or name image files."
            )
        data = reading(text)
        if split is not None:
            data = data.where(splits=[split])
        if not len(data):
            raise ConfigError(f"{text}: no images{f' in the split {split!r}' if split else ''}. Name another one.")
        return Inputs(data)
    if split is not None:
        raise ConfigError("--split: only a dataset has splits. Leave it out.")
    videos = {path: Video.open(path) for _, path in files if is_video(path)}
    return Inputs(None, _named_apart(files), videos)


def _is_dataset(path: Path) -> bool:
    from augsuite.detection import detect

    try:
        detect(path)
    except ConfigError:
        return False
    return True


def _inside(folder: Path) -> list[tuple[str, Path]]:
    """The images and videos in a folder and below, in order of their names.

    Raises:
        ConfigError: if there are none.
    """
    found = [
        Path(place) / name
        for place, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and (is_image(name) or is_video(Path(name)))
    ]
    if not found:
        raise ConfigError(f"{folder}: holds no images, no videos and no dataset. Name another folder.")
    return [(path.relative_to(folder).as_posix(), path) for path in sorted(found)]


def _named_apart(files: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Give files of one name, from several folders, names of their own."""
    taken: set[str] = set()
    named = []
    for name, path in files:
        new, number = name, 1
        while new in taken:
            number += 1
            new = str(Path(name).with_stem(f"{Path(name).stem}-{number}"))
        taken.add(new)
        named.append((new, path))
    return named
