"""Labels as FiftyOne keeps them in MongoDB: plain dicts, made of arrays in pixels, and back.

FiftyOne counts in fractions of the image: a box is `[x, y, width, height]`, a point `[x, y]`. What a label has beyond its class's own
fields are attributes, plain values beside them. Nothing here imports FiftyOne.

Source: fiftyone.core.labels of FiftyOne 1.22; `Detection.mask` is `fiftyone.core.utils.serialize_numpy_array`.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bson import Binary, ObjectId
from numpy.typing import ArrayLike, NDArray

Document = dict[str, Any]
Attributes = Sequence[Mapping[str, Any]]

LISTS = {
    "Classifications": "classifications",
    "Detections": "detections",
    "Polylines": "polylines",
    "Keypoints": "keypoints",
}
"""The field that holds the labels of each class of lists of labels."""

RESERVED = frozenset(
    {
        "id",
        "label",
        "bounding_box",
        "mask",
        "mask_path",
        "confidence",
        "index",
        "instance",
        "tags",
        "attributes",
        "points",
        "closed",
    }
    | {"filled", "logits"}
)
"""Names that no attribute can have: FiftyOne's labels use them."""


def relative(boxes: ArrayLike, size: tuple[float, float]) -> list[list[float]]:
    """Boxes as FiftyOne writes them.

    Args:
        boxes: `(N, 4)` XYXY in pixels.
        size: width and height of the image; where one is 0, all boxes are zeros.

    Returns:
        N times x, y, width and height in fractions of the image.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    if min(size) <= 0:
        return [[0.0] * 4] * len(corners)
    extent = corners[:, 2:] - corners[:, :2]
    found: list[list[float]] = (np.hstack([corners[:, :2], extent]) / (*size, *size)).tolist()
    return found


def detections_document(
    boxes: ArrayLike,
    names: Sequence[str],
    size: tuple[float, float],
    scores: Sequence[float | None] | ArrayLike | None = None,
    extra: Attributes | None = None,
    *,
    masks: Sequence[NDArray[np.bool_] | None] | None = None,
    ids: Sequence[ObjectId] | None = None,
    tags: Sequence[Sequence[str]] | None = None,
) -> Document:
    """A `Detections`.

    Args:
        boxes: `(N, 4)` XYXY in pixels.
        names: `(N,)` of the classes.
        size: width and height of the image in pixels.
        scores: `(N,)` confidences in [0, 1]; None, as a whole or of one, for none.
        extra: for each box its further attributes.
        masks: for each box None or `(h, w)` bool, which FiftyOne stretches over the box.
        ids: of the labels; new ones by default.
        tags: for each box its tags.
    """
    return detections_of(relative(boxes, size), names, scores, extra, masks=masks, ids=ids, tags=tags)


def detections_of(
    boxes: Sequence[Sequence[float]],
    names: Sequence[str],
    scores: Sequence[float | None] | ArrayLike | None = None,
    extra: Attributes | None = None,
    *,
    masks: Sequence[NDArray[np.bool_] | None] | None = None,
    ids: Sequence[ObjectId] | None = None,
    tags: Sequence[Sequence[str]] | None = None,
) -> Document:
    """As `detections_document`, of boxes that are relative already."""
    labels = _labels("Detection", names, scores, extra, ids, tags)
    for label, box in zip(labels, boxes, strict=True):
        label["bounding_box"] = list(box)
    if masks is not None:
        for label, mask in zip(labels, masks, strict=True):
            if mask is not None:
                label["mask"] = mask_bytes(mask)
    return {"_cls": "Detections", "detections": labels}


def classification_document(
    name: str,
    score: float | None = None,
    extra: Mapping[str, Any] | None = None,
    *,
    id: ObjectId | None = None,  # noqa: A002 - FiftyOne's word
) -> Document:
    """A `Classification`: one label of the whole image."""
    return _labels("Classification", [name], [score], None if extra is None else [extra], None if id is None else [id])[
        0
    ]


def classifications_document(
    names: Sequence[str],
    scores: Sequence[float | None] | ArrayLike | None = None,
    extra: Attributes | None = None,
    *,
    ids: Sequence[ObjectId] | None = None,
) -> Document:
    """A `Classifications`: several labels of the whole image; arguments as in `detections_document`."""
    return {"_cls": "Classifications", "classifications": _labels("Classification", names, scores, extra, ids)}


def polylines_document(
    shapes: Sequence[Sequence[ArrayLike]],
    names: Sequence[str],
    size: tuple[float, float],
    scores: Sequence[float | None] | ArrayLike | None = None,
    extra: Attributes | None = None,
    *,
    closed: bool = True,
    filled: bool = True,
    ids: Sequence[ObjectId] | None = None,
) -> Document:
    """A `Polylines`.

    Args:
        shapes: for each object its rings, each `(P, 2)` or `[x, y, x, y, ...]` in pixels.
        names: see `detections_document`.
        size: see there.
        scores: see there.
        extra: see there.
        closed: whether the last point is joined to the first.
        filled: whether the inside is part of it.
        ids: see there.
    """
    labels = _labels("Polyline", names, scores, extra, ids)
    for label, rings in zip(labels, shapes, strict=True):
        label.update(points=[fractions(ring, size) for ring in rings], closed=closed, filled=filled)
    return {"_cls": "Polylines", "polylines": labels}


def keypoints_document(
    points: Sequence[ArrayLike] | NDArray[np.float64],
    names: Sequence[str],
    size: tuple[float, float],
    extra: Attributes | None = None,
    *,
    ids: Sequence[ObjectId] | None = None,
) -> Document:
    """A `Keypoints`.

    Args:
        points: for each object `(K, 3)` x, y in pixels and visibility as COCO has it: 0 not labelled, which FiftyOne writes as NaN,
            1 hidden, 2 visible; or `(K, 2)` without it. The visibility becomes the attribute `visibility`, a list of integers.
        names: see `detections_document`.
        size: see there.
        extra: see there.
        ids: see there.
    """
    labels = _labels("Keypoint", names, None, extra, ids)
    for label, given in zip(labels, points, strict=True):
        values = np.asarray(given, np.float64)
        places = values[:, :2].copy()
        if values.shape[1] > 2:
            places[values[:, 2] <= 0] = np.nan
            label["visibility"] = values[:, 2].astype(int).tolist()
        label["points"] = fractions(places, size)
    return {"_cls": "Keypoints", "keypoints": labels}


def labels_of(document: Mapping[str, Any] | None) -> list[Document]:
    """The labels of a document: those of a list, the label itself, none for None."""
    if document is None:
        return []
    place = LISTS.get(str(document.get("_cls")))
    return [dict(document)] if place is None else list(document.get(place) or [])


def in_pixels(points: Sequence[Sequence[float]], size: tuple[float, float]) -> NDArray[np.float64]:
    """`(P, 2)` points of a polyline or keypoint in pixels."""
    return np.asarray(points, np.float64).reshape(-1, 2) * size


def mask_bytes(mask: NDArray[np.bool_]) -> Binary:
    """A mask as FiftyOne stores it; equal for equal masks."""
    with io.BytesIO() as file:
        np.save(file, np.ascontiguousarray(mask, dtype=bool), allow_pickle=False)
        return Binary(zlib.compress(file.getvalue()))


def mask_of(content: bytes) -> NDArray[np.bool_]:
    """The `(h, w)` bool mask that FiftyOne stored; one of numbers is set where they are above 0."""
    found = np.load(io.BytesIO(zlib.decompress(content)), allow_pickle=False)
    return np.asarray(found > 0 if found.dtype != bool else found, bool)


def mask_in_box(window: tuple[int, int, NDArray[np.bool_]], box: Sequence[float]) -> NDArray[np.bool_]:
    """The pixels of an object that lie in its box, for `Detection.mask`.

    Args:
        window: left, top and `(h, w)` bool pixels.
        box: XYXY in pixels; pixels that it touches count as inside.

    Returns:
        `(H, W)` bool, at least one pixel large.
    """
    left, top, pixels = window
    x1, y1 = math.floor(box[0]), math.floor(box[1])
    width, height = max(math.ceil(box[2]) - x1, 1), max(math.ceil(box[3]) - y1, 1)
    mask = np.zeros((height, width), bool)
    x, y = left - x1, top - y1
    into = mask[max(y, 0) : max(y + pixels.shape[0], 0), max(x, 0) : max(x + pixels.shape[1], 0)]
    if into.size:
        into |= pixels[max(-y, 0) : max(-y, 0) + into.shape[0], max(-x, 0) : max(-x, 0) + into.shape[1]]
    return mask


def _labels(
    kind: str,
    names: Sequence[str],
    scores: Sequence[float | None] | ArrayLike | None,
    extra: Attributes | None,
    ids: Sequence[ObjectId] | None,
    tags: Sequence[Sequence[str]] | None = None,
) -> list[Document]:
    labels: list[Document] = [
        {
            "_id": ObjectId() if ids is None else ids[row],
            "_cls": kind,
            "tags": [] if tags is None else list(tags[row]),
            "label": str(name),
        }
        for row, name in enumerate(names)
    ]
    if kind != "Classification":
        for label in labels:
            label["attributes"] = {}
    if scores is not None:
        values = scores.tolist() if isinstance(scores, np.ndarray) else scores
        for label, score in zip(labels, values, strict=True):  # type: ignore[arg-type]  # an ArrayLike of one dimension
            if score is not None:
                label["confidence"] = float(score)
    if extra is not None:
        for label, more in zip(labels, extra, strict=True):
            label.update(more)
    return labels


def fractions(points: ArrayLike, size: tuple[float, float]) -> list[list[float]]:
    """Points, `(P, 2)` or `[x, y, x, y, ...]` in pixels, as FiftyOne writes them."""
    found: list[list[float]] = (
        np.asarray(points, np.float64).reshape(-1, 2) / (size if min(size) > 0 else 1.0)
    ).tolist()
    return found
