"""Where FiftyOne finds the image files of a dataset: on disk, under an absolute path."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from augsuite.dataset.progress import track
from augsuite.dataset.tables import Dataset
from augsuite.errors import ConfigError
from augsuite_fiftyone.database import home


def files_of(data: Dataset) -> list[str]:
    """An absolute path on disk for each image.

    Images in archives, or at a remote place, are copied into the user's folder, once for each content.

    Args:
        data: the dataset.

    Returns:
        `(I,)`; for an image without a file the place where it would be.

    Raises:
        DataError: if a file in an archive cannot be read.
        ConfigError: if the user's folder cannot be written.
    """
    root = os.path.abspath(data.root)  # noqa: PTH100 - links stay as the user wrote them
    places = [os.path.normpath(os.path.join(root, name)) for name in data.images.files.tolist()]  # noqa: PTH118 - for each of 100,000
    known: dict[str, bool] = {}
    copied = []
    for row, name in enumerate(data.images.files.tolist()):
        if not name:
            places[row] = os.path.normpath(os.path.join(root, str(data.images.names[row]).lstrip("/")))  # noqa: PTH118
            continue
        folder = os.path.dirname(places[row])  # noqa: PTH120
        if folder not in known:
            known[folder] = os.path.isdir(folder)  # noqa: PTH112
        if not known[folder]:
            copied.append(row)
    for row in track(copied, "copying images out of archives"):
        places[row] = _copied(data.path(row))
    return places


def _copied(path: Path) -> str:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    target = home() / "media" / digest[:2] / f"{digest[2:]}{path.suffix.lower()}"
    if not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
            fresh.write_bytes(content)
            fresh.replace(target)
        except OSError as error:
            raise ConfigError(
                f"{target}: cannot be written ({error.strerror or error}). Make room, or set XDG_DATA_HOME."
            ) from error
    return str(target)
