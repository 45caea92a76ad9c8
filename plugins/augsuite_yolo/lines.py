"""Objects to lines, and lines to label files: many at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from augsuite.boxes import Boxes, Layout, convert
from augsuite.dataset import ABSENT, UNREAD
from augsuite.dataset.shapes import is_polygons, polygons, rectangle

NEAR_PX = 1e-6
CUT = "boxes cut to the image"
REDRAWN = "boxes drawn anew around their polygons"
_DIGITS = 15  # as many as a decimal keeps through a float64, so that the numbers of a file come out as they went in


@dataclass(frozen=True)
class Batch:
    """Some images and their objects, for one process.

    Attributes:
        folder: where to write.
        paths: of the label files, relative to `folder`.
        counts: `(I,)` objects of each.
        classes: `(N,)` int64.
        boxes: `(N, 4)` float64 in `layout`.
        layout: of the boxes.
        sizes: `(N, 2)` int64 width and height of each object's image.
        extra: `score`, `segmentation`, `yolo.keypoints` -> `(N,)` values; those that are to be written.
        shapes: `none`, `some`: a polygon where there is one; or `all`: a rectangle where there is none.
        keypoints: how many numbers follow the box in a pose dataset; 0 in others.
        clip: cut what reaches too far out; see `fit`.
    """

    folder: str
    paths: Sequence[str]
    counts: NDArray[np.int64]
    classes: NDArray[np.int64]
    boxes: Boxes
    layout: Layout
    sizes: NDArray[np.int64]
    extra: Mapping[str, NDArray[np.object_]]
    shapes: str
    keypoints: int
    clip: bool


def write_batch(batch: Batch) -> Counter[str]:
    """Write label files into folders that exist; gives what is lost."""
    lost: Counter[str] = Counter()
    boxes = convert(batch.boxes, batch.layout, Layout.CXCYWH_UNIT, batch.sizes)
    if batch.clip:
        boxes, lost[CUT] = fit(boxes, batch.sizes)
    if batch.extra or batch.shapes != "none":
        text = encode(_rows(batch, boxes, lost))
    else:
        text = encode(list(zip(batch.classes.tolist(), *boxes.T.tolist(), strict=True)))
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")) + 1
    bounds = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(batch.counts)])].tolist()
    folder = os.open(batch.folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for path, first, last in zip(batch.paths, bounds, bounds[1:], strict=False):
            # `open` would cost more than all the rest
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=folder)
            try:
                _write_all(handle, text[first:last])
            finally:
                os.close(handle)
    finally:
        os.close(folder)
    return lost


def _write_all(handle: int, text: bytes) -> None:
    while text:
        text = text[os.write(handle, text) :]


def encode(rows: Sequence[Sequence[float]]) -> bytes:
    """A line for each row; each number in the fewest digits that read back as the same float64."""
    if not rows:
        return b""
    return msgspec.json.encode(rows)[2:-2].replace(b"],[", b"\n").replace(b",", b" ") + b"\n"


def fit(boxes: Boxes, sizes: NDArray[np.int64]) -> tuple[Boxes, int]:
    """Cut what Ultralytics refuses: a centre, width or height that as float32 is not within [0, 1].

    A box that reaches over the border a little is none of those, and stays.

    Args:
        boxes: `(N, 4)` centre, width and height as fractions.
        sizes: `(N, 2)` of each box's image; zeros where not known.

    Returns:
        The boxes, and how many were moved by more than `NEAR_PX`.

    Source: Ultralytics, `ultralytics.data.utils.verify_image_label`.
    """
    narrow = boxes.astype(np.float32)
    rows = np.flatnonzero(((narrow < 0) | (narrow > 1)).any(axis=1))
    if not len(rows):
        return boxes, 0
    center, half = boxes[rows, :2], boxes[rows, 2:] / 2
    corners = np.concatenate([center - half, center + half], axis=1)
    cut = np.clip(corners, 0, 1)
    moved = np.abs(cut - corners) * np.maximum(np.tile(sizes[rows], 2), 1) > NEAR_PX
    result = boxes.copy()
    result[rows] = np.concatenate([(cut[:, :2] + cut[:, 2:]) / 2, cut[:, 2:] - cut[:, :2]], axis=1)
    return result, int(moved.any(axis=1).sum())


def _rows(batch: Batch, boxes: Boxes, lost: Counter[str]) -> list[list[float]]:
    count = len(batch.classes)
    nothing = [ABSENT] * count
    columns = [
        batch.extra[key].tolist() if key in batch.extra else nothing
        for key in ("segmentation", "yolo.keypoints", "score")
    ]
    rows = []
    for label, box, size, shape, points, score in zip(
        batch.classes.tolist(), boxes.tolist(), batch.sizes.tolist(), *columns, strict=True
    ):
        row = [label, *box]
        if batch.keypoints:
            row += _keypoints(points, batch.keypoints, lost)
        elif batch.shapes == "all" or (batch.shapes == "some" and is_polygons(shape)):
            row = [label, *_ring(box, size, shape, batch, lost)]
        if isinstance(score, int | float) and 0 <= score <= 1:
            row.append(score)
        elif score is not ABSENT and score is not UNREAD:
            lost["score"] += 1
        rows.append(row)
    return rows


def _keypoints(points: Any, count: int, lost: Counter[str]) -> list[float]:
    if points is ABSENT or points is UNREAD:
        return []
    if isinstance(points, list | tuple) and len(points) == count and np.isfinite(points).all():
        return list(points)
    lost["yolo.keypoints"] += 1
    return []


def _ring(box: list[float], size: list[int], shape: Any, batch: Batch, lost: Counter[str]) -> list[float]:
    """The one polygon that a line can hold, as fractions; the box where there are several or none."""
    x, y, width, height = box
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    rings = polygons(shape) if is_polygons(shape) and min(size) > 0 else None
    if rings is None or len(rings) != 1:
        return _rectangle(edges)
    pairs = np.round(np.array(rings[0]).reshape(-1, 2) / size, _DIGITS)
    if not np.isfinite(pairs).all():
        return _rectangle(edges)
    low, high = pairs.min(axis=0), pairs.max(axis=0)
    around = np.concatenate([(low + high) / 2, high - low]).astype(np.float32)
    if batch.clip and ((around < 0) | (around > 1)).any():
        pairs = np.clip(pairs, 0, 1)
        return [float(value) for value in pairs.reshape(-1)]
    lost["segmentation"] -= 1  # the core counted it, since most datasets are written as boxes
    if (np.abs(np.concatenate([low, high]) - edges) * np.tile(size, 2) > NEAR_PX).any():
        lost[REDRAWN] += 1
    return [float(value) for value in pairs.reshape(-1)]


def _rectangle(edges: Sequence[float]) -> list[float]:
    return [round(value, _DIGITS) for value in rectangle(edges)]
