"""Output that is written in shards, and goes on where an earlier writer was killed: which of them are whole, and still what is wanted."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from augsuite.dataset.images import check_readable
from augsuite.dataset.parallel import mapped
from augsuite.dataset.progress import advance
from augsuite.errors import ConfigError, DataError

Shard = TypeVar("Shard")

FINISHED = "finished"
"""A folder with a file for each shard that is whole, while others are still being written; see `FormatSpec.resumes`."""


class Entry(msgspec.Struct, frozen=True):
    """A shard that is whole.

    Attributes:
        name: of its file, from the output's folder.
        samples: how many it holds.
        bytes: its size.
        blake2b: of its bytes, 16 bytes in hexadecimal digits.
    """

    name: str
    samples: int
    bytes: int
    blake2b: str


class Finished(msgspec.Struct, frozen=True):
    """A shard that is whole, and a fingerprint of all that its bytes depend on."""

    entry: Entry
    question: str


def write_all(
    folder: Path, write: Callable[[Shard], Finished], shards: Iterable[Shard], taken: deque[int]
) -> Generator[list[str], None, list[Entry]]:
    """Write shards wherever work is done; at the end the output holds their files alone.

    Args:
        folder: of the output.
        write: writes one, by `write_once`; picklable.
        shards: in order, made while others are being written.
        taken: the lengths of the parts that `shards` has used up since somebody looked; emptied here.

    Yields:
        For each part that was used up an empty name for each of its images, as `augsuite.protocols.WriteParts` has it: none is
        left to be placed.

    Returns:
        What was written, in order.
    """
    entries: list[Entry] = []
    for done in mapped(write, shards):
        entries.append(done.entry)
        advance("writing", done.entry.samples)
        while taken:
            yield [""] * taken.popleft()
    while taken:
        yield [""] * taken.popleft()
    forget(folder, {entry.name for entry in entries})
    return entries


def image_content(image: Path) -> bytes:
    """The bytes of an image file, looked at.

    Raises:
        DataError: if it is broken or gone.
    """
    try:
        content = image.read_bytes()
    except OSError as error:
        raise DataError(f"{image}: cannot be read ({error.strerror}). Put the image there.") from error
    check_readable(image)
    return content


def write_once(
    folder: Path, name: str, samples: int, question: str, known: Finished | None, write: Callable[[Path], None]
) -> Finished:
    """Write one shard, unless it is there already.

    It is written beside its place and moved there, so that work that was lost and begun again may still go on somewhere.

    Args:
        folder: of the output.
        name: of the shard's file.
        samples: how many it holds.
        question: see `Finished`.
        known: what an earlier writer left under this name.
        write: writes the file.

    Raises:
        ConfigError: if it cannot be written, such as on a full disk; no part of it is left.
    """
    path = folder / name
    if known is not None and known.question == question and is_whole(path, known.entry):
        return known
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        write(partial)
        done = Finished(Entry(name, samples, partial.stat().st_size, _digest(partial)), question)
        partial.replace(path)
        _remember(folder, done)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror or error}). Make space there, or choose another place."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return done


def is_whole(path: Path, entry: Entry) -> bool:
    """Whether a file has the size and the bytes that were written."""
    try:
        return path.stat().st_size == entry.bytes and _digest(path) == entry.blake2b
    except OSError:
        return False


def read_finished(folder: Path) -> dict[str, Finished]:
    """The shards that an earlier writer finished, by name; a file that is damaged says nothing."""
    found: dict[str, Finished] = {}
    for file in (folder / FINISHED).glob("*.json"):
        with contextlib.suppress(msgspec.DecodeError, OSError):
            one = msgspec.json.decode(file.read_bytes(), type=Finished)
            found[one.entry.name] = one
    return found


def forget(folder: Path, keep: Collection[str]) -> None:
    """Remove from an output what an earlier writer left, but for the files of these names: it is whole now."""
    shutil.rmtree(folder / FINISHED, ignore_errors=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in keep:
            path.unlink()


def _remember(folder: Path, done: Finished) -> None:
    """Say that a shard is whole. Not in one file for all: several machines may be writing."""
    (folder / FINISHED).mkdir(exist_ok=True)
    file = folder / FINISHED / f"{done.entry.name.replace('/', '--')}.json"
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    partial.write_bytes(msgspec.json.encode(done))
    partial.replace(file)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
