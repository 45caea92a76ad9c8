"""Video files: their frames, one after another, and frames written as a video. OpenCV does both."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np

from augsuite.dataset.images import Image
from augsuite.errors import ConfigError, DataError, MissingExtraError

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")

_FPS = 25.0  # where a file does not say


@dataclass(frozen=True, slots=True)
class Video:
    """A video file that can be read.

    Attributes:
        path: the file.
        width: of a frame, in pixels.
        height: of a frame, in pixels.
        fps: frames a second.
        count: how many frames the file claims to have; 0 where it does not say.
    """

    path: Path
    width: int
    height: int
    fps: float
    count: int

    @classmethod
    def open(cls, path: Path) -> Video:
        """Read what the file says of itself.

        Raises:
            DataError: if it is missing, or no video that OpenCV can read.
            MissingExtraError: if OpenCV is not installed.
        """
        cv2 = _opencv()
        with _capture(path) as capture:
            fps, count = float(capture.get(cv2.CAP_PROP_FPS)), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            there, first = capture.read()
        if not there:
            raise DataError(f"{path}: no frame of the video can be read. Convert it to MP4 (H.264).")
        height, width = first.shape[:2]
        return cls(path, int(width), int(height), fps if np.isfinite(fps) and fps > 0 else _FPS, max(count, 0))

    def frames(self) -> Iterator[Image]:
        """The frames in order, `(H, W, 3)` uint8 RGB; they end where the file breaks off."""
        with _capture(self.path) as capture:
            while True:
                there, frame = capture.read()
                if not there:
                    return
                yield np.ascontiguousarray(frame[:, :, ::-1])


class VideoWriter:
    """Writes frames as MP4 (MPEG-4 part 2, which OpenCV can always write); the file appears when it is closed.

    A context manager; after an error nothing is left.
    """

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        """Open the file under another name.

        Raises:
            ConfigError: if it cannot be written.
            MissingExtraError: if OpenCV is not installed.
        """
        cv2 = _opencv()
        self._path = path
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
        self._writer: Any = cv2.VideoWriter(str(self._partial), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
        if not self._writer.isOpened():
            raise ConfigError(f"{path}: the video cannot be written. Choose another place.")

    def write(self, frame: Image) -> None:
        """Add a frame, `(H, W, 3)` uint8 RGB of the size that was said."""
        self._writer.write(np.ascontiguousarray(frame[:, :, ::-1]))

    def close(self) -> None:
        """Put the file in its place."""
        self._writer.release()
        self._partial.replace(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        self._writer.release()
        self._partial.unlink(missing_ok=True)


def is_video(path: Path) -> bool:
    """Whether a file is called like a video."""
    return path.suffix.lower() in SUFFIXES


@contextlib.contextmanager
def _capture(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such video file. Check the path.")
    capture = _opencv().VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DataError(f"{path}: not a video that can be read. Convert it to MP4 (H.264).")
        yield capture
    finally:
        capture.release()


def _opencv() -> ModuleType:
    try:
        import cv2
    except ModuleNotFoundError:
        raise MissingExtraError("reading videos", "augment", "cv2") from None
    module: ModuleType = cv2
    return module
