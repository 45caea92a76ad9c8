"""Tables to COCO files: `annotations/instances_<split>.json` with `images/<split>/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Dataset
from augsuite.dataset.files import plain, unique
from augsuite.protocols import Losses

PREFIX = "coco."


def write(data: Dataset, folder: Path, losses: Losses) -> Sequence[str]:
    """Write one file per split.

    A file's `file_name`s are relative to `images/<split>/` (`images/` for a dataset without splits), which is what
    `torchvision.datasets.CocoDetection` takes as its root. `area` and `iscrowd`, which pycocotools needs, are derived where the
    dataset does not say them.
    """
    boxes = data.boxes(Layout.XYWH_PX)
    categories = _rows(
        {"id": data.categories.ids.tolist(), "name": data.categories.names.tolist()}, data.categories.extra
    )
    (folder / "annotations").mkdir()
    placed = [""] * len(data)
    for split in dict.fromkeys(data.images.splits.tolist()) or [""]:
        rows = np.flatnonzero(data.images.splits == split)
        home = f"images/{plain(split, 'split')}/" if split else "images/"
        names = unique(data.images.names[rows].tolist())
        losses["image names"] += sum(name != old for name, old in zip(names, data.images.names[rows], strict=True))
        for row, name in zip(rows, names, strict=True):
            placed[row] = home + name
        of_split = np.flatnonzero((data.images.splits == split)[data.annotations.image_rows])
        document = {
            **_head(data.extra, split),
            "images": _images(data, rows, names),
            "annotations": _annotations(data, of_split, boxes),
            "categories": categories,
        }
        text = msgspec.json.encode(document, enc_hook=_plain)
        (folder / "annotations" / (f"instances_{split}.json" if split else "instances.json")).write_bytes(text)
    return placed


def _images(data: Dataset, rows: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    images = data.images.take(rows)
    return _rows(
        {
            "id": images.ids.tolist(),
            "file_name": names,
            "width": images.sizes[:, 0].tolist(),
            "height": images.sizes[:, 1].tolist(),
        },
        images.extra,
    )


def _annotations(data: Dataset, rows: np.ndarray, boxes: np.ndarray) -> list[dict[str, Any]]:
    table = data.annotations.take(rows)
    corners = boxes[rows]
    extra = {key: values for key, values in table.extra.items() if key not in {"coco.iscrowd", "coco.area"}}
    said = table.extra.get("coco.iscrowd")
    crowd = table.ignore.astype(np.int64).tolist()
    if said is not None:
        crowd = [
            value if value is not ABSENT and bool(value) == bool(own) else own
            for value, own in zip(said, crowd, strict=True)
        ]
    area = (corners[:, 2] * corners[:, 3]).tolist()
    if "coco.area" in table.extra:
        area = [own if value is ABSENT else value for value, own in zip(table.extra["coco.area"], area, strict=True)]
    return _rows(
        {
            "id": table.ids.tolist(),
            "image_id": data.images.ids[table.image_rows].tolist(),
            "category_id": data.categories.ids[table.category_rows].tolist(),
            "bbox": corners.tolist(),
            "area": area,
            "iscrowd": crowd,
        },
        extra,
    )


def _rows(columns: dict[str, list[Any]], extra: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Columns to one object per row; what is absent is left out."""
    keys = list(columns)
    rows = [dict(zip(keys, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for key, values in extra.items():
        if key.startswith(PREFIX) or key in {"segmentation", "score"}:
            name = key.removeprefix(PREFIX)
            for row, value in zip(rows, values.tolist(), strict=True):
                if value is not ABSENT:
                    row[name] = value
    return rows


def _head(extra: Mapping[str, Any], split: str) -> dict[str, Any]:
    """What one file says as a whole; the reader's `_head`, back."""
    head: dict[str, Any] = {}
    for key, value in extra.items():
        name, marked, of = key.removeprefix(PREFIX).partition("@")
        if key.startswith(PREFIX) and (not marked or of == split):
            head[name] = value
    return head


def _plain(value: Any) -> Any:
    """What numpy holds, as JSON has it."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
