"""CVAT for images 1.1: one XML file."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """CVAT's own format for images."""
    yield FormatSpec(
        name="cvat",
        summary="CVAT for images XML 1.1: boxes, polygons, masks, tags and labels of a task or project",
        patterns=("annotations.xml", "*.xml"),
        keeps=frozenset(
            {
                "names",
                "boxes",
                "image_labels",
                "image_ids",
                "splits",
                "sizes",
                "empty_images",
                "unused_categories",
                "cvat.*",
                "segmentation",
            }
        ),
        detect=Ref("augsuite_cvat.layout:detect"),
        read=Ref("augsuite_cvat.reader:read"),
        write=Ref("augsuite_cvat.writer:write"),
    )
