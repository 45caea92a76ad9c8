"""What the source classifier knows already: its own weight rows for categories that are ours, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from augsuite.errors import ConfigError, nearest
from augsuite_finetune.settings import Reuse


def find_rows(reuse: Reuse, categories: Sequence[str], source: Sequence[str] | None, outputs: int) -> dict[str, int]:
    """Which row of the source classifier's head each category can begin with.

    Names are compared without regard to case, underscores, hyphens and spaces; commas part synonyms, on both sides. A name that fits
    several of the source's categories fits none.

    Args:
        reuse: as in the setting.
        categories: ours.
        source: the source's, in the order of its outputs; None where nobody knows them.
        outputs: number of its outputs.

    Returns:
        For some of our categories, in their order, a row in [0, outputs).

    Raises:
        ConfigError: for a category or a name that does not exist, a row out of range, or names where the source has none.
    """
    if reuse == "none":
        return {}
    known = places(source or ())
    if reuse == "names":
        if source is None:
            raise ConfigError(
                "finetune: reuse is names, and the weights do not say what their classes are called. "
                "Write a mapping from categories to rows."
            )
        found = {
            category: set().union(*(known.get(name, set()) for name in synonyms(category))) for category in categories
        }
        return {category: rows.pop() for category, rows in found.items() if len(rows) == 1}
    chosen = {}
    for category, wanted in reuse.items():
        if category not in categories:
            raise ConfigError(f"finetune: reuse: unknown category {category!r}. {nearest(category, categories)}")
        chosen[category] = wanted if isinstance(wanted, int) else row_of(wanted, category, known, source)
        if not 0 <= chosen[category] < outputs:
            raise ConfigError(
                f"finetune: reuse: {category}: row {wanted} of a classifier that has {outputs}. Rows count from 0."
            )
    return {category: chosen[category] for category in categories if category in chosen}


def row_of(wanted: str, category: str, known: Mapping[str, set[int]], source: Sequence[str] | None) -> int:
    """The row of a name that the user wrote."""
    if source is None:
        raise ConfigError(
            f"finetune: reuse: {category}: the weights do not say what their classes are called. Write the row, a number."
        )
    rows = set().union(*(known.get(name, set()) for name in synonyms(wanted)))
    if len(rows) == 1:
        return rows.pop()
    if rows:
        raise ConfigError(
            f"finetune: reuse: {category}: several classes of the source are called {wanted!r}: rows {sorted(rows)}. Write the row."
        )
    names = [name.strip() for line in source for name in line.split(",")]
    raise ConfigError(f"finetune: reuse: {category}: the source has no class {wanted!r}. {nearest(wanted, names)}")


def places(names: Sequence[str]) -> dict[str, set[int]]:
    """The rows that each synonym names."""
    found: dict[str, set[int]] = {}
    for row, name in enumerate(names):
        for synonym in synonyms(name):
            found.setdefault(synonym, set()).add(row)
    return found


def synonyms(name: str) -> list[str]:
    """`African_elephant, Loxodonta` to `africanelephant` and `loxodonta`."""
    plain = (part.casefold().translate({ord(sign): None for sign in " _-'"}) for part in name.split(","))
    return [part for part in plain if part]


@torch.no_grad()
def copy_rows(head: nn.Module, source: nn.Module, rows: Mapping[int, int]) -> None:
    """Begin a new head with rows of another: weights and biases.

    Args:
        head: a linear or convolutional layer.
        source: the source classifier's head.
        rows: of the new head -> of the source.
    """
    mine, theirs = list(rows), list(rows.values())
    for name, weights in head.named_parameters():
        weights[mine] = source.get_parameter(name)[theirs].to(weights)
