"""Pascal VOC: one XML file per image."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, OptionSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """Pascal VOC for detection."""
    yield FormatSpec(
        name="voc",
        summary="Pascal VOC: one XML file per image, splits in ImageSets/Main",
        patterns=("Annotations/*.xml", "annotations/*.xml", "*.xml"),
        keeps=frozenset({"names", "boxes", "splits", "sizes", "ignore", "empty_images", "voc.*"}),
        detect=Ref("augsuite_voc.layout:detect"),
        read=Ref("augsuite_voc.reader:read"),
        write=Ref("augsuite_voc.writer:write"),
        options=(
            OptionSpec(
                "origin",
                "1 (default): the top left pixel is 1 and corners are inclusive; 0: corners are as in COCO",
                choices=("1", "0"),
            ),
        ),
    )
