"""From an engine's name, as a user types it, to work that runs there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from augsuite import registry
from augsuite.dataset import parallel
from augsuite.dataset.locate import locate
from augsuite.dataset.parallel import Retried
from augsuite.dataset.urls import url_of
from augsuite.engines import Engine
from augsuite.errors import ConfigError
from augsuite.spec import EngineSpec


def find(name: str) -> EngineSpec:
    """The declaration of an engine.

    Raises:
        ConfigError: for an unknown name; says the nearest.
    """
    return registry.find("engine", registry.default().engines(), name)


def load(name: str) -> Engine:
    """Import an engine.

    Raises:
        ConfigError: for an unknown name.
        MissingExtraError: if the packages that it needs are not installed.
    """
    spec = find(name)
    return registry.load(spec.run, f"engine {name}", spec.extra)


@contextlib.contextmanager
def at_work(
    name: str = "local",
    workers: int | None = None,
    *,
    places: Sequence[str | os.PathLike[str]] = (),
    retried: list[Retried] | None = None,
) -> Iterator[None]:
    """Let the pieces of work inside the block (of reading, writing, looking at images) run on an engine.

    Args:
        name: the engine's name. One worker of `local` is this process.
        workers: how many at once. Nothing said means one on this machine, and all the room there is on machines of a cluster.
        places: datasets, files and folders that the work reads or writes, by path, name or URL.
        retried: takes what had to be tried again.

    Raises:
        ConfigError: for an unknown name.
    """
    spec = find(name)
    count = workers if workers is not None or spec.cluster else 1
    engine = None if count == 1 and name == "local" else load(name)
    folders = [folder for place in places if (folder := _folder(place))] if spec.cluster else []
    with parallel.using(count, engine, folders=folders, retried=retried):
        yield


def _folder(place: str | os.PathLike[str]) -> str | None:
    """The folder of this machine's file systems that holds a place; None for what is read by its URL."""
    if url_of(place) is not None:
        return None
    path = Path(place)
    if not path.exists():
        with contextlib.suppress(ConfigError):  # a place to be written
            path = Path(locate(place))
    path = path.absolute()
    while not os.path.isdir(path):  # noqa: PTH112 - an archive answers for itself that it is a folder
        path = path.parent
    return os.fspath(path)
