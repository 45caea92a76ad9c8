"""Repair what can be repaired without a guess, and say what was done."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout, convert
from augsuite.dataset.file_checks import wrong_sizes
from augsuite.dataset.inspection import Inspection
from augsuite.dataset.table_checks import BoxFaults, Mask, box_faults
from augsuite.dataset.tables import ABSENT, Dataset
from augsuite.dataset.validation import sizes_of


class Fix(msgspec.Struct, frozen=True):
    """One kind of repair.

    Attributes:
        code: the finding that it answers.
        count: how many were repaired.
        what: what was done.
    """

    code: str
    count: int
    what: str


def fix(
    data: Dataset, inspection: Inspection | None = None, *, drop_images: bool = False
) -> tuple[Dataset, Inspection | None, list[Fix]]:
    """Repair a dataset.

    In this order: images without a usable file are dropped (only if asked for); sizes are corrected from the files; annotations
    without area, wholly outside, and those that repeat another one are dropped; boxes that reach out are clipped. All other boxes stay
    as they are, bit by bit, and so do shapes (`segmentation`) and all other extras, also of a box that is clipped; but an `area` that was
    the box's goes, for writers to compute anew.

    Left alone, because the right answer cannot be known: a size that differs from the file's where a box inside the one would not be
    inside the other (the file was scaled, and its boxes were not); images whose size is that before EXIF turns them; boxes that nearly
    repeat another one; and annotations that repeat another one but have other extras.

    Args:
        data: the dataset.
        inspection: of its image files; without, only boxes are repaired.
        drop_images: drop images whose file is missing, unreadable or damaged, with their annotations.

    Returns:
        The repaired dataset, the inspection of its images, and what was done.
    """
    done: list[Fix] = []
    if inspection is not None:
        if drop_images:
            data, inspection = _drop_images(data, inspection, done)
        data = _correct_sizes(data, inspection, done)
    sizes = sizes_of(data, inspection)
    uncertain = _uncertain(data, inspection)
    faults = box_faults(data, sizes)
    keep = np.ones(len(data.annotations), bool)
    for code, mask, what in (
        ("empty-box", faults.empty, "dropped boxes without area"),
        ("box-outside", faults.outside & ~uncertain, "dropped boxes wholly outside their image"),
        ("repeated-annotation", _says_nothing_new(data, faults), "dropped annotations that repeat another one"),
    ):
        _say(done, code, int((mask & keep).sum()), what)
        keep &= ~mask
    clip = faults.reaching & ~uncertain & keep
    _say(done, "box-reaches-out", int(clip.sum()), "clipped boxes to their image")
    table = data.annotations
    boxes = table.boxes.copy()
    own = sizes[table.image_rows[clip]]
    limits = np.concatenate([own, own], axis=1)
    boxes[clip] = convert(np.clip(faults.corners[clip], 0, limits), Layout.XYXY_PX, table.layout, own)
    extra = {
        key: _without_area(values, clip, faults) if _is_area(key) else values for key, values in table.extra.items()
    }
    return replace(data, annotations=replace(table, boxes=boxes, extra=extra).take(keep)), inspection, done


def _is_area(key: str) -> bool:
    return key.rpartition(".")[2] == "area"


def _without_area(values: NDArray[np.object_], clip: Mask, faults: BoxFaults) -> NDArray[np.object_]:
    """Take away areas that are those of a box before it was clipped; a shape's own area stays."""
    values = values.copy()
    for row in np.flatnonzero(clip).tolist():
        left, top, right, bottom = faults.corners[row].tolist()
        if isinstance(values[row], int | float) and math.isclose(
            values[row], (right - left) * (bottom - top), rel_tol=1e-3
        ):
            values[row] = ABSENT
    return values


def _say(done: list[Fix], code: str, count: int, what: str) -> None:
    if count:
        done.append(Fix(code, count, what))


def _drop_images(data: Dataset, found: Inspection, done: list[Fix]) -> tuple[Dataset, Inspection]:
    sound = found.conditions <= 1  # a doubtful one is mostly harmless
    rows = np.flatnonzero(sound)
    lost = int((~sound[data.annotations.image_rows]).sum())
    _say(
        done,
        "image-unreadable",
        int((~sound).sum()),
        f"dropped images that are missing, unreadable or damaged, with {lost:,} annotations",
    )
    kept = Inspection(*(getattr(found, each.name)[rows] for each in fields(found)))
    return data.take(rows), kept


def _correct_sizes(data: Dataset, found: Inspection, done: list[Fix]) -> Dataset:
    differs = _correctable(data, found)
    if not differs.any():
        return data
    _say(done, "size-mismatch", int(differs.sum()), "took the size of the image from its file")
    sizes = np.where(differs[:, None], found.sizes, data.images.sizes)
    return replace(data, images=replace(data.images, sizes=sizes))


def _correctable(data: Dataset, found: Inspection) -> Mask:
    """Images whose size is wrong, and whose boxes fit the file as well as they fit the size said."""
    differs, _ = wrong_sizes(data, found)
    if data.annotations.layout.unit:
        return differs
    said, true = (box_faults(data, sizes) for sizes in (data.images.sizes, found.sizes))
    worse = (true.outside | true.reaching) & ~(said.outside | said.reaching)
    unfit = np.bincount(data.annotations.image_rows[worse], minlength=len(data)) > 0
    return np.asarray(differs & ~unfit)


def _uncertain(data: Dataset, found: Inspection | None) -> Mask:
    """`(N,)` annotations of images whose size is still in doubt: nothing is cut off them."""
    if found is None:
        return np.zeros(len(data.annotations), bool)
    differs, turned = wrong_sizes(data, found)
    return np.asarray((differs | turned)[data.annotations.image_rows])


def _says_nothing_new(data: Dataset, faults: BoxFaults) -> Mask:
    """Of the annotations that repeat another one those whose extras are equal, too."""
    table = data.annotations
    rows = np.flatnonzero(faults.repeated)
    result = faults.repeated.copy()
    if not len(rows) or not table.extra:
        return result
    concerned = np.flatnonzero(np.isin(table.image_rows, table.image_rows[rows]))
    seen: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in concerned.tolist():
        place = (
            table.image_rows[row].item(),
            table.category_rows[row].item(),
            bool(table.ignore[row]),
            (table.boxes[row] + 0.0).tobytes(),
        )
        extras = {key: values[row] for key, values in table.extra.items()}
        earlier = seen.setdefault(place, [])
        if extras in earlier:
            continue
        earlier.append(extras)
        result[row] = False
    return result
