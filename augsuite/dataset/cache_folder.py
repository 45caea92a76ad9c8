"""Where things are kept that can be made again, and what a folder of them holds."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def user_cache() -> Path:
    """Where this user's files live that can be made again; it may not exist."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "augsuite" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "augsuite"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "augsuite"


def entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each file in the folders of a cache was used last, its size in bytes, its path; what a killed process left unfinished counts, too."""
    for part in folder.iterdir():
        if part.is_dir():
            for path in part.iterdir():
                with contextlib.suppress(OSError):
                    found = path.stat()
                    yield found.st_mtime, found.st_size, path
