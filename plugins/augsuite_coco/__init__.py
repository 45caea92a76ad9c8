"""COCO: one JSON file per split."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, OptionSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """COCO JSON for detection."""
    yield FormatSpec(
        name="coco",
        summary="COCO JSON: images, categories, boxes, masks and keypoints of a split in one file",
        patterns=("annotations/*.json", "*/_annotations.coco.json", "*.json"),
        keeps=frozenset(
            {
                "names",
                "boxes",
                "ids",
                "splits",
                "sizes",
                "ignore",
                "empty_images",
                "unused_categories",
                "coco.*",
                "segmentation",
                "score",
            }
        ),
        detect=Ref("augsuite_coco.layout:detect"),
        read=Ref("augsuite_coco.reader:read"),
        write=Ref("augsuite_coco.writer:write"),
        read_parts=Ref("augsuite_coco.parts:read_parts"),
        options=(
            OptionSpec("images", "of a file of results: the annotations that it is about"),
            OptionSpec(
                "results",
                "write the boxes as results_<split>.json, too, for pycocotools' loadRes",
                ("yes", "no"),
                "write",
            ),
        ),
    )
