"""YOLO: one text file per image, in the layout of Ultralytics or of darknet."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, OptionSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """YOLO for detection, segmentation and pose."""
    yield FormatSpec(
        name="yolo",
        summary="YOLO: a text file per image; data.yaml (Ultralytics), or obj.data and obj.names (darknet)",
        patterns=("data.yaml", "*.yaml", "obj.data", "obj.names", "classes.txt", "labels/**/*.txt"),
        keeps=frozenset(
            {"names", "boxes", "splits", "sizes", "empty_images", "unused_categories", "score"}
            | {"yolo.keypoints", "yolo.task", "yolo.yaml"}
        ),
        detect=Ref("augsuite_yolo.detect:detect"),
        read=Ref("augsuite_yolo.reader:read"),
        write=Ref("augsuite_yolo.writer:write"),
        options=(
            OptionSpec(
                "layout",
                "ultralytics (default): data.yaml, images/, labels/; darknet: obj.data, labels beside the images",
                choices=("ultralytics", "darknet"),
                on="write",
            ),
            OptionSpec(
                "task",
                "detect: boxes; segment: polygons, all boxes as rectangles; default: as a YOLO dataset was read, else detect",
                choices=("detect", "segment"),
                on="write",
                wants=frozenset({"segmentation"}),
            ),
            OptionSpec(
                "clip",
                "yes (default): cut what Ultralytics would refuse (centre or size outside 0 to 1) to the image; no: keep it",
                choices=("yes", "no"),
                on="write",
            ),
        ),
    )
