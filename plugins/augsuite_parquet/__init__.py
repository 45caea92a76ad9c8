"""Parquet: one row per image, as Hugging Face's object detection datasets have it."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, OptionSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """Parquet files."""
    yield FormatSpec(
        name="parquet",
        summary="Parquet, one row per image with its objects, as Hugging Face datasets have it",
        patterns=("data/*.parquet", "*.parquet"),
        keeps=frozenset(
            {"names", "boxes", "image_labels", "ids", "splits", "sizes", "ignore", "empty_images", "unused_categories"}
            | {"segmentation", "score", "*"}
        ),
        detect=Ref("augsuite_parquet.layout:detect"),
        read=Ref("augsuite_parquet.reader:read"),
        read_parts=Ref("augsuite_parquet.reader:read_parts"),
        write_parts=Ref("augsuite_parquet.writer:write_parts"),
        resumes="finished",
        options=(
            OptionSpec("verify", "read the embedded images, too, and look at their checksums", choices=("bytes",)),
            OptionSpec(
                "embed", "put the image files inside, and cut each split into shards", choices=("yes",), on="write"
            ),
            OptionSpec("shard_samples", "with embed: images of a shard at most (default: 10000)", on="write"),
            OptionSpec("shard_mb", "with embed: size of a shard at most, in 10^6 bytes (default: 500)", on="write"),
            OptionSpec(
                "boxes",
                "how the four numbers of a box are meant, in files of others (default: xywh, in pixels)",
                choices=("xywh", "xyxy", "cxcywh", "xywh_unit", "xyxy_unit", "cxcywh_unit"),
            ),
        ),
    )
