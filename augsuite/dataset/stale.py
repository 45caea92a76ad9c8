"""Which extras stop being true when the pixels of an image move."""

from __future__ import annotations

from typing import Any

from augsuite.dataset.losses import is_spelling

INVARIANT = frozenset({"area", "num_keypoints", "rotation", "truncated"})
"""Last parts of names of extras that a shift leaves true, and a cut or a turn does not."""

PLACED = INVARIANT | {"bbox", "keypoints", "mask", "obb", "points", "polygon", "segmentation"}
"""Last parts of names of extras that say where something is, or how large."""

OF_FILE = frozenset({"coco_url", "path", "segmented"})
"""Last parts of names of extras of images that are true of the original file alone."""


def is_of_file(key: str) -> bool:
    """Whether an extra of images is true of the original file alone."""
    return _last(key) in OF_FILE or is_spelling(key)


def moved_makes_wrong(key: str, value: Any) -> bool:
    """Whether a value of an annotation is wrong after the image was moved: it says where, or is no plain value and so might."""
    return _last(key) in PLACED or is_spelling(key) or not isinstance(value, str | int | float | None)


def shift_makes_wrong(key: str, value: Any) -> bool:
    """As `moved_makes_wrong`, where the object is as large as it was, whole, and merely at another place."""
    return _last(key) not in INVARIANT and moved_makes_wrong(key, value)


def _last(key: str) -> str:
    return key.rpartition(".")[2].lower()
