"""What datasets say about themselves: `card.yaml`, of those that are bundled and of those that can be fetched."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Annotated

import msgspec

from augsuite.config import build, read_yaml
from augsuite.dataset.locate import CARD, bundled
from augsuite.errors import ConfigError, nearest

_PARTS = ("annotations", "images")

_Sha256 = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]
_Md5 = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{32})?$")]
_Url = Annotated[str, msgspec.Meta(pattern="^https?://[^/]+/")]


class Archive(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file to download, a zip or a tar, and where its members go.

    Attributes:
        urls: where it is; the first that gives the right file is taken.
        bytes: its size; None where it is packed anew for each download.
        sha256: its digest; empty where nobody published one.
        md5: the same, where only this was published.
        take: which members are wanted and where in the dataset they go; all, and where they are, by default. A key is the beginning of
            a member's path, `*` allowed in each part; the first that fits is taken. Its value is put in its place; one that is empty or
            ends in `/` keeps the name of a member that the key names in full.
    """

    urls: Annotated[list[_Url], msgspec.Meta(min_length=1)]
    bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    sha256: _Sha256 = ""
    md5: _Md5 = ""
    take: dict[str, str] = {}

    @property
    def name(self) -> str:
        """What the file is called here: the end of its first address, harmless as a name."""
        end = self.urls[0].partition("?")[0].rstrip("/").rpartition("/")[2]
        return re.sub(r"[^\w.-]", "_", end)[-100:].lstrip(".") or "archive"


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One dataset.

    Attributes:
        name: the folder's name, and what the user types.
        summary: one line for the listing.
        source: where images and annotations come from.
        licence: an SPDX identifier, or a short text where none fits.
        images: how many in each split.
        boxes: how many in each split; empty where nobody published it.
        categories: their names, in the order of their ids.
        format: the format that it is read as; empty for one that is bundled, which is COCO.
        sha256: of one that is bundled; see `digest`.
        made_by: the command that made it; empty for a dataset that was collected.
        archives: what to download; empty for one that is bundled.
    """

    name: str
    summary: str
    source: str
    licence: str
    images: dict[str, int]
    boxes: dict[str, int]
    categories: list[str]
    format: str = ""
    sha256: _Sha256 = ""
    made_by: str = ""
    archives: list[Archive] = []

    @property
    def bytes(self) -> int | None:
        """The size of the download; None where that of an archive is not known."""
        sizes = [archive.bytes for archive in self.archives]
        return None if None in sizes else sum(size or 0 for size in sizes)


def read_cards() -> dict[str, Card]:
    """The cards that come with augsuite, by name.

    Raises:
        ConfigError: if a card is no YAML, or misses or misspells a field.
    """
    paths = sorted(bundled().glob(f"*/{CARD}"))
    return {path.parent.name: read_card(path) for path in paths}


def read_card(path: Path) -> Card:
    """Read one card.

    Raises:
        ConfigError: if it is no YAML, or misses or misspells a field.
    """
    return build(Card, read_yaml(path), str(path), "field")


def find_card(name: str | os.PathLike[str]) -> Card:
    """The card of a dataset that can be fetched.

    Args:
        name: as the listing names it; or the path of a card, which ends in `.yaml`.

    Raises:
        ConfigError: if there is none of that name, it is broken, or says nothing to fetch.
    """
    text = os.fspath(name)
    if text.endswith((".yaml", ".yml")):
        card = read_card(Path(text))
        if not card.archives:
            raise ConfigError(f"{text}: names no archives, so there is nothing to fetch. Add the field 'archives'.")
        return card
    cards = read_cards()
    known = [card.name for card in cards.values() if card.archives]
    if text in cards and text not in known:
        raise ConfigError(f"{text} is bundled with augsuite. Use it by its name.")
    if text not in known:
        raise ConfigError(f"unknown dataset {text!r}. {nearest(text.lower(), known)}")
    return cards[text]


def digest(folder: Path) -> str:
    """One SHA-256 over the annotations and images of a bundled dataset.

    It is what this prints: `find annotations images -type f | LC_ALL=C sort | xargs sha256sum | sha256sum`.

    Args:
        folder: holds `annotations/` and `images/`; anything else in it does not count.
    """
    files = sorted(
        path.relative_to(folder).as_posix() for part in _PARTS for path in (folder / part).rglob("*") if path.is_file()
    )
    total = hashlib.sha256()
    for name in files:
        total.update(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n".encode())
    return total.hexdigest()
