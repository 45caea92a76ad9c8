"""Places that are no files of this machine: `s3://bucket/folder`, `fiftyone://name`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from augsuite.dataset.tables import Dataset
    from augsuite.protocols import Losses


class Url(NamedTuple):
    """A place by its scheme.

    Attributes:
        scheme: in small letters, such as `s3`.
        rest: what follows `://`, without slashes at its beginning and end.
    """

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.rest}"


def url_of(place: str | os.PathLike[str]) -> Url | None:
    """The URL that a place is; None for a path.

    Args:
        place: as the user typed it, or made a `Path`, which keeps one of the slashes: `s3:/bucket/folder` is meant as well.
    """
    found = _URL.fullmatch(os.fspath(place))
    return Url(found[1].lower(), found[2].strip("/")) if found else None


class Store(Protocol):
    """Writes a dataset to where there are no folders: what `FormatSpec.store` points at."""

    def __call__(self, data: Dataset, place: Path, losses: Losses, *, overwrite: bool, **options: str) -> None:
        """Write the dataset, whole or not at all; image files stay where they are.

        Args:
            data: the dataset.
            place: `<scheme>://<name>` as a path, which `url_of` understands.
            losses: takes what cannot be represented.
            overwrite: whether a dataset that is there may be replaced.
            options: those that the declaration lists.

        Raises:
            ConfigError: if one that is there may not be replaced.
        """


_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(.*)", re.DOTALL)  # of two letters at least: C:/ is a drive
