"""WebDataset: tar shards with one image and one JSON file per sample."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, OptionSpec, Ref


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
        resumes="finished",
        options=(
            OptionSpec("shard_samples", "samples of a shard at most (default: 10000)", on="write"),
            OptionSpec(
                "shard_mb", "size of a shard at most, in 10^6 bytes, but for a larger sample (default: 500)", on="write"
            ),
            OptionSpec("verify", "read every byte, and leave out or stop at shards that changed", choices=("bytes",)),
        ),
    )
