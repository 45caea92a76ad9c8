"""Where shards lie, which split each holds, and how sure we are that they are samples with annotations."""

from __future__ import annotations

import contextlib
import re
from itertools import islice
from pathlib import Path, PurePosixPath

import msgspec

from augsuite.dataset.files import as_file, entries, folders
from augsuite.dataset.images import SUFFIXES
from augsuite.errors import DataError
from augsuite_webdataset.sample import HEAD
from augsuite_webdataset.tar import members

_ENDINGS = (".tar", ".tar.gz", ".tgz")
_SHARD = re.compile(r"(.+?)[-_.]?\d+")
_SPLITS = ("train", "validation", "valid", "val", "test")
_PEEK = 6  # members


def detect(path: Path) -> float:
    """How sure a path holds shards of annotated samples."""
    try:
        shards = find_shards(path)
        if not shards:
            return 0.0
        if path.is_dir() and (path / HEAD).is_file() and as_file(path) is None:
            return 0.95
        return _score(shards[0])
    except (DataError, OSError):
        return 0.0


def _score(shard: Path) -> float:
    """By the first members: an image and a file with its annotations under one key."""
    image = said = 0.0
    with contextlib.suppress(DataError):  # of a damaged shard what comes before the damage tells
        for member in islice(members(shard), _PEEK):
            _, suffix = parse(member.name)
            if suffix in SUFFIXES:
                image = 1.0
            elif suffix == ".cls":
                said = 0.6
            elif suffix == ".json":
                try:
                    keys = msgspec.json.decode(member.content.read(member.size), type=dict[str, msgspec.Raw])
                except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                    continue
                said = 0.97 if "objects" in keys else said
    return min(image, said) or (0.6 if said > 0.8 else 0.0)


def find_shards(path: Path) -> list[Path]:
    """The shard itself, or the shards of a folder or of the folders in it (one per split)."""
    file = as_file(path)
    if file is not None:
        return [file] if path.name.lower().endswith(_ENDINGS) else []
    if not path.is_dir():
        return []
    return _own(path) or [shard for folder in folders(path) for shard in _own(folder)]


def _own(folder: Path) -> list[Path]:
    return [entry for entry in entries(folder, _ENDINGS) if as_file(entry) is not None]


def parse(name: str) -> tuple[str, str]:
    """Key and suffix of a member: the key ends at the first point of the file's name, as the library `webdataset` has it."""
    folder, slash, base = name.rpartition("/")
    stem, point, suffix = base.partition(".")
    return f"{folder}{slash}{stem}", f"{point}{suffix}".lower()


def split_of(shard: Path, *, several: bool) -> str:
    """The split that a shard's name says, else its folder's, where there are several."""
    stem = PurePosixPath(shard.name.lower()).name.partition(".")[0]
    found = _SHARD.fullmatch(stem)
    name = (found.group(1) if found else stem).strip("-_")
    if name in _SPLITS:
        return name
    return shard.parent.name if several or shard.parent.name in _SPLITS else ""
