"""WebDataset: tar shards with one image and one JSON file per sample."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """Tar shards."""
    yield FormatSpec(
        name="webdataset",
        summary="WebDataset: tar shards that hold each image beside a JSON file",
        patterns=("*.tar",),
        keeps=frozenset(
            {"names", "boxes", "image_labels", "ids", "splits", "sizes", "ignore", "empty_images", "unused_categories"}
            | {"segmentation", "score", "*"}
        ),
        detect=Ref("augsuite_webdataset.layout:detect"),
        read=Ref("augsuite_webdataset.reader:read"),
        read_parts=Ref("augsuite_webdataset.reader:read_parts"),
        write_parts=Ref("augsuite_webdataset.writer:write_parts"),
    )
