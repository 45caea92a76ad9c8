"""OpenImages: CSV files per split, with boxes as fractions and classes as Knowledge Graph ids."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """OpenImages' own CSV files."""
    yield FormatSpec(
        name="openimages",
        summary="OpenImages: boxes and image labels in CSV files per split",
        patterns=("annotations/*-annotations-bbox.csv", "*-annotations-bbox.csv"),
        keeps=frozenset(
            {"names", "boxes", "image_labels", "splits", "sizes", "ignore", "empty_images", "unused_categories"}
            | {"score", "openimages.*"}
        ),
        detect=Ref("augsuite_openimages.layout:detect"),
        read=Ref("augsuite_openimages.reader:read"),
        write=Ref("augsuite_openimages.writer:write"),
    )
