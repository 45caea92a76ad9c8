"""Image files: their size from the header, and their pixels.

OpenCV decodes where it is installed (it can decode a JPEG at half, quarter or eighth size), Pillow otherwise and wherever
OpenCV gives up. Both give the upright image: EXIF orientation is applied to pixels and sizes alike.
"""

from __future__ import annotations

import functools
import io
import os
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from augsuite.dataset import jpeg
from augsuite.dataset.archives import at
from augsuite.errors import ConfigError, DataError

Image = NDArray[np.uint8]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_TURNED = range(5, 9)  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112
_TIFF_SIZE = (256, 257)
_END_MARKERS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}
_TAIL_BYTES = 1024  # some programs put bytes of their own after the marker


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright image, from the file's header alone.

    Raises:
        DataError: if the file is missing, is no image, or claims more pixels than Pillow's limit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            with (
                at(path).open("rb") as file,
                PIL.Image.open(file) as image,
            ):  # Pillow itself opens no member of an archive
                return upright_size(image)
        except Exception as error:
            raise _unreadable(path, error) from error


def upright_size(image: PIL.Image.Image) -> tuple[int, int]:
    """Width and height as an image is shown, of one that was opened and not loaded yet."""
    # Newer versions of Pillow turn the size of a TIFF themselves, so what its header says is asked.
    tags = getattr(image, "tag_v2", {})
    width, height = (int(tags.get(tag, side)) for tag, side in zip(_TIFF_SIZE, image.size, strict=True))
    return (height, width) if image.getexif().get(_ORIENTATION) in _TURNED else (width, height)


def decode(path: Path, reduce: int = 1, rows: tuple[int, int] | None = None) -> Image:
    """Read the pixels of an image file.

    Args:
        path: the file.
        reduce: 1, 2, 4 or 8: a JPEG is decoded at that fraction of its size, each pixel the mean of a block of `reduce` x
            `reduce` counted from the top left, so that a cut block stands at the right and bottom; other files at full size,
            and so a JPEG that EXIF turns or mirrors, and whose sides are no multiples: its cut blocks would stand elsewhere.
        rows: how many rows of the upright, full-size image are needed, from the top, and how many it has: where that is cheaper, the
            lower ones are left out, and damage to them goes unnoticed. A file that has another number, or breaks off, is decoded
            whole.

    Returns:
        `(H, W, 3)` uint8 RGB, upright. Grey is repeated, alpha is dropped, palette is resolved, 16 bits keep the upper 8.

    Raises:
        DataError: if the file is missing, truncated, no image, or larger than Pillow's limit.
    """
    try:
        data = at(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    header = jpeg.read_header(data)
    limit = PIL.Image.MAX_IMAGE_PIXELS
    if header is None or not header.orientation or (limit and header.width * header.height > limit):
        reduce = _check_header(data, reduce, path)
    elif header.orientation != 1:
        reduce = reduce if header.width % reduce == header.height % reduce == 0 else 1
    elif rows is not None and rows[1] == header.height:
        data = jpeg.upper(data, header, rows[0])
    opencv = _opencv()
    if opencv is not None:
        pixels = _decode_opencv(opencv, data, reduce)
        if pixels is not None:
            return pixels
    return _decode_pillow(data, reduce, path)


def check_readable(path: Path) -> None:
    """Stop at an image file that is broken, without decoding those that are sound.

    The header must be readable. A JPEG or PNG must have its end marker, too; one that has none near its end is decoded to know.

    Raises:
        DataError: as `decode` does.
    """
    read_size(path)
    with at(path).open("rb") as file:
        marker = _END_MARKERS.get(file.read(2))
        if marker is None:
            return
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
        ends = marker in file.read()
    if not ends:
        decode(path)


def decoder() -> str:
    """What decodes, with its version: the same files give the same pixels for the same decoder."""
    opencv = _opencv()
    return "pillow" if opencv is None else f"opencv {opencv.__version__}"


@functools.cache
def _opencv() -> ModuleType | None:
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def _decode_opencv(opencv: ModuleType, data: bytes, reduce: int) -> Image | None:
    """The pixels, or None where OpenCV cannot read the file and Pillow should say why."""
    reduced = {1: 0, 2: opencv.IMREAD_REDUCED_GRAYSCALE_2, 4: opencv.IMREAD_REDUCED_GRAYSCALE_4}
    flag = reduced.get(reduce, opencv.IMREAD_REDUCED_GRAYSCALE_8) | opencv.IMREAD_COLOR_RGB
    try:
        pixels = opencv.imdecode(np.frombuffer(data, np.uint8), flag)
    except opencv.error:
        return None
    result: Image | None = pixels
    return result


def _decode_pillow(data: bytes, reduce: int, path: Path) -> Image:
    try:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            if reduce > 1:
                opened.draft("RGB", (max(opened.width // reduce, 1), max(opened.height // reduce, 1)))
            upright = PIL.ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):
                grey = np.asarray(upright).astype(np.int64)
                return np.repeat(
                    (grey >> 8 if grey.max(initial=0) > 255 else grey).astype(np.uint8)[..., None], 3, axis=2
                )
            return np.array(upright.convert("RGB"))
    except Exception as error:
        raise _unreadable(path, error) from error


def _check_header(data: bytes, reduce: int, path: Path) -> int:
    """Stop before an image that claims more pixels than Pillow's limit takes the memory for them.

    Returns:
        `reduce`, or 1 where the file must be decoded at full size.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            with PIL.Image.open(io.BytesIO(data)) as image:
                if reduce == 1 or not _is_jpeg(data):
                    return 1
                whole = not any(side % reduce for side in image.size)
                return reduce if whole or image.getexif().get(_ORIENTATION, 1) == 1 else 1
        except Exception as error:
            raise _unreadable(path, error) from error


def _is_jpeg(data: bytes) -> bool:
    return data[:3] == b"\xff\xd8\xff"


def _unreadable(path: Path, error: Exception) -> DataError:
    """One line that says which file, what is wrong with it, and what to do; a place that cannot be reached is not the image's fault."""
    if isinstance(error, ConfigError):
        raise error
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such image file. Put it there, or remove its entry from the annotations.")
    if isinstance(error, PIL.Image.DecompressionBombWarning | PIL.Image.DecompressionBombError):
        limit = PIL.Image.MAX_IMAGE_PIXELS
        return DataError(
            f"{path}: larger than the limit of {limit:,} pixels. Cut it up with augsuite tile --max-pixels N, or scale it down first."
        )
    if isinstance(error, PIL.UnidentifiedImageError):
        return DataError(f"{path}: not an image that can be read. Replace the file, or remove its entry.")
    said = str(error).strip().splitlines()
    reason = said[0] if said else type(error).__name__
    return DataError(f"{path}: the image cannot be read ({reason}). Replace the file, or remove its entry.")
