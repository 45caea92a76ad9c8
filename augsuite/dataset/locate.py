"""From what the user typed to a folder: a path, or the name of a dataset that is at hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import augsuite
from augsuite.dataset.archives import ArchivePath, at, descended
from augsuite.dataset.files import entries
from augsuite.errors import ConfigError, nearest

CARD = "card.yaml"


def locate(name: str | os.PathLike[str]) -> Path:
    """Find a dataset.

    Args:
        name: a path or URL, such as `s3://bucket/folder`; or, where nothing is there, the name of a folder in `AUGSUITE_DATA`, of a dataset that was fetched, or of a bundled
            one.

    Returns:
        An existing file or folder; an archive is a folder, and where it holds one folder alone, that.

    Raises:
        ConfigError: if there is none; says the nearest name. Of a URL: if it cannot be reached, or the dataset there is not whole.
        MissingExtraError: if the package for a URL is not installed.
        DataError: if it is an archive that is damaged.
    """
    given = Path(name)
    try:
        given = at(given)
        is_remote = isinstance(given, ArchivePath) and given.look()
        if given.exists():
            return descended(given)
    except (OSError, ValueError):  # too long, or a null character: no file can be called so
        raise ConfigError(f"{os.fspath(name)[:80]!r} cannot be a path or the name of a dataset.") from None
    if is_remote:
        raise ConfigError(
            f"{given}: nothing is there. Check the address; a server that lists no folders needs the name of a file."
        )
    known, others = named(), fetchable()
    text = os.fspath(name)
    if text in known:
        return known[text]
    first, _, rest = text.partition("/")
    if first in known and rest and (known[first] / rest).exists():
        return known[first] / rest
    if first in others:
        raise ConfigError(f"{text}: is not on this machine yet. Fetch it with: augsuite datasets fetch {first}")
    raise ConfigError(
        f"{text}: no such file or folder, and no dataset of that name. {nearest(text, {*known, *others})}"
    )


def named() -> dict[str, Path]:
    """The datasets that can be named: those bundled, those fetched, and those in `AUGSUITE_DATA`; a later place comes first."""
    places = [user_folder()]
    data = os.environ.get("AUGSUITE_DATA")
    if data:
        places.append(Path(data))
    here = {path.name: path for path in entries(bundled()) if path.is_dir() and not _is_card_alone(path)}
    return here | {path.name: path for place in places for path in entries(place) if path.is_dir()}


def fetchable() -> list[str]:
    """The names of the datasets that are known by their card alone."""
    return [path.name for path in entries(bundled()) if _is_card_alone(path)]


def _is_card_alone(folder: Path) -> bool:
    return [path.name for path in entries(folder)] == [CARD]


def user_folder() -> Path:
    """Where this user's datasets live; it may not exist."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "augsuite" / "datasets"


def bundled() -> Path:
    """The folder of the bundled datasets, in a checkout or in an installed wheel."""
    package = Path(augsuite.__file__).resolve().parent
    checkout = package.parent / "datasets"
    is_checkout = (package.parent / "pyproject.toml").is_file() and checkout.is_dir()
    return checkout if is_checkout else package / "_datasets"
