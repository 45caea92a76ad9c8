"""Bring a public dataset to this machine: downloaded, checked, unpacked, and visible only when all of it is there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from augsuite.dataset.cards import Archive, Card, find_card
from augsuite.dataset.fetch_archive import unpack
from augsuite.dataset.fetch_http import download
from augsuite.dataset.files import plain
from augsuite.dataset.locate import named, user_folder
from augsuite.dataset.progress import advance
from augsuite.errors import ConfigError, DataError

RECORD = ".fetched.json"


def fetch(name: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Fetch a dataset, unless it is here already.

    A fetch that is killed or fails keeps what it has in `.<folder>.fetch` beside the folder; the next one goes on with it. Two at
    once do not collide: the second waits for the first.

    Args:
        name: of a card, as `augsuite datasets` lists them; or the path of a card, which ends in `.yaml`.
        out: the folder to make; by default one of the dataset's name in `AUGSUITE_DATA` if that can be written, else in this user's
            data folder. There it is found by name.

    Returns:
        The folder.

    Raises:
        ConfigError: if there is no such card, the folder is taken, or the place is full or cannot be written.
        DataError: if no source gives the file that the card describes, or an archive is broken or unsafe.
    """
    card = find_card(name)
    folder = plain(card.name, "dataset")
    if out is None:
        here = named().get(folder)
        if here is not None and any(here.iterdir()):
            shutil.rmtree(_work(here), ignore_errors=True)  # of a fetch that was killed when all was done
            return here
    target = Path(out).absolute() if out is not None else _home() / folder
    work = _work(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(f"{work}.lock", card):
            if not _is_here(target, card):
                _fetch(card, target, work)
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or target}: cannot be written ({error.strerror or error}). Choose another place with --out, "
            "or make room and run the same command again to go on."
        ) from error
    return target


def _work(target: Path) -> Path:
    """Where a fetch keeps what it has, until it is the target."""
    return target.parent / f".{target.name}.fetch"


@contextlib.contextmanager
def _alone(lock_file: str, card: Card) -> Iterator[None]:
    """One process at a time; says so, if it waits."""
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        advance(f"waiting for another fetch of {card.name}", 0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _is_here(target: Path, card: Card) -> bool:
    """Whether the dataset is in its folder.

    Raises:
        ConfigError: if something else is.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    try:
        record = msgspec.json.decode((target / RECORD).read_bytes(), type=dict[str, object])
    except (OSError, msgspec.DecodeError):
        record = {}
    if record.get("name") != card.name:
        raise ConfigError(f"{target}: exists already, and is not {card.name}. Choose another folder with --out.")
    return True


def _fetch(card: Card, target: Path, work: Path) -> None:
    tree = work / "tree"
    shutil.rmtree(tree, ignore_errors=True)  # of a fetch that was killed
    tree.mkdir(parents=True)
    _check_room(card, work)
    files = [work / str(number) / archive.name for number, archive in enumerate(card.archives, start=1)]
    for archive, file in zip(card.archives, files, strict=True):
        file.parent.mkdir(exist_ok=True)
        download(archive, file)
    record = []
    for archive, file in zip(card.archives, files, strict=True):
        try:
            content = _digest(unpack(file, tree, archive.take))
        except DataError:
            file.unlink()  # the next fetch begins anew
            raise
        record.append(
            {"urls": archive.urls, "bytes": file.stat().st_size, "sha256": archive.sha256, "content_sha256": content}
        )
        if not (archive.sha256 or archive.md5):
            _trust(archive, content, target.parent / f".{target.name}.first-fetch.json")
    about = {"name": card.name, "source": card.source, "licence": card.licence}
    about |= {"fetched": datetime.now(UTC).isoformat(timespec="seconds")}
    (tree / RECORD).write_bytes(
        msgspec.json.format(msgspec.json.encode(about | {"archives": record}), indent=2) + b"\n"
    )
    if target.is_dir():
        target.rmdir()  # empty, as was checked; Windows cannot rename onto it
    tree.rename(target)


def _digest(files: Mapping[str, str]) -> str:
    """One SHA-256 over the unpacked files, which a change of the archive's compression leaves as it is.

    It is what this prints in a folder with these files alone: `find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`.
    """
    lines = sorted((os.fsencode(path), digest) for path, digest in files.items())
    return hashlib.sha256(b"".join(digest.encode() + b"  " + path + b"\n" for path, digest in lines)).hexdigest()


def _trust(archive: Archive, content: str, first: Path) -> None:
    """Where nobody published a digest: record that of the first fetch, and hold the later ones to it.

    Raises:
        DataError: if the content differs from that of the first fetch.
    """
    try:
        known = msgspec.json.decode(first.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        known = {}
    except msgspec.DecodeError as error:
        raise DataError(f"{first}: cannot be read ({error}). Delete it to trust the next fetch.") from error
    url = archive.urls[0]
    if known.setdefault(url, content) != content:
        raise DataError(
            f"{url}: its content is not that of the first fetch (sha256 {known[url]} expected, got {content}). "
            f"If that is meant to be, delete {first}."
        )
    temporary = first.with_name(f"{first.name}.part")
    temporary.write_bytes(msgspec.json.encode(known))
    temporary.replace(first)


def _check_room(card: Card, work: Path) -> None:
    """Refuse at once what cannot fit: the archives, and once more as much, unpacked.

    Raises:
        ConfigError: says how much is needed and how much is free.
    """
    total = sum(archive.bytes or 0 for archive in card.archives)
    here = sum(path.stat().st_size for path in work.glob("*/*") if path.is_file())
    free = shutil.disk_usage(work).free
    if 2 * total - here > free:
        raise ConfigError(
            f"{work.parent}: {card.name} needs {(2 * total - here) / 1e6:,.0f} MB, of which {free / 1e6:,.0f} MB are free. "
            "Make room, or choose another place with --out."
        )


def _home() -> Path:
    """`AUGSUITE_DATA` if it can be written, else this user's own folder."""
    data = os.environ.get("AUGSUITE_DATA")
    if data:
        folder = Path(data).absolute()
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if existing.is_dir() and os.access(existing, os.W_OK):
            return folder
    return user_folder()
