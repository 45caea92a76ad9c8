"""From what the user typed to a folder: a path, or the name of a dataset that is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import augsuite
from augsuite.dataset.files import entries
from augsuite.errors import ConfigError, nearest


def locate(name: str | os.PathLike[str]) -> Path:
    """Find a dataset.

    Args:
        name: a path; or, where nothing is there, the name of a folder in `AUGSUITE_DATA` or of a bundled dataset.

    Returns:
        An existing file or folder.

    Raises:
        ConfigError: if there is none; says the nearest name.
    """
    given = Path(name)
    try:
        if given.exists():
            return given
    except (OSError, ValueError):  # too long, or a null character: no file can be called so
        raise ConfigError(f"{os.fspath(name)[:80]!r} cannot be a path or the name of a dataset.") from None
    known = named()
    text = os.fspath(name)
    if text in known:
        return known[text]
    first, _, rest = text.partition("/")
    if first in known and rest and (known[first] / rest).exists():
        return known[first] / rest
    raise ConfigError(f"{text}: no such file or folder, and no dataset of that name. {nearest(text, known)}")


def named() -> dict[str, Path]:
    """The datasets that can be named: those bundled, and those in `AUGSUITE_DATA`, which come first."""
    places = [bundled()]
    data = os.environ.get("AUGSUITE_DATA")
    if data:
        places.append(Path(data))
    return {path.name: path for place in places for path in entries(place) if path.is_dir()}


def bundled() -> Path:
    """The folder of the bundled datasets, in a checkout or in an installed wheel."""
    package = Path(augsuite.__file__).resolve().parent
    checkout = package.parent / "datasets"
    is_checkout = (package.parent / "pyproject.toml").is_file() and checkout.is_dir()
    return checkout if is_checkout else package / "_datasets"
