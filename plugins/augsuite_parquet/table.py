"""A dataset's rows as batches of columns."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, UNREAD, Dataset, objects
from augsuite.dataset.packing import encode, packed
from augsuite.dataset.parts import ByImage
from augsuite_parquet.schema import OBJECTS

_OWN = frozenset({"segmentation", "score"})  # extras with a column of their own


class Rows:
    """The rows of a part of a dataset."""

    def __init__(self, data: Dataset, paths: Sequence[str]) -> None:
        """Look at a part.

        Args:
            data: the part.
            paths: for each image what the column `path` says of it.
        """
        self._data = data
        self._by_image = ByImage(data)
        self._boxes = data.boxes(Layout.XYWH_PX)
        self._paths = np.array([*paths, ""], dtype=object)[:-1]
        scores = data.annotations.extra.get("score")
        self._extra = {key: values for key, values in data.annotations.extra.items() if key not in _OWN}
        if scores is not None:  # one that is no float64 travels as JSON
            self._extra["score"] = objects([ABSENT if type(score) is float else score for score in scores.tolist()])

    def batch(self, rows: NDArray[np.int64]) -> pa.RecordBatch:
        """Some images."""
        images, table = self._data.images, self._data.annotations
        at, offsets = self._by_image.of(rows)
        boxes = self._boxes[at]
        boxed = table.is_box[at]
        numbers = pa.array(boxes.reshape(-1), mask=np.repeat(~boxed, 4))
        columns = {
            "id": pa.array(table.ids[at]),
            "bbox": pa.FixedSizeListArray.from_arrays(numbers, 4, mask=pa.array(~boxed)),
            "category": pa.array(table.category_rows[at]),
            "area": pa.array(boxes[:, 2] * boxes[:, 3], mask=~boxed),
            "ignore": pa.array(table.ignore[at]),
            "score": self._scores(at),
            "segmentation": pa.array(_json(table.extra.get("segmentation"), at), pa.string()),
            "extra": pa.array(packed(self._extra, at), pa.string()),
        }
        starts = pa.array(offsets, pa.int32())
        lists = [pa.ListArray.from_arrays(starts, columns[field.name]) for field in OBJECTS]
        unknown = images.sizes[rows] <= 0
        files = images.files[rows] != ""
        return pa.RecordBatch.from_arrays(
            [
                pa.array(images.ids[rows]),
                pa.array(images.names[rows], pa.string()),
                pa.array(self._paths[rows], pa.string(), mask=~files),
                pa.array(images.sizes[rows, 0], mask=unknown[:, 0]),
                pa.array(images.sizes[rows, 1], mask=unknown[:, 1]),
                pa.array(images.splits[rows], pa.string()),
                pa.StructArray.from_arrays(lists, fields=list(OBJECTS)),
                pa.array(packed(images.extra, rows), pa.string()),
            ],
            names=["image_id", "file_name", "path", "width", "height", "split", "objects", "extra"],
        )

    def _scores(self, at: NDArray[np.int64]) -> pa.Array:
        """The scores that are numbers."""
        values = self._data.annotations.extra.get("score")
        if values is None:
            return pa.nulls(len(at), pa.float64())
        return pa.array([value if type(value) is float else None for value in values[at].tolist()], pa.float64())


def _json(values: NDArray[np.object_] | None, at: NDArray[np.int64]) -> list[str | None]:
    if values is None:
        return [None] * len(at)
    return [
        None
        if value is ABSENT or value is UNREAD
        else bytes(value).decode()
        if isinstance(value, msgspec.Raw)
        else encode(value)
        for value in values[at].tolist()
    ]
