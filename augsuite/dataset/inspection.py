"""What an image file is: sound or damaged, of which size, and what it shows, in 255 bits.

Each file is read once. A JPEG is decoded at a fraction of its size, which still reads every bit of it; so this costs less than a full
decode, and misses no damage that a full decode would find. libjpeg repairs what it can and only prints a warning; the warnings are
caught where OpenCV is installed (Pillow throws them away).
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import io
import os
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from augsuite.dataset import parallel, progress
from augsuite.dataset.archives import at
from augsuite.dataset.images import upright_size
from augsuite.dataset.tables import Dataset, Strings

WORDS = 4
"""uint64 in a hash."""

_CHUNK = 64  # images in one piece of work
_SIDE = 32  # of the thumbnail that is hashed
_LOW = 16  # frequencies of it that are kept, in each direction
_LEAST_SIDE = 2 * _SIDE  # a JPEG is decoded at the smallest scale that leaves this many pixels
_FLAT = 2.0  # grey levels: a thumbnail that varies less shows nothing to compare
_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"

Grey = NDArray[np.uint8]


class Condition(enum.IntEnum):
    """How an image file is."""

    SOUND = 0
    DOUBTFUL = 1
    """It has bytes that belong to nothing; some cameras and programs leave such, and so does damage."""
    DAMAGED = 2
    """It decodes, but a part of the picture is not what was stored."""
    UNREADABLE = 3
    MISSING = 4


@dataclass(frozen=True)
class Inspection:
    """The image files of a dataset, one row per image.

    Attributes:
        conditions: `(I,)` uint8, a `Condition`.
        problems: `(I,)` what is wrong with the file; "" where nothing is.
        sizes: `(I, 2)` int64 width and height of the upright image; 0 where it cannot be read.
        orientations: `(I,)` uint8 as EXIF says it: 1 is upright, 5 to 8 swap width and height.
        contents: `(I, 2)` uint64 fingerprint of the file's bytes; 0 where it is missing.
        hashes: `(I, 4)` uint64 perceptual hash; see `perceptual_hash`.
        comparable: `(I,)` whether the hash says anything: the image can be read, and is not of one colour.
    """

    conditions: NDArray[np.uint8]
    problems: Strings
    sizes: NDArray[np.int64]
    orientations: NDArray[np.uint8]
    contents: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    comparable: NDArray[np.bool_]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """`(I,)` whether the pixels can be had, perhaps with damage."""
        return np.asarray(self.conditions <= Condition.DAMAGED)


def inspect(data: Dataset) -> Inspection:
    """Open every image file of a dataset.

    On several cores where `augsuite.dataset.parallel.using` allows it; the result is the same.
    """
    names = data.images.files.tolist()
    root = os.fspath(data.root)
    paths = [os.path.join(root, name) if name else "" for name in names]  # noqa: PTH118 - Paths would take seconds
    chunks = [paths[at : at + _CHUNK] for at in range(0, len(paths), _CHUNK)]
    parts = []
    progress.advance("looking at images", 0, len(paths))
    for chunk, part in zip(chunks, parallel.mapped(inspect_files, chunks), strict=True):
        parts.append(part)
        progress.advance("looking at images", len(chunk), len(paths))
    parts = parts or [inspect_files([])]
    columns = Inspection.__dataclass_fields__
    return Inspection(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def inspect_files(paths: list[str]) -> Inspection:
    """Open some image files; "" stands for one that is missing."""
    count = len(paths)
    found = Inspection(
        conditions=np.zeros(count, np.uint8),
        problems=np.full(count, "", object),
        sizes=np.zeros((count, 2), np.int64),
        orientations=np.ones(count, np.uint8),
        contents=np.zeros((count, 2), np.uint64),
        hashes=np.zeros((count, WORDS), np.uint64),
        comparable=np.zeros(count, bool),
    )
    thumbnails = np.zeros((count, _SIDE, _SIDE), np.uint8)
    with tempfile.TemporaryFile() as said:
        for row, path in enumerate(paths):
            try:
                data = _read(path)
            except OSError as error:
                missing = isinstance(error, FileNotFoundError)
                found.conditions[row] = Condition.MISSING if missing else Condition.UNREADABLE
                found.problems[row] = "there is no such file" if missing else f"cannot be read ({error.strerror})"
                continue
            found.contents[row] = np.frombuffer(hashlib.blake2b(data, digest_size=16).digest(), np.uint64)
            try:
                grey, size, orientation, problem = _open(data, said)
            except Exception as error:  # noqa: BLE001 - decoders raise anything, and all of it means the same
                found.conditions[row] = Condition.UNREADABLE
                found.problems[row] = _said(error)
                continue
            found.sizes[row] = size
            found.orientations[row] = orientation
            found.problems[row] = problem
            if problem:
                doubtful = "extraneous bytes" in problem
                found.conditions[row] = Condition.DOUBTFUL if doubtful else Condition.DAMAGED
            thumbnails[row] = np.asarray(PIL.Image.fromarray(grey).resize((_SIDE, _SIDE), PIL.Image.Resampling.BOX))
    found.hashes[:] = perceptual_hash(thumbnails)
    found.comparable[:] = thumbnails.std(axis=(1, 2)) > _FLAT
    return found


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as above
            return file.read()
    except OSError:
        if not path:
            raise
        return at(Path(path)).read_bytes()  # in an archive, or it fails again and says why


def perceptual_hash(thumbnails: Grey) -> NDArray[np.uint64]:
    """Hash grey thumbnails so that pictures that look alike have hashes of few different bits.

    Compression, a change of size and a change of brightness move few bits: on photographs up to 18 of 255, and unrelated photographs
    differ in 90 and more.

    Args:
        thumbnails: `(N, 32, 32)` uint8.

    Returns:
        `(N, 4)` uint64: 255 bits, whether each of the 16 x 16 lowest frequencies, without the mean, is above their median.

    Source: Zauner 2010, Implementation and benchmarking of perceptual image hash functions, section 3.2.1, with 16 x 16
    frequencies instead of 8 x 8.
    """
    basis = _cosines()
    spectrum = basis @ thumbnails.astype(np.float64) @ basis.T
    values = spectrum.reshape(-1, _LOW * _LOW)[:, 1:]
    bits = np.zeros((len(values), _LOW * _LOW), bool)
    if len(values):
        bits[:, 1:] = values > np.median(values, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)


@functools.cache
def _cosines() -> NDArray[np.float64]:
    """`(16, 32)`: the lowest rows of the discrete cosine transform (type II, not scaled)."""
    frequency, place = np.arange(_LOW)[:, None], np.arange(_SIDE)[None]
    return np.asarray(np.cos(np.pi * (2 * place + 1) * frequency / (2 * _SIDE)))


def _open(data: bytes, said: IO[bytes]) -> tuple[Grey, tuple[int, int], int, str]:
    """Decode an image: upright grey pixels (perhaps at a smaller scale), its size, its orientation, and what the decoder warned of.

    Raises:
        Exception: of any kind, where it cannot be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of metadata; what concerns pixels raises
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        with PIL.Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            orientation = image.getexif().get(_ORIENTATION, 1)
            orientation = orientation if orientation in _UPRIGHT else 1
            size = upright_size(image)
            grey, problem, turn = None, "", orientation
            opencv = _opencv()
            if data[:3] == b"\xff\xd8\xff":
                scale = next((by for by in (8, 4, 2) if min(size) // by >= _LEAST_SIDE), 1)
                if opencv is not None:
                    grey, problem = _decode_jpeg(opencv, data, scale, said)
                if grey is None and scale > 1:
                    image.draft("L", (max(width // scale, 1), max(height // scale, 1)))
            elif data.startswith(_PNG):
                problem = _png_problem(data)
            if grey is None:
                grey = _grey(image)
                # Loading turns a TIFF, and takes its orientation away.
                turn = image.getexif().get(_ORIENTATION, 1)
    return np.ascontiguousarray(_UPRIGHT[turn if turn in _UPRIGHT else 1](grey)), size, orientation, problem


_UPRIGHT: dict[int, Any] = {
    1: lambda grey: grey,
    2: lambda grey: grey[:, ::-1],
    3: lambda grey: grey[::-1, ::-1],
    4: lambda grey: grey[::-1],
    5: lambda grey: grey.T,
    6: lambda grey: grey[::-1].T,
    7: lambda grey: grey[::-1, ::-1].T,
    8: lambda grey: grey.T[::-1],
}
"""How each EXIF orientation is undone. Source: EXIF 2.32, 4.6.4, tag 0x0112."""


def _grey(image: PIL.Image.Image) -> Grey:
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        return np.asarray((deep >> 8 if deep.max(initial=0) > 255 else deep).clip(0, 255), np.uint8)
    return np.asarray(image.convert("L"))


@functools.cache
def _opencv() -> ModuleType | None:
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def sees_damage() -> bool:
    """Whether damage that libjpeg repairs is seen: that takes OpenCV."""
    return _opencv() is not None


def _decode_jpeg(opencv: ModuleType, data: bytes, scale: int, said: IO[bytes]) -> tuple[Grey | None, str]:
    """Grey pixels as they are stored, or None; and libjpeg's first warning."""
    flags = {
        1: opencv.IMREAD_GRAYSCALE,
        2: opencv.IMREAD_REDUCED_GRAYSCALE_2,
        4: opencv.IMREAD_REDUCED_GRAYSCALE_4,
        8: opencv.IMREAD_REDUCED_GRAYSCALE_8,
    }
    with _stderr_into(said):
        try:
            grey = opencv.imdecode(np.frombuffer(data, np.uint8), flags[scale] | opencv.IMREAD_IGNORE_ORIENTATION)
        except opencv.error:
            grey = None
    if not said.seek(0, os.SEEK_END):
        return grey, ""
    said.seek(0)
    lines = said.read().splitlines(keepends=True)
    said.seek(0)
    said.truncate()
    own = [line for line in lines if line.startswith((b"Corrupt JPEG", b"Premature end of JPEG"))]
    others = b"".join(line for line in lines if line not in own)
    if others:  # somebody else's, such as a progress bar's in another thread
        os.write(2, others)
    return grey, own[0].decode(errors="replace").strip() if own else ""


@contextlib.contextmanager
def _stderr_into(file: IO[bytes]) -> Iterator[None]:
    """Send what C libraries print on stderr into a file; it is the only way in which libjpeg says what it repaired."""
    try:
        kept = os.dup(2)
    except OSError:  # a process without stderr
        yield
        return
    try:
        os.dup2(file.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _png_problem(data: bytes) -> str:
    """What is wrong with the checksums of a PNG's chunks; decoders do not compare those of the pixels.

    Source: PNG specification, third edition, 5.3.
    """
    at = len(_PNG)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if zlib.crc32(data[at + 4 : end]).to_bytes(4, "big") != data[end : end + 4]:
            kind = data[at + 4 : at + 8].decode("latin1")
            return f"the checksum of the chunk {kind!r} at byte {at} does not fit"
        if data[at + 4 : at + 8] == b"IEND":
            return ""
        at = end + 4
    return "the file ends before its end marker"


def _said(error: Exception) -> str:
    if isinstance(error, PIL.Image.DecompressionBombWarning | PIL.Image.DecompressionBombError):
        return f"larger than the limit of {PIL.Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, PIL.UnidentifiedImageError):
        return "not an image that can be read"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
