"""One shard: what it is to hold, and its file."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from augsuite.dataset.resuming import Finished, image_content, write_once
from augsuite_webdataset.tar import BLOCK

_BUFFER = 1 << 20
END = bytes(2 * BLOCK)


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
        known: what an earlier writer left under this name.
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

    def write(self, path: Path) -> None:
        """Write the file.

        Raises:
            DataError: if an image is broken or gone.
            OSError: if it cannot be written.
        """
        with path.open("wb", buffering=_BUFFER) as out:
            for number, said in enumerate(self.said):
                key = f"{self.first + number:09d}"
                image = self.images[number]
                members = [] if image is None else [(key + self.suffixes[number], image_content(image[0]))]
                for name, content in (*members, (f"{key}.json", said)):
                    out.write(_header(name, len(content)))
                    out.write(content)
                    out.write(bytes(-len(content) % BLOCK))
            out.write(END)


def write_shard(shard: Shard) -> Finished:
    """Write a shard, unless it is there already with the right bytes.

    Raises:
        DataError: if an image is broken or gone.
        ConfigError: if the shard cannot be written.
    """
    return write_once(shard.folder, shard.name, len(shard.said), shard.question(), shard.known, shard.write)


def room(size: int) -> int:
    """What a file of so many bytes takes in a shard, with its header, in bytes."""
    return BLOCK + -(-size // BLOCK) * BLOCK


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)
