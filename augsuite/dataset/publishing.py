"""Writing a dataset to a remote place, so that a reader sees the old one, the new one, or one that is not whole and says so.

A server has no folders that could be renamed. So

1. a lock beside the target, `.NAME.augsuite-lock`, keeps other writers out. Whoever holds it renews it; one that nobody renewed, or whose
   owner on this machine is dead, is taken over;
2. the files are uploaded, each whole or not at all: to the target itself where nothing is there, under a mark that says that it is not
   whole; otherwise to a hidden folder beside it, so that the old dataset stays until the new one is on the server;
3. then, under that mark, the old files go and the new ones are copied, which the server does by itself;
4. the mark goes, and with it the dataset appears.

Whatever kills a writer, readers find the mark, and the next writer finds the rest and removes it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

import filelock
import msgspec

from augsuite.dataset.archives import at
from augsuite.dataset.cache_folder import user_cache
from augsuite.dataset.images import SUFFIXES
from augsuite.dataset.progress import track
from augsuite.dataset.remote import RemotePath
from augsuite.dataset.remote_files import REQUESTS
from augsuite.dataset.remote_tree import MARK, Tree, tree_of
from augsuite.dataset.stores import Store
from augsuite.dataset.urls import url_of
from augsuite.errors import ConfigError

_RENEWED_S = 60.0
_DEAD_S = 900.0  # many times the above: clocks differ, and a writer may be out of reach for minutes

T = TypeVar("T")

_uploads: dict[str, Upload] = {}


class _Lock(msgspec.Struct, frozen=True):
    """What a lock says.

    Attributes:
        token: names one run of one writer.
        machine: where it runs.
        process: its number there.
    """

    token: str
    machine: str
    process: int


class Upload:
    """Files on their way to a remote folder, several at once.

    Attributes:
        folder: the local folder of what is not uploaded yet; its files follow at the end.
    """

    def __init__(self, store: Store, prefix: str, folder: Path) -> None:
        """Begin.

        Args:
            store: the bucket or server.
            prefix: the remote folder.
            folder: see the attribute.
        """
        self.folder = folder
        self._store, self._prefix = store, prefix
        self._threads = ThreadPoolExecutor(REQUESTS, "augsuite-upload")
        self._running: set[Future[None]] = set()
        self._names: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """The files that are uploaded, or on their way, relative to the remote folder."""
        return frozenset(self._names)

    def put(self, name: str, content: Callable[[], bytes | Path]) -> None:
        """Upload one file as soon as there is room; waits while too many are on their way.

        Args:
            name: relative to the remote folder.
            content: called in another thread; gives the bytes, or a local file that has them.

        Raises:
            AugsuiteError: what went wrong with an earlier one.
        """
        self._names.add(name)
        if len(self._running) >= REQUESTS * 2:
            self._collect(FIRST_COMPLETED)
        self._running.add(self._threads.submit(self._send, f"{self._prefix}/{name}", content))

    def _send(self, path: str, content: Callable[[], bytes | Path]) -> None:
        found = content()
        if isinstance(found, bytes):
            self._store.write(path, found)
        else:
            self._store.upload(path, os.fspath(found))

    def _collect(self, until: str) -> None:
        done, self._running = wait(self._running, return_when=until)
        for future in done:
            future.result()

    def finish(self) -> None:
        """Upload what lies in the local folder, images first, and wait for all.

        Raises:
            AugsuiteError: what went wrong with the first.
        """
        names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        for group in _images_first(names):
            for name in track(group, "uploading"):
                self.put(name, functools.partial(self.folder.joinpath, name))
            self.wait()

    def wait(self) -> None:
        """Wait for all that is on its way.

        Raises:
            AugsuiteError: what went wrong with the first.
        """
        while self._running:
            self._collect(FIRST_COMPLETED)

    def stop(self) -> None:
        """Wait for what is on its way, and begin nothing any more."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def uploading(folder: Path) -> Upload | None:
    """The upload whose local folder this is."""
    return _uploads.get(os.fspath(folder))


@contextlib.contextmanager
def published(target: RemotePath, *, direct: bool = True) -> Iterator[Path]:
    """A local folder whose files are a remote folder at the end; see the module.

    Args:
        target: the folder to make; one that exists is replaced.
        direct: let image files go from their place to the target, without lying in the local folder meanwhile.

    Raises:
        ConfigError: if the place cannot be written, or another process is writing it.
    """
    url = target.url
    if url is None or "/" not in url.rest:
        raise ConfigError(f"{target}: is no folder in a bucket. Name one, such as {target}/dataset.")
    tree, path = tree_of(url)
    if not tree.store.writable:
        raise ConfigError(f"{target}: can be read only, over {url.scheme}. Write to a folder, or to such as s3://.")
    parent, _, name = path.rpartition("/")
    beside = f"{parent}/" if parent else ""
    local = Path(tempfile.mkdtemp(prefix="augsuite-"))
    try:
        with _locked(tree.store, f"{beside}.{name}.augsuite-lock", target) as check:
            yield from _publish(tree, path, f"{beside}.{name}", local, check, direct=direct)
    finally:
        _uploads.pop(os.fspath(local), None)
        shutil.rmtree(local, ignore_errors=True)
        tree.forget(path)


def _publish(
    tree: Tree, path: str, hidden: str, local: Path, check: Callable[[], None], *, direct: bool
) -> Iterator[Path]:
    store = tree.store
    old = _swept(store, path, hidden)
    stage = f"{hidden}.{secrets.token_hex(4)}.partial" if old else path
    upload = Upload(store, stage, local)
    if direct:
        _uploads[os.fspath(local)] = upload
    try:
        if not old:
            store.write(f"{path}/{MARK}", b"")
        yield local
        upload.finish()
        check()
    except BaseException:
        upload.stop()
        with contextlib.suppress(
            Exception
        ):  # the error that brought us here is the one to show; the rest is for the next writer
            _clear(store, stage, last="" if old else MARK)
        raise
    upload.stop()
    if old:
        # What goes wrong from here on leaves the mark, and with it a dataset that is not whole.
        store.write(f"{path}/{MARK}", b"")
        for names in reversed(_images_first(old)):
            _each(store.delete, [f"{path}/{name}" for name in names])
        for names in _images_first(upload.names):
            _each(lambda name: store.copy(f"{stage}/{name}", f"{path}/{name}"), names)
        check()
    store.delete(f"{path}/{MARK}")
    if old:
        _clear(store, stage)


def _swept(store: Store, path: str, hidden: str) -> frozenset[str]:
    """Remove what killed writers left; the names of the files of a whole dataset that is there."""
    parent = hidden.rpartition("/")[0]
    with contextlib.suppress(FileNotFoundError):
        for name, entry in store.beside(parent):
            token = name.removeprefix(f"{hidden}.").removesuffix(".partial")
            if entry is None and name == f"{hidden}.{token}.partial" and len(token) == 8 and token.isalnum():
                _clear(store, name)
    store.abort_uploads(path)
    first = len(path) + 1
    found = frozenset(name[first:] for name, entry in store.below(path) if entry is not None)
    if MARK in found:
        _clear(store, path, last=MARK)
        return frozenset()
    return found


def _clear(store: Store, path: str, last: str = "") -> None:
    """Delete all files below a folder."""
    store.abort_uploads(path)
    names = [name for name, entry in store.below(path) if entry is not None]
    _each(store.delete, [name for name in names if name != f"{path}/{last}"])
    if last:
        store.delete(f"{path}/{last}")


def _images_first(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Image files, and the rest: without that nothing takes them for a dataset."""
    listed = sorted(names)
    images = [name for name in listed if name.lower().endswith(SUFFIXES)]
    return images, [name for name in listed if not name.lower().endswith(SUFFIXES)]


def _each(work: Callable[[T], None], items: list[T]) -> None:
    with ThreadPoolExecutor(REQUESTS, "augsuite-publish") as threads:
        for _ in threads.map(work, items):
            pass


# One writer


@contextlib.contextmanager
def _locked(store: Store, path: str, target: RemotePath) -> Iterator[Callable[[], None]]:
    """Hold the lock; gives a function that raises if another writer has taken it."""
    folder = user_cache() / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own = filelock.FileLock(folder / f"{_digest(store.url(path))}.lock", timeout=0)
        own.acquire()
    except filelock.Timeout:
        raise _taken(target) from None
    except (OSError, NotImplementedError) as error:
        raise ConfigError(f"{folder}: cannot be written ({error}). Set XDG_CACHE_HOME to a folder that can.") from error
    said = _Lock(secrets.token_hex(8), _machine(), os.getpid())
    try:
        _take(store, path, said, target)
        ended = threading.Event()
        renewing = threading.Thread(target=_renew, args=(store, path, said, ended), daemon=True)
        renewing.start()
        try:
            yield lambda: _check_own(store, path, said, target)
        finally:
            ended.set()
            renewing.join()
            with contextlib.suppress(Exception):  # the error that ends the writing is the one to show; a lock grows old
                if _holder(store, path) == said:
                    store.delete(path)
    finally:
        own.release()


def _taken(target: RemotePath) -> ConfigError:
    return ConfigError(f"{target}: is being written by another process. Wait for it, or choose another folder.")


def _take(store: Store, path: str, said: _Lock, target: RemotePath) -> None:
    for _ in range(2):
        try:
            store.write(path, msgspec.json.encode(said), new=True)
        except FileExistsError:
            holder = _holder(store, path)
            if holder == said:  # written at a first try whose answer was lost
                return
            if holder is not None:
                # On this machine the lock file says whether its owner lives: this process holds it.
                entry = store.info(path)
                age = time.time() - entry.modified if entry is not None and entry.modified else 0.0
                if holder.machine != said.machine and age < _DEAD_S:
                    raise _taken(target) from None
            store.delete(path)
        else:
            return
    raise _taken(target)


def _holder(store: Store, path: str) -> _Lock | None:
    try:
        entry = store.info(path)
        data = b"" if entry is None else store.read(path, entry._replace(version=""), 0, entry.size or 0)
        return msgspec.json.decode(data, type=_Lock)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _check_own(store: Store, path: str, said: _Lock, target: RemotePath) -> None:
    if _holder(store, path) != said:
        raise _taken(target)


def _renew(store: Store, path: str, said: _Lock, ended: threading.Event) -> None:
    while not ended.wait(_RENEWED_S):
        with contextlib.suppress(Exception):  # out of reach for a moment; the check before the end decides
            if _holder(store, path) == said:
                store.write(path, msgspec.json.encode(said))


def _machine() -> str:
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {Path('/etc/machine-id').read_text(encoding='ascii').strip()}"
    return socket.gethostname()


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def target_of(target: Path) -> Path:
    """A folder to write, a URL as the path that it means."""
    return target if url_of(target) is None else at(target)
