"""LabelMe: one JSON file per image."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """LabelMe's own JSON."""
    yield FormatSpec(
        name="labelme",
        summary="LabelMe: one JSON file per image, with its rectangles, polygons, masks and flags",
        patterns=("*.json", "train/*.json"),
        keeps=frozenset(
            {
                "names",
                "boxes",
                "image_labels",
                "splits",
                "sizes",
                "empty_images",
                "unused_categories",
                "labelme.*",
                "segmentation",
                "score",
            }
        ),
        detect=Ref("augsuite_labelme.layout:detect"),
        read=Ref("augsuite_labelme.reader:read"),
        write=Ref("augsuite_labelme.writer:write"),
    )
