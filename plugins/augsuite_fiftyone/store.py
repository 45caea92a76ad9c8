"""A whole dataset into FiftyOne, in bulk, and out of it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from augsuite.dataset.tables import Dataset


def store(
    data: Dataset,
    name: str,
    *,
    field: str = "ground_truth",
    persistent: bool = True,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Put a dataset into FiftyOne."""
    raise NotImplementedError


def load(dataset: Any, field: str = "") -> Dataset:
    """Read a dataset or view of FiftyOne into tables."""
    raise NotImplementedError
