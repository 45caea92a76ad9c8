"""Hugging Face's `imagefolder`: images beside a metadata file that says what is in them."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, OptionSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """Image folders with metadata."""
    yield FormatSpec(
        name="imagefolder",
        summary="Hugging Face imagefolder: images beside metadata.jsonl or metadata.csv, per split",
        patterns=("metadata.jsonl", "*/metadata.jsonl", "metadata.csv", "*/metadata.csv"),
        keeps=frozenset(
            {"boxes", "image_labels", "ids", "splits", "sizes", "ignore", "empty_images"}
            | {"segmentation", "score", "*"}
        ),
        detect=Ref("augsuite_imagefolder.layout:detect"),
        read=Ref("augsuite_imagefolder.reader:read"),
        write=Ref("augsuite_imagefolder.writer:write"),
        options=(
            OptionSpec(
                "boxes",
                "how the four numbers of a box are meant (default: xywh, in pixels, as Hugging Face says)",
                choices=("xywh", "xyxy", "cxcywh", "xywh_unit", "xyxy_unit", "cxcywh_unit"),
            ),
        ),
    )
