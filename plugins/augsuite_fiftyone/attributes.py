"""Which extras of the tables are seen as which attributes of labels and fields of samples, and what an edit of one means.

An attribute is seen where FiftyOne has a type for it: a number, text, yes or no, a list of those; of an object the values in it. The exact
value stays in the sample's record (`records`), and comes back as long as the attribute is what it was.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from augsuite.dataset.losses import is_spelling
from augsuite.dataset.tables import ABSENT, UNREAD, Extra
from augsuite_fiftyone.labels import RESERVED

SHAPES = frozenset({"segmentation", "coco.keypoints", "yolo.keypoints", "cvat.geometry"})
"""Extras that are seen as labels of their own, or as the mask of one."""

FAMILIAR = {
    "area": "coco.area",
    "occluded": "voc.occluded",
    "pose": "voc.pose",
    "supercategory": "fiftyone.supercategory",
    "truncated": "voc.truncated",
}
"""What attributes of labels that augsuite did not make are called in the tables; all others are `fiftyone.<attribute>`."""

OF_LABELS = RESERVED | {"annotation_id", "category_id", "iscrowd", "difficult", "visibility"}
"""Names that stand for something else on labels."""

OF_SAMPLES = frozenset(
    {
        "id",
        "filepath",
        "tags",
        "metadata",
        "media_type",
        "media_reference",
        "created_at",
        "last_modified_at",
        "group",
        "frames",
        "sample_id",
    }
    | {"augsuite", "augsuite_record", "image_id", "split"}
)
"""Names that stand for something else on samples."""

_MANY = 64  # values of a list, or in an object
_INT64 = range(-(2**63), 2**63)


class Seen(msgspec.Struct, array_like=True, frozen=True):
    """One attribute.

    Attributes:
        name: of the attribute.
        key: the extra.
        leaf: the key in the extra's objects whose value it is; None where it is the extra itself.
    """

    name: str
    key: str
    leaf: str | None = None

    def of(self, extra: Mapping[str, Any]) -> Any:
        """The attribute's value for a row with some extras; ABSENT where it has none."""
        value = extra.get(self.key, ABSENT)
        if self.leaf is None:
            return plain(value)
        value = decoded(value)
        return plain(value.get(self.leaf, ABSENT)) if isinstance(value, Mapping) else ABSENT

    def edited(self, extra: dict[str, Any], value: Any) -> None:
        """Write what the attribute is now into the extras of a row; ABSENT removes it."""
        if self.leaf is not None:
            held = decoded(extra.get(self.key, ABSENT))
            held = dict(held) if isinstance(held, Mapping) else {}
            if value is ABSENT:
                held.pop(self.leaf, None)
            else:
                held[self.leaf] = value
            value = held or ABSENT
        if value is ABSENT:
            extra.pop(self.key, None)
        else:
            extra[self.key] = value


def seen_of(extras: Extra, taken: Collection[str]) -> list[Seen]:
    """The attributes for some columns of extras.

    Args:
        extras: the columns.
        taken: names that no attribute may have.
    """
    found: list[Seen] = []
    names = set(taken)
    for key, values in extras.items():
        if is_spelling(key) or key in SHAPES:
            continue
        if key == "score":
            found.append(Seen("confidence", key))
            continue
        whole, leaves = False, dict[str, None]()
        for value in values.tolist():
            inner = decoded(value)
            if isinstance(inner, Mapping):
                leaves.update(
                    dict.fromkeys(leaf for leaf, each in list(inner.items())[:_MANY] if plain(each) is not ABSENT)
                )
            else:
                whole = whole or plain(inner) is not ABSENT
        owner, _, last = key.rpartition(".")
        for leaf in [*([None] if whole else []), *leaves]:
            name = _free(last if leaf is None else leaf, owner, names)
            names.add(name)
            found.append(Seen(name, key, leaf))
    return found


def attributes(seen: Sequence[Seen], extra: Mapping[str, Any]) -> dict[str, Any]:
    """What is seen of the extras of a row."""
    found = {each.name: each.of(extra) for each in seen if each.key in extra}
    return {name: value for name, value in found.items() if value is not ABSENT}


def apply_edits(seen: Sequence[Seen], extra: dict[str, Any], now: Mapping[str, Any]) -> bool:
    """Bring what was edited into the extras of a row, and leave all else exactly as it is.

    Args:
        seen: the attributes.
        extra: of the row, as they were.
        now: the label or sample, whose attributes are named as in `seen`.

    Returns:
        Whether anything was edited.
    """
    any_edited = False
    for each in seen:
        was, value = each.of(extra), now.get(each.name)
        value = ABSENT if value is None else value
        if not same(was, value):
            each.edited(extra, value)
            any_edited = True
    return any_edited


def same(first: Any, second: Any) -> bool:
    """Whether two plain values are the same; 1 and 1.0 are (FiftyOne may write either), 1 and True are not."""
    if first is ABSENT or second is ABSENT:
        return first is second
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float) and isinstance(second, float) and math.isnan(first):
        return math.isnan(second)
    return isinstance(first, bool) == isinstance(second, bool) and bool(first == second)


def decoded(value: Any) -> Any:
    """A value of an extra, out of its JSON; ABSENT where that is malformed."""
    if isinstance(value, msgspec.Raw):
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return ABSENT
    return ABSENT if value is UNREAD else value


def plain(value: Any) -> Any:
    """A value as an attribute has it; ABSENT for one that FiftyOne has no type for."""
    value = decoded(value)
    if isinstance(value, list | tuple):
        inner = [plain(each) for each in value[: _MANY + 1]]
        kinds = {type(each) for each in inner}
        fits = 0 < len(inner) <= _MANY and len(kinds) == 1 and kinds <= {bool, int, float, str}
        return inner if fits else ABSENT
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value in _INT64 else ABSENT
    if isinstance(value, str):
        return value if value.isprintable() or _encodes(value) else ABSENT
    return ABSENT


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair, as a file system may have it in a name
        return False
    return True


def _free(wanted: str, owner: str, names: Collection[str]) -> str:
    """A name that FiftyOne takes for an attribute, and that is free."""
    stem = re.sub(r"\W", "_", wanted, flags=re.ASCII).lstrip("_") or "value"
    stem = f"n{stem}" if stem[0].isdigit() else stem
    for name in (stem, f"{owner}_{stem}" if owner else f"{stem}_"):
        if name not in names:
            return name
    number = 2
    while f"{stem}_{number}" in names:
        number += 1
    return f"{stem}_{number}"
