"""What the bundled datasets say about themselves: `card.yaml` in each folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from augsuite.config import build, read_yaml
from augsuite.dataset.locate import bundled

CARD = "card.yaml"
_PARTS = ("annotations", "images")


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bundled dataset.

    Attributes:
        name: the folder's name, and what the user types.
        summary: one line for the listing.
        source: where images and annotations come from.
        licence: an SPDX identifier.
        images: how many in each split.
        boxes: how many in each split.
        categories: their names, in the order of their ids.
        sha256: see `digest`.
        made_by: the command that made it; empty for a dataset that was collected.
    """

    name: str
    summary: str
    source: str
    licence: str
    images: dict[str, int]
    boxes: dict[str, int]
    categories: list[str]
    sha256: str
    made_by: str = ""


def read_cards() -> dict[str, Card]:
    """The cards of the bundled datasets, by name.

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
