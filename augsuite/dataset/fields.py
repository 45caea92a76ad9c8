"""The columns of a dataset by name, each with the table that its rows are of."""

from __future__ import annotations

import ast
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes, Layout
from augsuite.dataset.files import with_sizes
from augsuite.dataset.losses import is_spelling
from augsuite.dataset.tables import ABSENT, Dataset, Extra
from augsuite.errors import nearest


class Level(enum.IntFlag):
    """Of which table a value has one row each; two values together are on the level `a | b`."""

    CONSTANT = 0
    CATEGORY = 1
    IMAGE = 2
    ANNOTATION = 3


@dataclass(frozen=True)
class Value:
    """A column, or a constant.

    Attributes:
        level: of which table it has one value for each row.
        values: bool, int64, float64 (NaN where a row has none) or object (None where a row has none); a plain value where the level
            is `CONSTANT`.
    """

    level: Level
    values: Any

    @property
    def kind(self) -> str:
        """What it holds, as a message says it."""
        if isinstance(self.values, np.ndarray):
            return {"b": "yes or no", "O": "text"}.get(self.values.dtype.kind, "a number")
        if isinstance(self.values, bool | np.bool_):
            return "yes or no"
        return "text" if isinstance(self.values, str) else "nothing" if self.values is None else "a number"


class Problem(Exception):  # noqa: N818 - no error of its own: `expressions.choose` turns it into a ConfigError
    """What is wrong, and with which part of the expression."""

    def __init__(self, node: ast.expr | None, said: str) -> None:
        super().__init__(said)
        self.node, self.said = node, said


class Fields:
    """The columns of a dataset by the names that expressions use."""

    def __init__(self, data: Dataset) -> None:
        self._data = data
        self._found: dict[str, Value] = {}

    @cached_property
    def names(self) -> Mapping[str, Callable[[], Value]]:
        """Name -> what makes its column; those of the tables win over extras of the same name."""
        data = self._data
        images, categories, table = data.images, data.categories, data.annotations
        made: dict[str, Callable[[], Value]] = {
            "x": lambda: Value(Level.ANNOTATION, self._xywh[:, 0]),
            "y": lambda: Value(Level.ANNOTATION, self._xywh[:, 1]),
            "width": lambda: Value(Level.ANNOTATION, self._xywh[:, 2]),
            "height": lambda: Value(Level.ANNOTATION, self._xywh[:, 3]),
            "area": lambda: Value(Level.ANNOTATION, self._xywh[:, 2] * self._xywh[:, 3]),
            "aspect": lambda: Value(Level.ANNOTATION, self._xywh[:, 2] / self._xywh[:, 3]),
            "category": lambda: Value(Level.CATEGORY, categories.names),
            "category_id": lambda: Value(Level.CATEGORY, categories.ids),
            "ignore": lambda: Value(Level.ANNOTATION, table.ignore),
            "id": lambda: Value(Level.ANNOTATION, table.ids),
            "image_width": lambda: Value(Level.IMAGE, self._sizes[:, 0]),
            "image_height": lambda: Value(Level.IMAGE, self._sizes[:, 1]),
            "image_id": lambda: Value(Level.IMAGE, images.ids),
            "name": lambda: Value(Level.IMAGE, images.names),
            "split": lambda: Value(Level.IMAGE, images.splits),
            "boxes": lambda: Value(Level.IMAGE, np.bincount(table.image_rows[table.is_box], minlength=len(data))),
            "labels": lambda: Value(Level.IMAGE, np.bincount(table.image_rows[~table.is_box], minlength=len(data))),
        }
        for level, extra in (
            (Level.ANNOTATION, table.extra),
            (Level.IMAGE, images.extra),
            (Level.CATEGORY, categories.extra),
        ):
            for key in extra:
                if not is_spelling(key):
                    made.setdefault(key, _maker(level, extra, key))
        return made

    @cached_property
    def _measured(self) -> Dataset:
        return with_sizes(self._data)

    @cached_property
    def _sizes(self) -> NDArray[np.float64]:
        sizes = self._measured.images.sizes.astype(np.float64)
        sizes[(sizes <= 0).any(axis=1)] = np.nan
        return sizes

    @cached_property
    def _xywh(self) -> Boxes:
        data = self._measured if self._data.annotations.layout.unit else self._data
        return data.boxes(Layout.XYWH_PX)

    def get(self, node: ast.expr, name: str) -> Value:
        """The column of a name.

        Raises:
            Problem: if there is none.
        """
        if name not in self._found:
            if name not in self.names:
                hint = nearest(name, self.names).removesuffix(".")
                raise Problem(None, f"unknown name {name!r} at column {node.col_offset + 1}. {hint}")
            self._found[name] = self.names[name]()
        return self._found[name]

    def spread(self, value: Value, level: Level) -> Any:
        """The values repeated for each row of a level that holds that of the value."""
        if value.level in {level, Level.CONSTANT}:
            return value.values
        table = self._data.annotations
        return value.values[table.category_rows if value.level is Level.CATEGORY else table.image_rows]


def _maker(level: Level, extra: Extra, key: str) -> Callable[[], Value]:
    return lambda: Value(level, _column(extra[key]))


def _column(values: NDArray[np.object_]) -> NDArray[Any]:
    """An extra as numbers where it holds nothing else, else as objects; what is absent or null becomes NaN or None."""
    listed = [None if value is ABSENT else value for value in values.tolist()]
    kinds = {type(value) for value in listed}
    if kinds == {bool}:
        return np.array(listed, bool)
    if kinds and kinds <= {int, float, bool, type(None)} and kinds != {type(None)}:
        return np.array([np.nan if value is None else float(value) for value in listed], np.float64)
    column = np.empty(len(listed), object)
    for row, value in enumerate(listed):  # one by one: numpy would unpack lists
        column[row] = value
    return column
