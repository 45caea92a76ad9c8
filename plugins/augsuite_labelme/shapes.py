"""The rows of a dataset as LabelMe's files."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from augsuite.dataset import ABSENT, Dataset, rle
from augsuite.dataset.shapes import is_polygons, polygons
from augsuite.protocols import Losses
from augsuite_labelme import geometry
from augsuite_labelme.rows import BOX

_PREFIX = "labelme."
_VERSION = "5.5.0"
_OWN = {"label", "points", "shape_type", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth", "flags", BOX}
_SLACK = 1e-6  # pixels: a change of layout in float64 costs less
_DEFAULTS: dict[str, Any] = {"group_id": None, "description": "", "flags": {}}


class Shapes:
    """Makes one file's content after the other."""

    def __init__(self, data: Dataset, losses: Losses) -> None:
        self._data = data
        self._losses = losses
        table = data.annotations
        self._labels = data.categories.names[table.category_rows].tolist()
        self._corners = data.boxes().tolist()
        self._is_box = table.is_box.tolist()
        self._extra = _own(table.extra)
        nothing: list[Any] = [ABSENT] * len(table)
        self._types = self._extra.pop("shape_type", nothing)
        self._points = self._extra.pop("points", nothing)
        self._masks = self._extra.pop("mask", nothing)
        self._nothing = self._extra.pop("_nothing", nothing)
        self._segmentations = table.extra["segmentation"].tolist() if "segmentation" in table.extra else nothing
        self._scores = table.extra["score"].tolist() if "score" in table.extra else nothing
        self._image_extra = _own(data.images.extra)
        self._next_group = 0
        self._last: bytes | None = None

    def file(self, row: int, image: str) -> dict[str, Any]:
        """The content of the file of one image."""
        extra = {key: values[row] for key, values in self._image_extra.items() if values[row] is not ABSENT}
        rows = self._data.rows_of(row).tolist()
        said = extra.pop("flags", {})
        flags = {key: value for key, value in said.items() if value is not True} if isinstance(said, dict) else {}
        labels = [self._labels[at] for at in rows if not self._is_box[at]]
        self._losses["image labels"] += len(labels) - len(set(labels))
        chosen = set(labels)
        if isinstance(said, dict):
            flags = {key: key in chosen if value is True else value for key, value in said.items()}
        flags.update(dict.fromkeys(labels, True))
        loose = extra.pop("shapes", [])
        pixels = extra.pop("imageData", None)
        width, height = self._data.images.sizes[row].tolist()
        return {
            "version": extra.pop("_version", _VERSION),
            "flags": flags if flags or isinstance(said, dict) else said,
            "shapes": self._shapes(rows, loose),
            "imagePath": image,
            "imageData": None if self._data.images.files[row] else pixels,
            "imageHeight": height or None,
            "imageWidth": width or None,
            **self._checked(extra),
        }

    def _shapes(self, rows: list[int], loose: Any) -> list[dict[str, Any]]:
        groups = [value for value in self._groups(rows) if isinstance(value, int)]
        self._next_group = max(groups, default=0) + 1
        self._last = None
        shapes = [self._shape(row) for row in rows if self._is_box[row]]
        for row in rows:
            if not self._is_box[row]:
                self._count_unwritten(row)
        for kept in loose if isinstance(loose, list) else ():
            if isinstance(kept, dict) and isinstance(kept.get("at"), int):
                shapes.insert(kept["at"], [{key: value for key, value in kept.items() if key != "at"}])
        return [part for parts in shapes for part in parts]

    def _groups(self, rows: list[int]) -> list[Any]:
        column = self._extra.get("group_id")
        return [] if column is None else [column[row] for row in rows]

    def _count_unwritten(self, row: int) -> None:
        """A label of a whole image is a flag, which holds nothing but a name."""
        for key, values in self._extra.items():
            self._losses[_PREFIX + key] += values[row] is not ABSENT
        self._losses["segmentation"] += self._segmentations[row] is not ABSENT
        self._losses["score"] += self._scores[row] is not ABSENT

    def _shape(self, row: int) -> list[dict[str, Any]]:
        """The shape of one annotation; several for an object in several parts."""
        extra = {key: values[row] for key, values in self._extra.items() if values[row] is not ABSENT}
        nothing = self._nothing[row]
        others = dict(nothing) if isinstance(nothing, dict) else {} if extra else dict(_DEFAULTS)
        if self._scores[row] is not ABSENT:
            extra["score"] = self._scores[row]
        others.update(self._checked(extra, {"flags"}))
        if self._masks[row] is not ABSENT and self._types[row] is ABSENT:
            others["mask"] = self._masks[row]
        head = {"label": self._labels[row]}
        segmentation = self._segmentations[row]
        last, self._last = self._last, None
        if self._types[row] is not ABSENT:
            own = self._own_shape(row)
            if own:
                return [{**head, **own, **others}]
            self._losses["labelme.points"] += 1
            self._losses["labelme.shape_type"] += 1
        elif segmentation is not ABSENT and segmentation is not None:
            drawn = self._polygons(row) if is_polygons(segmentation) else self._mask(row)
            if drawn and drawn[0]["shape_type"] == "polygon":
                return self._grouped(head, drawn, others, last)
            if drawn:
                return [{**head, **others, **drawn[0]}]
            self._losses["segmentation"] += 1
        left, top, right, bottom = self._corners[row]
        return [{**head, "points": [[left, top], [right, bottom]], "shape_type": "rectangle", **others}]

    def _own_shape(self, row: int) -> dict[str, Any] | None:
        """A circle, turned rectangle and so on as it was read, unless its box has changed since."""
        kind, points = self._types[row], self._points[row]
        if not (isinstance(kind, str) and geometry.numbers(points)):
            return None
        try:
            around = geometry.extent(kind, points)
        except (ValueError, TypeError):
            return None
        own = {"points": points, "shape_type": kind}
        if self._masks[row] is not ABSENT:
            own["mask"] = self._masks[row]
        return own | self._unless_same(row, around) if kind == "mask" else own if self._same(row, around) else None

    def _polygons(self, row: int) -> list[dict[str, Any]]:
        value = self._segmentations[row]
        rings = polygons(value) or []
        said = bytes(value).count(b"[") - 1 if isinstance(value, msgspec.Raw) else len(value)
        if not rings or said != len(rings):
            return []
        xs = [x for ring in rings for x in ring[::2]]
        ys = [y for ring in rings for y in ring[1::2]]
        own = self._unless_same(row, (min(xs), min(ys), max(xs), max(ys)))
        return [
            {"points": list(zip(ring[::2], ring[1::2], strict=True)), "shape_type": "polygon", **own} for ring in rings
        ]

    def _grouped(
        self, head: dict[str, Any], drawn: list[dict[str, Any]], others: dict[str, Any], last: bytes | None
    ) -> list[dict[str, Any]]:
        """The parts of an object, as one group; a group of the object before it would make them one object."""
        if len(drawn) > 1 and not isinstance(others.get("group_id"), int):
            self._losses["labelme.group_id"] += others.get("group_id") is not None
            others = {**others, "group_id": self._next_group}
            self._next_group += 1
        if others.get("group_id") is not None:
            own = {key: value for key, value in drawn[0].items() if key != "points"}
            self._last = msgspec.json.encode({**head, **others, **own})
            self._losses["boxes"] += self._last == last
        return [{**head, **part, **others} for part in drawn]

    def _mask(self, row: int) -> list[dict[str, Any]]:
        """A mask, in the window of its box where that is whole and holds it; none where it is not of this image."""
        value = self._segmentations[row]
        found = rle.window(value)
        width, height = self._data.images.sizes[self._data.annotations.image_rows[row]].tolist()
        if found is None or not found[2].size or rle.size(value) != (width, height):
            return []
        left, top, pixels = rle.grown(*found, self._corners[row], width, height)
        right, bottom = left + pixels.shape[1], top + pixels.shape[0]
        points = [[float(left), float(top)], [float(right - 1), float(bottom - 1)]]
        own = self._unless_same(row, (left, top, right, bottom))
        return [{"points": points, "shape_type": "mask", "mask": geometry.encode_mask(pixels), **own}]

    def _same(self, row: int, around: geometry.Box) -> bool:
        return all(abs(mine - theirs) <= _SLACK for mine, theirs in zip(self._corners[row], around, strict=True))

    def _unless_same(self, row: int, around: geometry.Box) -> dict[str, Any]:
        """The box of a row, where it is not the extent of its shape."""
        return {} if self._same(row, around) else {BOX: self._corners[row]}

    def _checked(self, extra: dict[str, Any], but: Collection[str] = ()) -> dict[str, Any]:
        """Keys that a file can have beside its own."""
        result = {}
        for key, value in extra.items():
            if key in _OWN and key not in but:
                self._losses[_PREFIX + key] += 1
            else:
                result[key] = value
        return result


def _own(extra: Any) -> dict[str, list[Any]]:
    return {key.removeprefix(_PREFIX): values.tolist() for key, values in extra.items() if key.startswith(_PREFIX)}
