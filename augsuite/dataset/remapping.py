"""Rename, merge and drop categories."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from augsuite.dataset.edits import Empty, check_known, renumber
from augsuite.dataset.heads import without_spellings
from augsuite.dataset.tables import Dataset
from augsuite.errors import ConfigError


def remap(
    data: Dataset, mapping: Mapping[str, str | None], *, drop: Collection[str] = (), empty: Empty = "keep"
) -> Dataset:
    """Give categories other names, all at once: `{"a": "b", "b": "a"}` swaps two.

    Categories of one new name become one. It stands where the one stood that had this name and keeps it, or else the first of those
    that get it, with the id and extras that this one had. Categories that are not named stay as they are.

    Args:
        data: the dataset.
        mapping: old name -> new name; None drops the category with its annotations.
        drop: more names to drop.
        empty: whether images stay that lose all their annotations.

    Raises:
        ConfigError: if an old name does not exist (says the nearest), is both mapped and dropped, or a new name is blank.
    """
    old = data.categories.names.tolist()
    check_known("category", [*mapping, *drop], old)
    for name in drop:
        if mapping.get(name) is not None:
            raise ConfigError(f"category {name!r} is to become {mapping[name]!r} and to be dropped. Say one of both.")
    for name, given in mapping.items():
        if given is not None and not given.strip():
            raise ConfigError(f"category {name!r}: expected a new name, got {given!r}. To drop it, say so.")
    gone = {*drop, *(name for name, new in mapping.items() if new is None)}
    new_names = [None if name in gone else mapping.get(name) or name for name in old]
    keepers = {name: row for row, name in enumerate(old) if new_names[row] == name}
    for row, new in enumerate(new_names):
        if new is not None:
            keepers.setdefault(new, row)
    target = np.array([-1 if name is None else keepers[name] for name in new_names], np.int64)
    table = data.annotations
    merged = replace(
        data,
        annotations=replace(
            table, category_rows=np.where(target < 0, np.arange(len(old)), target)[table.category_rows]
        ),
    )
    rows = np.array(sorted(keepers.values()), np.int64)
    kept = renumber(merged, rows, empty)
    renamed = kept.categories.names.copy()
    renamed[:] = [new_names[row] for row in rows.tolist()]
    categories = replace(kept.categories, names=renamed)
    return replace(kept, categories=categories, extra=without_spellings(data.extra))
