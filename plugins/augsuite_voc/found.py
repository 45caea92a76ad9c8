"""What some VOC files say, as columns that travel between processes."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from augsuite.dataset.columns import GrowingExtras

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass
class Found:
    """Images and their objects, in the order of the files.

    Attributes:
        said: the text of each `<filename>`.
        sizes: width and height of each; 0 where a file does not say.
        counts: how many objects each image has.
        corners: four numbers for each object, as in the file.
        classes: name -> its number here.
        labels: a number of `classes` for each object.
        ignore: 1 for each object that is difficult, 0 for others.
        image_extra: tags of images.
        extra: tags of objects.
    """

    said: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    counts: array[int] = field(default_factory=lambda: array("q"))
    corners: array[float] = field(default_factory=lambda: array("d"))
    classes: dict[str, int] = field(default_factory=dict)
    labels: array[int] = field(default_factory=lambda: array("q"))
    ignore: array[int] = field(default_factory=lambda: array("b"))
    image_extra: GrowingExtras = field(default_factory=GrowingExtras)
    extra: GrowingExtras = field(default_factory=GrowingExtras)

    def add_image(self, said: str, size: tuple[int, int]) -> int:
        """Append an image without objects; returns its row."""
        self.said.append(said)
        self.sizes.extend(size)
        self.counts.append(0)
        return len(self.said) - 1

    def add_object(self, label: str, corners: list[float], extra: dict[str, Any]) -> None:
        """Append an object of the last image."""
        row = len(self.labels)
        self.counts[-1] += 1
        self.corners.extend(corners)
        self.labels.append(self.classes.setdefault(label, len(self.classes)))
        difficult = extra.get("difficult")
        self.ignore.append(difficult == 1)
        for key, value in extra.items():
            if key != "difficult" or (value != 0 and value != 1):  # noqa: PLR1714 - a list cannot be sought in a set; the column says 0 and 1
                self.extra.add(row, key, value)

    def extend(self, others: Found) -> None:
        """Append all of others."""
        self.image_extra.extend(others.image_extra, len(self.said))
        self.extra.extend(others.extra, len(self.labels))
        numbers = np.array([self.classes.setdefault(name, len(self.classes)) for name in others.classes], np.int64)
        self.labels.frombytes(numbers[np.frombuffer(others.labels, np.int64)].tobytes() if others.labels else b"")
        self.said += others.said
        self.sizes.extend(others.sizes)
        self.counts.extend(others.counts)
        self.corners.extend(others.corners)
        self.ignore.extend(others.ignore)


def whole_number(value: Any) -> Any:
    """A whole number as int; anything else as it is."""
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
