"""What the JSON of a sample says, and `dataset.json` of the dataset as a whole."""

from __future__ import annotations

from typing import Any

import msgspec

from augsuite.dataset.resuming import Entry

HEAD = "dataset.json"
NOTHING = msgspec.Raw(b"{}")
"""The JSON of no extras; left out where it stands."""


class Object(msgspec.Struct, omit_defaults=True):
    """One annotation.

    Attributes:
        category: its name.
        bbox: x, y, width, height in pixels; None for a label of the whole image.
        id: its id.
        ignore: see `Annotations.ignore`.
        score: see `Annotations.extra`.
        segmentation: as `score`.
        extra: all other extras.
    """

    category: str | int
    bbox: tuple[float, float, float, float] | None = None
    id: int | None = None
    ignore: bool = False
    score: Any = msgspec.UNSET
    segmentation: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    extra: msgspec.Raw = NOTHING


class Sample(msgspec.Struct, omit_defaults=True):
    """One image.

    Attributes:
        image_id: its id.
        file_name: what the annotations call it.
        width: in pixels; 0 where unknown.
        height: in pixels; 0 where unknown.
        split: its split; None where the shard's name says it.
        objects: its annotations.
        extra: its extras.
    """

    image_id: int | None = None
    file_name: str = ""
    width: int = 0
    height: int = 0
    split: str | None = None
    objects: list[Object] = []
    extra: msgspec.Raw = NOTHING


class Category(msgspec.Struct, omit_defaults=True):
    """One category."""

    id: int
    name: str
    extra: msgspec.Raw = NOTHING


class Head(msgspec.Struct, omit_defaults=True):
    """What is said of the whole dataset.

    Attributes:
        format: says who wrote it.
        categories: all of them, in order.
        extra: `Dataset.extra`.
        shards: all of them, in order; none is listed in datasets that an earlier version wrote.
    """

    categories: list[Category]
    extra: msgspec.Raw
    shards: list[Entry] = []
    format: str = "augsuite"
