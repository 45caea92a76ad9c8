"""What is said of a dataset as a whole, or of one of its splits: `coco.info`, `coco.info@train`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from augsuite.dataset.losses import is_spelling


def without_spellings(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a dataset as a whole, without how its files wrote the tables, which an edit makes wrong."""
    return {key: value for key, value in extra.items() if not is_spelling(key)}


def recut(extra: Mapping[str, Any], before: Iterable[str], after: Iterable[str]) -> dict[str, Any]:
    """What is said of splits, after the images changed theirs.

    What was said of a split goes to every new one whose images all come from it. Where there is none it is true of no split any more:
    its key then ends in `@former train`, so that a writer counts it as lost in place of saying it of other images.

    Args:
        extra: of the whole dataset.
        before: the split of each image.
        after: its new split.
    """
    came: dict[str, set[str]] = {}
    for old, new in set(zip(before, after, strict=True)):
        came.setdefault(new, set()).add(old)
    result: dict[str, Any] = {}
    for key, value in extra.items():
        what, marked, split = key.partition("@")
        heirs = sorted(new for new, old in came.items() if old == {split}) if marked else []
        if marked and not heirs:
            while split in came:
                split = f"former {split}"
            heirs = [split]
        result.update({f"{what}@{heir}": value for heir in heirs} if marked else {key: value})
    return result
