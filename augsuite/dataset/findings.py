"""What a check says: how bad it is, what it is, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from augsuite.dataset.tables import Dataset, Rows

Severity = Literal["error", "warning", "info"]


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where something was found.

    Attributes:
        image: the image's name; empty where no image is meant.
        split: its split.
        annotation: the annotation's id; None where the whole image is meant.
        said: what was found there.
    """

    image: str = ""
    split: str = ""
    annotation: int | None = None
    said: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of finding.

    Attributes:
        code: a name for it that stays.
        severity: `error` where training would go wrong or stop, `warning` where it may, `info` for what is good to know.
        count: how often it was found.
        what: what it is.
        advice: what to do.
        places: the first of them.
    """

    code: str
    severity: Severity
    count: int
    what: str
    advice: str
    places: list[Place]


def image_places(data: Dataset, rows: Iterable[int], said: Iterable[str] = ()) -> list[Place]:
    """Places that are images."""
    words = list(said)
    names, splits = data.images.names, data.images.splits
    return [
        Place(str(names[row]), str(splits[row]), None, words[at] if words else "")
        for at, row in enumerate(map(int, rows))
    ]


def annotation_places(data: Dataset, rows: Rows, said: Sequence[str] = ()) -> list[Place]:
    """Places that are annotations."""
    table = data.annotations
    words = said or [str(name) for name in data.categories.names[table.category_rows[rows]]]
    images = image_places(data, table.image_rows[rows].tolist())
    return [
        Place(image.image, image.split, number, word)
        for image, number, word in zip(images, table.ids[rows].tolist(), words, strict=True)
    ]
