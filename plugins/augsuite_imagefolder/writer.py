"""Tables to metadata.jsonl files beside the images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from augsuite.boxes import Layout
from augsuite.dataset import ABSENT, Dataset
from augsuite.dataset.files import inside, unique
from augsuite.dataset.losses import is_spelling
from augsuite.dataset.packing import encode, packed
from augsuite.dataset.parts import ByImage
from augsuite.dataset.progress import track
from augsuite.errors import DataError
from augsuite.protocols import Losses

_OWNER = "imagefolder."


def write(data: Dataset, folder: Path, losses: Losses) -> Sequence[str]:
    """Write `<split>/metadata.jsonl` beside the images of each split.

    A line has `file_name`, `image_id`, `width`, `height`, `split` and `objects`: lists `bbox` (x, y, width, height in pixels; null for a
    label of the whole image), `categories`, `id`, `area`, `ignore`, and where an object has any, `extra`. Where the dataset has labels of
    whole images alone, one for each image, the line has a `label` instead, as image classification wants it.
    """
    images = data.images
    homes = dict.fromkeys([""], "")
    splits = dict.fromkeys(images.splits.tolist())
    stems = unique([re.sub(r"[^\w-]", "_", split) or "unsplit" for split in splits])
    if list(splits) not in ([], [""]):
        homes = dict(zip(splits, stems, strict=True))
    names = [_safe(name) for name in images.names.tolist()]
    paths = unique(
        [f"{homes[split]}/{name}" if homes[split] else name for split, name in zip(images.splits, names, strict=True)]
    )
    written = [path.removeprefix(f"{homes[split]}/") for split, path in zip(images.splits, paths, strict=True)]
    losses["image names"] += sum(name != path for name, path in zip(images.names, written, strict=True))
    losses["category ids"] += _lost_category_ids(data)
    lost = {key: sum(value is not ABSENT for value in values) for key, values in data.categories.extra.items()}
    losses.update(lost)
    losses.update({key: 1 for key in data.extra if not is_spelling(key)})
    losses["unused categories"] += 0
    lines = _lines(data, written)
    opened = {}
    for home in homes.values():
        (folder / home).mkdir(exist_ok=True)
        opened[home] = (folder / home / "metadata.jsonl").open("wb")
    try:
        for split, line in track(zip(images.splits.tolist(), lines, strict=True), "writing", len(data)):
            opened[homes[split]].write(line)
    finally:
        for file in opened.values():
            file.close()
    return paths


def _safe(name: str) -> str:
    kept = inside(name)
    if kept is None or kept in {"metadata.jsonl", "metadata.csv"}:
        raise DataError(f"image {name!r} would be written outside the output, or over its metadata. Rename it.")
    return kept


def _lost_category_ids(data: Dataset) -> int:
    """Ids of categories do not come back, unless they are counted from 1 (then nothing is lost)."""
    ids = data.categories.ids
    return 0 if (ids == np.arange(1, len(ids) + 1)).all() else len(ids)


def _lines(data: Dataset, names: Sequence[str]) -> Any:
    """The line of each image."""
    images, table = data.images, data.annotations
    at, starts = ByImage(data).of(np.arange(len(data)))
    boxes = data.boxes(Layout.XYWH_PX)
    classes = data.categories.names.tolist()
    counts = np.diff(starts)
    simple = len(table) > 0 and not table.is_box.any() and bool((counts <= 1).all()) and not table.extra
    simple = simple and bool((table.ids == np.arange(1, len(table) + 1)).all()) and not table.ignore.any()
    of_image = packed(images.extra, np.arange(len(images)))
    for row, name in enumerate(names):
        width, height = images.sizes[row].tolist()
        line: dict[str, Any] = {"file_name": name, "image_id": int(images.ids[row])}
        if width and height:
            line |= {"width": width, "height": height}
        line["split"] = images.splits[row]
        rows = at[starts[row] : starts[row + 1]]
        if simple:
            if len(rows):
                line["label"] = classes[table.category_rows[rows[0]]]
        else:
            line["objects"] = {
                "bbox": [
                    box if own else None for box, own in zip(boxes[rows].tolist(), table.is_box[rows], strict=True)
                ],
                "categories": [classes[category] for category in table.category_rows[rows].tolist()],
                "id": table.ids[rows].tolist(),
                "area": [
                    box[2] * box[3] if own else None
                    for box, own in zip(boxes[rows].tolist(), table.is_box[rows], strict=True)
                ],
                "ignore": table.ignore[rows].tolist(),
            }
            extra = packed(table.extra, rows)
            if any(extra):
                line["objects"]["extra"] = extra
        if of_image[row]:
            line["extra"] = of_image[row]
        yield encode(line).encode() + b"\n"
