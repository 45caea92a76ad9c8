"""Datasets of FiftyOne that augsuite did not make: one label field of one class becomes the tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset.checks import Intake
from augsuite.dataset.tables import ABSENT, Annotations, Categories, Dataset, Extra, Images
from augsuite.errors import ConfigError, nearest
from augsuite_fiftyone.attributes import FAMILIAR, OF_LABELS, OF_SAMPLES, plain
from augsuite_fiftyone.labels import labels_of
from augsuite_fiftyone.outlines import keypoints_value, mask_value, polygon_value
from augsuite_fiftyone.views import documents, size_of

_KINDS = (
    "Detections",
    "Classifications",
    "Classification",
    "Polylines",
    "Keypoints",
    "Detection",
    "Polyline",
    "Keypoint",
)
_SPLITS = ("train", "validation", "val", "valid", "test")
_USUAL = "ground_truth"


def load(dataset: Any, field: str, intake: Intake) -> Dataset:
    """Read one label field of a dataset or view.

    Boxes stay in fractions, as FiftyOne holds them. Confidences are the extra `score`, masks and polylines `segmentation`, keypoints
    `coco.keypoints`, `iscrowd` and `difficult` the column `ignore`; other attributes keep the name they have in COCO or VOC, or are
    `fiftyone.<name>`. A tag such as `train` is the split.

    Args:
        dataset: the dataset or view; of groups, the active slice is read.
        field: its name; "" for the only one, or `ground_truth`.
        intake: takes invalid labels.

    Raises:
        ConfigError: if there is no such field, or several and none was named; if these are no images.
        DataError: if a label is invalid.
    """
    whole = getattr(dataset, "_dataset", dataset)
    _check_media(dataset, whole.name, intake)
    schema = dataset.get_field_schema()
    chosen = _field(schema, field, whole.name)
    others = [name for name in schema if name not in OF_SAMPLES and not _label_class(schema[name])]
    wanted = [name for name in ("filepath", "tags", "metadata", "split", chosen) if name in schema]
    found = list(documents(dataset, [*wanted, *others]))
    names: list[str] = []
    boxes: list[Sequence[float]] = []
    image_rows: list[int] = []
    ignore: list[bool] = []
    extras: list[dict[str, Any]] = []
    sizes = [size_of(document) for document in found]
    for row, document in enumerate(found):
        for label in labels_of(document.get(chosen)):
            problem = problem_of(label)
            if problem:
                intake.reject(f"{whole.name}: {document.get('filepath')}: {chosen}", problem)
                continue
            extra: dict[str, Any] = {}
            if label.get("confidence") is not None and not isinstance(label["confidence"], list):
                extra["score"] = label["confidence"]
            box = _shaped(label, sizes[row], extra)
            add_others(extra, label, OF_LABELS)
            image_rows.append(row)
            names.append(str(label.get("label") or ""))
            boxes.append(box)
            ignore.append(bool(label.get("iscrowd") or label.get("difficult")))
            extras.append(extra)
    known = whole.classes.get(chosen) or whole.default_classes or []
    categories = list(dict.fromkeys([*map(str, known), *sorted(set(names))]))
    row_of = {name: row for row, name in enumerate(categories)}
    files = [str(document["filepath"]) for document in found]
    return Dataset(
        Images.of(
            [Path(file).name for file in files],
            np.array(sizes, np.int64).reshape(-1, 2),
            None,
            [_split(document) for document in found],
            files,
            columns(
                [
                    {f"fiftyone.{name}": plain(document[name]) for name in others if document.get(name) is not None}
                    for document in found
                ],
                [],
            ),
        ),
        Categories.of(categories),
        Annotations.of(
            image_rows,
            [row_of[name] for name in names],
            np.array(boxes, np.float64).reshape(-1, 4),
            Layout.XYWH_UNIT,
            None,
            ignore,
            columns(extras, []),
        ),
        Path("/"),
    )


def problem_of(label: Mapping[str, Any], *, known: bool = False) -> str:
    """Why a label cannot become an annotation; "" where it can.

    Args:
        label: as FiftyOne holds it, which checks no values.
        known: whether augsuite stored it; then its class may be empty and its box as it was.
    """
    if not known and not label.get("label"):
        return "expected a class, got a label without one"
    if label.get("_cls") != "Detection":
        return ""
    box = label.get("bounding_box")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(each, int | float) for each in box):
        return f"expected a box of 4 numbers, got {box}"
    if not all(map(math.isfinite, box)):
        return f"expected a box of finite numbers, got {box}"
    return "" if known or min(box[2:]) >= 0 else f"expected a width and height of 0 or more, got {box[2:]}"


def _check_media(dataset: Any, name: str, intake: Intake) -> None:
    kind = dataset.media_type
    if kind == "group":
        left = [each for each in dataset.group_slices if each != dataset.group_slice]
        if left:
            intake.note(
                f"{name}: of its groups only the slice {dataset.group_slice!r} was read, not {', '.join(left)}; save a view of others"
            )
        kind = dataset.group_media_types.get(dataset.group_slice)
    if kind not in {"image", None}:
        raise ConfigError(f"{name}: holds media of the kind {kind!r}. Only images can be read.")


def add_others(extra: dict[str, Any], label: Mapping[str, Any], own: Collection[str]) -> None:
    """Add the attributes of a label that are not our own, and its tags, to its extras."""
    for name, value in label.items():
        if name in own or name.startswith("_") or value is None:
            continue
        value = plain(value)  # noqa: PLW2901 - what of it an extra can hold
        if value is not ABSENT:
            extra.setdefault(FAMILIAR.get(name, f"fiftyone.{name}"), value)
    if label.get("tags"):
        extra["fiftyone.tags"] = list(label["tags"])


def columns(rows: Sequence[Mapping[str, Any]], first: Sequence[str]) -> Extra:
    """Rows of extras as columns, those of `first` in any case and first; ABSENT where a row has none."""
    keys = dict.fromkeys([*first, *(key for row in rows for key in row)])
    found: dict[str, NDArray[np.object_]] = {key: np.full(len(rows), ABSENT, object) for key in keys}
    for place, row in enumerate(rows):
        for key, value in row.items():
            found[key][place] = value
    return found


def numbered(ids: Sequence[int | None]) -> NDArray[np.int64]:
    """Ids, where None and a repeated one get the next free number."""
    last = max((number for number in ids if number is not None), default=0)
    seen: set[int] = set()
    found = []
    for number in ids:
        if number is None or number in seen:
            last += 1
            found.append(last)
        else:
            found.append(number)
        seen.add(found[-1])
    return np.array(found, np.int64)


def _field(schema: Mapping[str, Any], wanted: str, name: str) -> str:
    able = [field for field, kind in schema.items() if _label_class(kind) in _KINDS]
    if wanted:
        if wanted not in able:
            raise ConfigError(f"{name}: no label field {wanted!r} that can be read. {nearest(wanted, able)}")
        return wanted
    if len(able) == 1:
        return able[0]
    if _USUAL in able:
        return _USUAL
    said = (
        f"several label fields: {', '.join(able)}"
        if able
        else "no field of detections, classifications, polylines or keypoints"
    )
    raise ConfigError(f"{name}: has {said}. Say which to read with --option field=NAME.")


def _label_class(kind: Any) -> str:
    """The class of the labels of a field; "" for a field of plain values."""
    document = getattr(kind, "document_type", None)
    return "" if document is None else str(document.__name__)


def _shaped(label: Mapping[str, Any], size: tuple[int, int], extra: dict[str, Any]) -> Sequence[float]:
    """The box of a label in fractions, NaN for one of the whole image; what it has beyond goes into its extras."""
    kind = label.get("_cls")
    if kind == "Classification":
        return (np.nan,) * 4
    if kind == "Polyline":
        value = polygon_value(label, size) if all(size) else ABSENT
        if value is not ABSENT:
            extra["segmentation"] = value
        return around(label)
    if kind == "Keypoint":
        if all(size):
            extra["coco.keypoints"] = keypoints_value(label, size)
        return around(label)
    box = [float(value) for value in label["bounding_box"]]
    if label.get("mask") is not None and all(size):
        corners = [box[0] * size[0], box[1] * size[1], (box[0] + box[2]) * size[0], (box[1] + box[3]) * size[1]]
        value = mask_value(label["mask"], corners, size)
        if value is not ABSENT:
            extra["segmentation"] = value
    return box


def around(label: Mapping[str, Any]) -> list[float]:
    """A box around a polyline or keypoints, in fractions; zeros where there is no point."""
    points = label.get("points") or []
    listed = [point for ring in points for point in ring] if label.get("_cls") == "Polyline" else points
    flat = np.asarray(listed, np.float64).reshape(-1, 2)
    flat = flat[np.isfinite(flat).all(axis=1)]
    if not len(flat):
        return [0.0] * 4
    low, high = flat.min(axis=0), flat.max(axis=0)
    found: list[float] = [*low.tolist(), *(high - low).tolist()]
    return found


def _split(document: Mapping[str, Any]) -> str:
    said = document.get("split")
    if isinstance(said, str):
        return said
    found = [tag for tag in document.get("tags") or [] if tag in _SPLITS]
    return found[0] if len(found) == 1 else ""
