"""One shard: what it is to hold, and its file, written whole or found whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from augsuite.dataset.images import check_readable
from augsuite.errors import ConfigError, DataError
from augsuite_webdataset.sample import Entry
from augsuite_webdataset.tar import BLOCK

FINISHED = "finished"
"""A folder with a file for each shard that is whole, while others are still being written; see `FormatSpec.resumes`."""

_CHUNK = 1 << 20
_END = bytes(2 * BLOCK)


class Finished(msgspec.Struct, frozen=True):
    """A shard that is whole, and the fingerprint of what it was to hold (`Shard.question`)."""

    entry: Entry
    question: str


@dataclass
class Shard:
    """What a shard is to hold; it travels to whoever writes it.

    Attributes:
        folder: where.
        name: of its file.
        first: the number of its first sample within its split.
        said: the JSON of each sample.
        images: the image file of each sample, with its size in bytes and its time of change; None where there is none.
        suffixes: what each image's name in the shard ends with.
        known: what an earlier writer left under this name, if it had the same to hold.
    """

    folder: Path
    name: str
    first: int
    said: list[bytes] = field(default_factory=list)
    images: list[tuple[Path, int, int] | None] = field(default_factory=list)
    suffixes: list[str] = field(default_factory=list)
    known: Finished | None = None

    def question(self) -> str:
        """A fingerprint of all that the shard's bytes depend on; of the images their paths, sizes and times."""
        total = hashlib.blake2b(digest_size=16)
        total.update(msgspec.json.encode([self.first, len(self.said)]))
        for said, image, suffix in zip(self.said, self.images, self.suffixes, strict=True):
            file = None if image is None else (os.fspath(image[0]), *image[1:])
            total.update(msgspec.json.encode([len(said), file, suffix]))
            total.update(said)
        return total.hexdigest()


def write_shard(shard: Shard) -> Finished:
    """Write a shard, unless it is there already with the right bytes.

    Raises:
        DataError: if an image is broken or gone.
        ConfigError: if the shard cannot be written, such as on a full disk; no part of it is left.
    """
    path = shard.folder / shard.name
    if shard.known is not None and is_whole(path, shard.known.entry):
        return shard.known
    digest = hashlib.blake2b(digest_size=16)
    partial = path.with_name(
        f".{shard.name}.{secrets.token_hex(4)}"
    )  # work that was lost and begun again may still go on somewhere
    try:
        with partial.open("wb", buffering=_CHUNK) as out:
            for number, said in enumerate(shard.said):
                key = f"{shard.first + number:09d}"
                image = shard.images[number]
                members = [] if image is None else [(key + shard.suffixes[number], _content(image[0]))]
                for name, content in (*members, (f"{key}.json", said)):
                    for part in (_header(name, len(content)), content, bytes(-len(content) % BLOCK)):
                        out.write(part)
                        digest.update(part)
            out.write(_END)
            digest.update(_END)
        partial.replace(path)
        done = Finished(Entry(shard.name, len(shard.said), path.stat().st_size, digest.hexdigest()), shard.question())
        _remember(shard.folder, done)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}). Make space there, or choose another place."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return done


def is_whole(path: Path, entry: Entry) -> bool:
    """Whether a file has the size and the bytes that were written."""
    try:
        if path.stat().st_size != entry.bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest() == entry.blake2b
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


def _remember(folder: Path, done: Finished) -> None:
    """Say that a shard is whole. Not in one file for all: they may be written by several machines at once."""
    (folder / FINISHED).mkdir(exist_ok=True)
    file = folder / FINISHED / f"{done.entry.name}.json"
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    partial.write_bytes(msgspec.json.encode(done))
    partial.replace(file)


def _content(image: Path) -> bytes:
    try:
        content = image.read_bytes()
    except OSError as error:
        raise DataError(f"{image}: cannot be read ({error.strerror}). Put the image there.") from error
    check_readable(image)
    return content


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)
