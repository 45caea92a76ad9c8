"""Places that are no files of this machine: `s3://bucket/folder`, `fiftyone://name`."""

from __future__ import annotations

import os
import re
from typing import NamedTuple


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


_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(.*)", re.DOTALL)  # of two letters at least: C:/ is a drive
