"""What changed between two datasets: images, boxes, classes, and everything else that a file may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.dataset.annotation_matching import Matching, match_annotations
from augsuite.dataset.files import with_sizes
from augsuite.dataset.findings import Place, annotation_places, image_places
from augsuite.dataset.image_matching import match_images
from augsuite.dataset.stats import Spread
from augsuite.dataset.tables import ABSENT, Dataset
from augsuite.errors import ConfigError

Rows = NDArray[np.int64]

TOLERANCE_PX = 1e-6
"""What a change of layout may move a box in float64."""


class Changed(msgspec.Struct, frozen=True):
    """A kind of change.

    Attributes:
        count: how many.
        places: the first of them.
    """

    count: int
    places: list[Place]


class ValueChange(msgspec.Struct, frozen=True):
    """How often a value changed, of those things that both datasets have.

    Attributes:
        changed: both say something, and not the same.
        added: only the second says something.
        removed: only the first does.
    """

    changed: int
    added: int
    removed: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What `diff` found. Where it says "removed", the first dataset has something that the second has not.

    Attributes:
        images: how many images the first and the second have.
        annotations: how many annotations they have.
        images_removed: with their annotations, which are not counted below.
        images_added: the same.
        images_renamed: images of another name or folder.
        splits_changed: images in another split.
        sizes_changed: images of another width or height.
        categories_removed: names.
        categories_added: names.
        same: annotations of one class whose boxes agree within the tolerance.
        moved: annotations of one class whose boxes overlap and do not agree.
        moved_px: by how much: the largest difference of a corner's coordinate, in pixels.
        moved_iou: the intersection over union of both boxes.
        relabelled: annotations of different classes whose boxes overlap.
        removed: annotations of the first that no annotation of the second matches.
        added: annotations of the second that none of the first matches.
        values: what else changed, by kind: `image ids`, `ignore`, `coco.area`, ...
    """

    images: tuple[int, int]
    annotations: tuple[int, int]
    images_removed: Changed
    images_added: Changed
    images_renamed: Changed
    splits_changed: Changed
    sizes_changed: Changed
    categories_removed: list[str]
    categories_added: list[str]
    same: int
    moved: Changed
    moved_px: Spread
    moved_iou: Spread
    relabelled: Changed
    removed: Changed
    added: Changed
    values: dict[str, ValueChange]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        kinds = [getattr(self, name) for name in self.__struct_fields__]
        changed = any(kind.count for kind in kinds if isinstance(kind, Changed))
        return not (changed or self.categories_added or self.categories_removed or self.values)


def diff(
    first: Dataset, second: Dataset, *, tolerance: float = TOLERANCE_PX, values: bool = True, places: int = 5
) -> Difference:
    """Compare two datasets.

    Images are paired by name (see `match_images`), categories by name. In an image, annotations of one class are paired from the
    largest overlap (intersection over union) down to 0.5, greedily; what then is left, whatever its class, in the same way: those were
    relabelled. Sizes that a dataset does not know are read from its image files.

    Args:
        first: the dataset before.
        second: the dataset after.
        tolerance: pixels that a coordinate may differ and still be the same.
        values: compare ids, `ignore` and extras, too.
        places: how many places to name for each kind of change.

    Raises:
        DataError: if boxes are stored as fractions of images whose size cannot be found.
        ConfigError: if the tolerance is negative or no number.
    """
    if not tolerance >= 0:
        raise ConfigError(f"tolerance: expected pixels from 0 up, got {tolerance:g}.")
    first, second = with_sizes(first), with_sizes(second)
    left, right = match_images(first, second)
    gone, come = np.setdiff1d(np.arange(len(first)), left), np.setdiff1d(np.arange(len(second)), right)
    matching, removed, added = match_annotations(first, second, left, right, tolerance)
    moved = np.flatnonzero(~matching.relabelled & (matching.px > tolerance))
    moved = moved[np.argsort(-matching.px[moved], kind="stable")]  # the farthest first
    other = np.flatnonzero(matching.relabelled)
    names, other_names = first.categories.names.tolist(), second.categories.names.tolist()
    renamed = np.flatnonzero(first.images.names[left] != second.images.names[right])
    resplit = np.flatnonzero(first.images.splits[left] != second.images.splits[right])
    resized = np.flatnonzero((first.images.sizes[left] != second.images.sizes[right]).any(axis=1))
    return Difference(
        images=(len(first), len(second)),
        annotations=(len(first.annotations), len(second.annotations)),
        images_removed=Changed(len(gone), image_places(first, gone[:places].tolist())),
        images_added=Changed(len(come), image_places(second, come[:places].tolist())),
        images_renamed=_images(
            first,
            left,
            renamed[:places],
            len(renamed),
            [f"now {second.images.names[row]}" for row in right[renamed[:places]]],
        ),
        splits_changed=_images(
            first,
            left,
            resplit[:places],
            len(resplit),
            [f"now {second.images.splits[row] or '(none)'}" for row in right[resplit[:places]]],
        ),
        sizes_changed=_images(
            first,
            left,
            resized[:places],
            len(resized),
            [
                "{} x {}, now {} x {}".format(*first.images.sizes[left[row]], *second.images.sizes[right[row]])
                for row in resized[:places]
            ],
        ),
        categories_removed=[name for name in names if name not in set(other_names)],
        categories_added=[name for name in other_names if name not in set(names)],
        same=len(matching.first) - len(moved) - len(other),
        moved=Changed(
            len(moved),
            annotation_places(
                first,
                matching.first[moved[:places]],
                [
                    f"{_category(first, matching.first[pair])} by {matching.px[pair]:.4g} px, IoU {matching.iou[pair]:.3f}"
                    for pair in moved[:places]
                ],
            ),
        ),
        moved_px=_spread(matching.px[moved]),
        moved_iou=_spread(matching.iou[moved]),
        relabelled=Changed(
            len(other),
            annotation_places(
                first,
                matching.first[other[:places]],
                [
                    f"{_category(first, matching.first[pair])}, now {_category(second, matching.second[pair])}, "
                    f"IoU {matching.iou[pair]:.3f}"
                    for pair in other[:places]
                ],
            ),
        ),
        removed=Changed(len(removed), annotation_places(first, removed[:places])),
        added=Changed(len(added), annotation_places(second, added[:places])),
        values=_values(first, second, left, right, matching) if values else {},
    )


def _images(data: Dataset, left: Rows, pairs: Rows, count: int, said: list[str]) -> Changed:
    return Changed(count, image_places(data, left[pairs].tolist(), said))


def _category(data: Dataset, row: int) -> str:
    return str(data.categories.names[data.annotations.category_rows[row]])


def _spread(values: NDArray[np.float64]) -> Spread:
    if not len(values):
        return Spread(0.0, 0.0, 0.0, 0.0)
    return Spread(float(values.min()), float(np.median(values)), float(values.mean()), float(values.max()))


def _values(first: Dataset, second: Dataset, left: Rows, right: Rows, matching: Matching) -> dict[str, ValueChange]:
    there = {name: row for row, name in enumerate(second.categories.names)}
    shared = [(row, there[name]) for row, name in enumerate(first.categories.names) if name in there]
    categories = np.array(shared, np.int64).reshape(-1, 2)
    result: dict[str, ValueChange] = {}
    tables = (
        ("image ids", first.images, second.images, left, right),
        ("category ids", first.categories, second.categories, categories[:, 0], categories[:, 1]),
        ("annotation ids", first.annotations, second.annotations, matching.first, matching.second),
    )
    for kind, one, other, rows, others in tables:
        _add(result, kind, one.ids[rows], other.ids[others])
        for key in dict.fromkeys((*one.extra, *other.extra)):
            _add(result, key, _column(one.extra, key, rows), _column(other.extra, key, others))
    ignore = first.annotations.ignore[matching.first], second.annotations.ignore[matching.second]
    _add(result, "ignore", *ignore)
    for key in dict.fromkeys((*first.extra, *second.extra)):
        _add(result, key, [first.extra.get(key, ABSENT)], [second.extra.get(key, ABSENT)])
    return result


def _column(extra: Mapping[str, NDArray[np.object_]], key: str, rows: Rows) -> list[Any]:
    return extra[key][rows].tolist() if key in extra else [ABSENT] * len(rows)


def _add(result: dict[str, ValueChange], kind: str, one: Any, other: Any) -> None:
    """Count what differs in two columns of one length."""
    one, other = (side.tolist() if isinstance(side, np.ndarray) else side for side in (one, other))
    if one == other:  # in C, and mostly so
        return
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not b and a != b]
    added = sum(a is ABSENT for a, _ in pairs)
    removed = sum(b is ABSENT for _, b in pairs)
    changed = sum(a is not ABSENT and b is not ABSENT and _plain(a) != _plain(b) for a, b in pairs)
    if added or removed or changed:
        before = result.get(kind, ValueChange(0, 0, 0))
        result[kind] = ValueChange(before.changed + changed, before.added + added, before.removed + removed)


def _plain(value: Any) -> Any:
    """A value as it is compared: JSON decoded, so that its spelling does not count."""
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
