"""The rows of a dataset as CVAT's shapes."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from augsuite.dataset import ABSENT, Dataset, rle
from augsuite.dataset.shapes import Polygons, is_polygons, polygons
from augsuite.protocols import Losses
from augsuite_cvat import geometry
from augsuite_cvat.elements import TAG, attribute, text, written

_PREFIX = "cvat."
_SPECIAL = ("cvat.shape", "cvat.geometry", "cvat.attributes")
_FIRST = ("source", "occluded")  # CVAT's order: these before the place, the rest after it
_OWN = {"label", "parts", "points", "rle", *geometry.CORNERS}
_TOKEN = re.compile(r"[^\[\],\s]+")
_SLACK = 1e-6  # pixels: a change of layout in float64 costs less


class Shapes:
    """Writes the shapes of one image after the other."""

    def __init__(self, data: Dataset, labels: list[str], losses: Losses) -> None:
        self._data = data
        self._losses = losses
        table = data.annotations
        self._labels = [labels[row] for row in table.category_rows]
        self._corners = data.boxes().tolist()
        self._is_box = table.is_box.tolist()
        columns = {key: values.tolist() for key, values in table.extra.items() if key.startswith(_PREFIX)}
        named = {key.removeprefix(_PREFIX): values for key, values in columns.items() if key not in _SPECIAL}
        self._before = [(key, named[key]) for key in _FIRST if key in named]
        self._after = [(key, values) for key, values in named.items() if key not in _FIRST]
        nothing: list[Any] = [ABSENT] * len(table)
        self._shapes, self._geometries, self._attributes = (columns.get(key, nothing) for key in _SPECIAL)
        self._parts = named.get("points", nothing)
        self._groups = named.get("group_id", nothing)
        self._next_group = max((group for group in self._groups if isinstance(group, int)), default=0) + 1
        self._segmentations = table.extra["segmentation"].tolist() if "segmentation" in table.extra else nothing

    def written(self, image_row: int, loose: Any) -> str:
        """The shapes of an image, those without a box in their places among the others."""
        result = [self._shape(int(row)) for row in self._data.rows_of(image_row)]
        for kept in loose if isinstance(loose, list) else ():
            if isinstance(kept, dict) and isinstance(kept.get("at"), int):
                shape = "".join(written(tag, value, self._losses, 2) for tag, value in kept.items() if tag != "at")
                result.insert(kept["at"], shape)
        return "".join(result)

    def _shape(self, row: int) -> str:
        first = f' label="{self._labels[row]}"' + self._said(self._before, row)
        last = self._said(self._after, row)
        inner = self._inner(row)
        segmentation = self._segmentations[row]
        if not self._is_box[row]:
            self._losses["segmentation"] += segmentation is not ABSENT
            return _shape("tag", first + last, inner)
        if self._shapes[row] is not ABSENT:
            own = self._own_shape(row)
            if own:
                return _shape(own[0], first + own[1] + last, inner)
            self._losses["cvat.shape"] += 1
        if segmentation is not ABSENT and segmentation is not None:
            drawn = (
                self._polygons(row, first, last, inner)
                if is_polygons(segmentation)
                else self._mask(row, first, last, inner)
            )
            if drawn:
                return drawn
            self._losses["segmentation"] += 1
        return _shape("box", first + _corners(self._corners[row]) + last, inner)

    def _own_shape(self, row: int) -> tuple[str, str] | None:
        """An ellipse, cuboid, skeleton or turned box as it was read, unless its box has changed since."""
        tag, numbers, parts = self._shapes[row], self._geometries[row], self._parts[row]
        numbers = numbers if isinstance(numbers, dict) else {}
        try:
            around = geometry.extent(tag, numbers, None if parts is ABSENT else parts)
        except (ValueError, TypeError, AttributeError):
            return None
        if around is None or not np.allclose(around, self._corners[row], rtol=0, atol=_SLACK):
            return None
        return tag, "".join(
            f' {key}="{attribute(str(numbers[key]), self._losses)}"'
            for key in geometry.GEOMETRY.get(tag, ())
            if key in numbers
        )

    def _polygons(self, row: int, first: str, last: str, inner: str) -> str:
        """One polygon for each part; "" where there is none."""
        value = self._segmentations[row]
        rings = polygons(value) or []
        said = bytes(value).count(b"[") - 1 if isinstance(value, msgspec.Raw) else len(value)
        if not rings or said != len(rings):
            return ""
        xs = [x for ring in rings for x in ring[::2]]
        ys = [y for ring in rings for y in ring[1::2]]
        box = self._unless_same(row, (min(xs), min(ys), max(xs), max(ys)))
        if len(rings) > 1:
            if not isinstance(self._groups[row], int):
                last += f' group_id="{self._next_group}"'
                self._next_group += 1
            box = f' parts="{len(rings)}"{box}'
        drawn = [
            _shape("polygon", f'{first}{box if not part else ""} points="{_points(ring)}"{last}', "" if part else inner)
            for part, ring in enumerate(_texts(value, rings))
        ]
        return "".join(drawn)

    def _mask(self, row: int, first: str, last: str, inner: str) -> str:
        """A mask, in the window of its box where that is whole and holds it; "" where it is none of this image."""
        value = self._segmentations[row]
        found = rle.window(value)
        width, height = self._data.images.sizes[self._data.annotations.image_rows[row]].tolist()
        if found is None or not found[2].size or rle.size(value) != (width, height):
            return ""
        left, top, pixels = rle.grown(*found, self._corners[row], width, height)
        box = self._unless_same(row, (left, top, left + pixels.shape[1], top + pixels.shape[0]))
        runs = ", ".join(map(str, rle.runs(pixels)))
        place = f' rle="{runs}" left="{left}" top="{top}" width="{pixels.shape[1]}" height="{pixels.shape[0]}"'
        return _shape("mask", first + box + place + last, inner)

    def _unless_same(self, row: int, around: tuple[float, float, float, float]) -> str:
        """The box of a row as attributes, where it is not the extent of its shape."""
        own = self._corners[row]
        if all(abs(mine - theirs) <= _SLACK for mine, theirs in zip(own, around, strict=True)):
            return ""
        return _corners(own)

    def _said(self, columns: list[tuple[str, list[Any]]], row: int) -> str:
        """Extras that are text or whole numbers, as attributes."""
        result = ""
        for key, values in columns:
            value = values[row]
            if type(value) is str or type(value) is int:
                if key in _OWN or not TAG.fullmatch(key):
                    self._losses[_PREFIX + key] += 1
                else:
                    result += f' {key}="{attribute(str(value), self._losses)}"'
        return result

    def _inner(self, row: int) -> str:
        """Attributes that the annotator chose, and extras that are elements."""
        result = ""
        chosen = self._attributes[row]
        if isinstance(chosen, dict | list):
            pairs = chosen.items() if isinstance(chosen, dict) else (pair for pair in chosen if len(pair) == 2)
            for name, value in pairs:
                said = text(str(value), self._losses)
                result += f'      <attribute name="{attribute(str(name), self._losses)}">{said}</attribute>\n'
        for key, values in (*self._before, *self._after):
            value = values[row]
            if isinstance(value, dict | list):
                result += written(key, value, self._losses, 3)
            elif value is not ABSENT and type(value) not in {str, int}:
                self._losses[_PREFIX + key] += 1
        return result


def _shape(tag: str, attributes: str, inner: str) -> str:
    return f"    <{tag}{attributes}>\n{inner}    </{tag}>\n" if inner else f"    <{tag}{attributes}/>\n"


def _corners(box: list[float]) -> str:
    left, top, right, bottom = box
    return f' xtl="{_number(left)}" ytl="{_number(top)}" xbr="{_number(right)}" ybr="{_number(bottom)}"'


def _texts(value: Any, rings: Polygons) -> list[list[str]]:
    """The numbers of some rings as text: as they were read, where that text is still there."""
    if not isinstance(value, msgspec.Raw):
        return [[_number(number) for number in ring] for ring in rings]
    tokens = iter(_TOKEN.findall(bytes(value).decode()))
    return [list(islice(tokens, len(ring))) for ring in rings]


def _points(ring: list[str]) -> str:
    return ";".join([f"{x},{y}" for x, y in zip(ring[::2], ring[1::2], strict=True)])


def _number(value: float) -> str:
    """Two decimals, as CVAT writes them, or as many as it takes to be read back."""
    short = f"{value:.2f}"
    return short if float(short) == value else repr(value)
