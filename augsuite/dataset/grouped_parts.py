"""Objects of several polygons whose tool gives each polygon back as an object of its own."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import msgspec
import numpy as np

from augsuite.dataset.shapes import extents, polygons
from augsuite.dataset.tables import ABSENT, Dataset, Rows

GROUP = "cvat.group_id"


def joined(back: Dataset, given: Dataset, left: Rows, right: Rows) -> Dataset:
    """The polygons that an object was written as, joined again.

    CVAT keeps the group of polygons and not what else our writer says of the parts of an object. Only a group that was given out as one
    object is joined: others are the annotator's.

    Args:
        back: what came back.
        given: what was given out.
        left: `(P,)` image rows of `given`.
        right: `(P,)` image rows of `back`.
    """
    if not all(key in data.annotations.extra for key in (GROUP, "segmentation") for data in (back, given)):
        return back
    pair_of = {int(row): int(other) for row, other in zip(left, right, strict=True)}
    table = given.annotations
    whole = {
        (pair_of[image], group, given.categories.names[label])
        for image, group, label, shape in zip(
            table.image_rows.tolist(), table.extra[GROUP], table.category_rows, table.extra["segmentation"], strict=True
        )
        if group is not ABSENT and image in pair_of and len(polygons(shape) or ()) > 1
    }
    table = back.annotations
    parts: defaultdict[tuple[int, object, str], list[int]] = defaultdict(list)
    for row, (image, group, label) in enumerate(
        zip(table.image_rows.tolist(), table.extra[GROUP].tolist(), table.category_rows.tolist(), strict=True)
    ):
        key = (image, group, back.categories.names[label])
        if key in whole and polygons(table.extra["segmentation"][row]):
            parts[key].append(row)
    kept = np.ones(len(table), bool)
    shapes, boxes = table.extra["segmentation"].copy(), table.boxes.copy()
    for rows in parts.values():
        rings = [ring for row in rows for ring in polygons(shapes[row]) or ()]
        if len(rows) > 1:
            shapes[rows[0]] = msgspec.Raw(msgspec.json.encode(rings))
            boxes[rows[0]] = extents([rings])[0]
            kept[rows[1:]] = False
    table = replace(table, boxes=boxes, extra={**table.extra, "segmentation": shapes})
    return replace(back, annotations=table.take(kept))
