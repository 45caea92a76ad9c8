"""Writing a folder so that a kill leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

from augsuite.dataset.placing import Placing, place_images
from augsuite.dataset.publishing import published, target_of
from augsuite.dataset.remote import RemotePath
from augsuite.errors import AugsuiteError, ConfigError, DataError

__all__ = ["Placing", "fresh_folder", "place_images", "scratch_folder"]

_LONGEST = 200  # bytes of a name, which has 255 in most file systems, less what is put around it


@contextlib.contextmanager
def fresh_folder(target: Path, resumes: str = "", *, direct: bool = True) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place at the end, and vanishes on an error.

    What an earlier run for the same target left behind, because it was killed, is removed first.

    Args:
        target: the folder to make; one that exists is exchanged in one step (where the system can) and then deleted. A URL is published
            as `augsuite.dataset.publishing` says.
        resumes: the name of a file or folder by which whoever writes knows what is finished. A temporary folder that has it is not
            removed, neither on an error nor when left behind: the next run for the same target is given it, and must look for itself
            what of it still fits.
        direct: let image files that `place_images` places go straight to a URL, so that they never lie in the temporary folder.

    Raises:
        ConfigError: if the place cannot be written, or another process is writing it.
    """
    target = target_of(target)
    if isinstance(target, RemotePath):
        with published(target, direct=direct) as temporary:
            yield temporary
        return
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(target.parent, error) from error
    stem = os.fsdecode(os.fsencode(target.name)[:_LONGEST])
    with _alone(target, stem) as alone:
        left = _sweep(target.parent, stem, resumes) if alone else None
        temporary = left or target.with_name(f".{stem}.{secrets.token_hex(4)}.partial")
        try:
            temporary.mkdir(exist_ok=left is not None)
        except OSError as error:
            raise _unwritable(target.parent, error) from error
        keeps = False
        try:
            yield temporary
            if target.exists():
                _exchange(temporary, target)
            else:
                temporary.rename(target)
        except (OSError, AugsuiteError) as error:
            said = _unwritable(target, error) if isinstance(error, OSError) else error
            keeps = alone and _goes_on(temporary, resumes)
            if not keeps:
                raise said from (error if said is not error else error.__cause__)
            kind = DataError if isinstance(error, DataError) else ConfigError
            raise kind(f"{said} What is finished waits in {temporary}; the same command goes on from there.") from error
        except BaseException:
            keeps = alone and _goes_on(temporary, resumes)
            raise
        finally:
            if not keeps:
                shutil.rmtree(temporary, ignore_errors=True)


def scratch_folder(target: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for image files that are made on the way to a dataset: beside it, where they need not be copied; of a URL on this machine.

    Raises:
        ConfigError: if the place cannot be written.
    """
    target = target_of(target)
    parent = None if isinstance(target, RemotePath) else target.resolve().parent
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".images", dir=parent)
    except OSError as error:
        raise _unwritable(parent or Path(tempfile.gettempdir()), error) from error


def _goes_on(temporary: Path, resumes: str) -> bool:
    """Whether a temporary folder holds something to go on from."""
    return bool(resumes) and (temporary / resumes).exists()


def _unwritable(place: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{error.filename or place}: cannot be written ({error.strerror or error}). Choose another place."
    )


@contextlib.contextmanager
def _alone(target: Path, stem: str) -> Iterator[bool]:
    """Let one process at a time write a target; False where the file system has no locks, so that nobody can know.

    The system takes the lock back when its owner dies, however it dies.
    """
    path = target.with_name(f".{stem}.lock")
    lock = filelock.FileLock(path, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise ConfigError(
            f"{target}: is being written by another process. Wait for it, or choose another folder."
        ) from error
    except NotImplementedError:
        yield False
        return
    except OSError as error:
        raise _unwritable(target.parent, error) from error
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):  # another system may not delete an open file; then release does it
            path.unlink()
        lock.release()


def _sweep(folder: Path, stem: str, resumes: str) -> Path | None:
    """Remove the temporary folders of a target, whose owners are dead if we hold its lock, but for one to go on from."""
    prefix, suffix = f".{stem}.", ".partial"
    found: Path | None = None
    for name in os.listdir(folder):  # noqa: PTH208 - the folder may hold many others
        token = name[len(prefix) : -len(suffix)]
        if name.startswith(prefix) and name.endswith(suffix) and len(token) == 8 and token.isalnum():
            if found is None and _goes_on(folder / name, resumes):
                found = folder / name
            else:
                shutil.rmtree(folder / name, ignore_errors=True)
    return found


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders: in one step on Linux; elsewhere in two, between which a kill leaves the old one under the name `.old`."""
    if sys.platform == "linux" and _renameat2_exchange(new, old):
        return
    aside = new.with_suffix(".old")
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _renameat2_exchange(first: Path, second: Path) -> bool:
    """Linux's renameat2(2) with RENAME_EXCHANGE; False where the C library or the file system has none."""
    at_cwd, exchange = -100, 2
    try:
        call = ctypes.CDLL(None).renameat2
    except AttributeError:
        return False
    return bool(call(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), exchange) == 0)
