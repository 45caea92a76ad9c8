"""CSV: one row per box, told by its header."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, OptionSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """CSV files with a header."""
    yield FormatSpec(
        name="csv",
        summary="CSV with a header: one row per box, columns in any order",
        patterns=("*.csv", "*.tsv"),
        keeps=frozenset(
            {"names", "boxes", "image_labels", "splits", "sizes", "ignore", "empty_images", "score", "csv.*"}
        ),
        detect=Ref("augsuite_csv.layout:detect"),
        read=Ref("augsuite_csv.reader:read"),
        write_parts=Ref("augsuite_csv.writer:write_parts"),
        options=(
            OptionSpec(
                "units",
                "whether coordinates are pixels or fractions of the image, where the header does not say",
                choices=("pixel", "unit"),
            ),
            OptionSpec(
                "origin",
                "0 (default): corners as in COCO; 1: the top left pixel is 1 and corners are inclusive, as in VOC",
                choices=("0", "1"),
            ),
        ),
    )
