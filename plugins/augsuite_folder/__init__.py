"""A folder per class: labels of whole images."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import FormatSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """Image classification folders."""
    yield FormatSpec(
        name="folder",
        summary="a folder per class, optionally inside a folder per split: image classification",
        patterns=("<class>/*.jpg", "<split>/<class>/*.jpg"),
        keeps=frozenset({"image_labels", "splits", "unused_categories"}),
        detect=Ref("augsuite_folder.io:detect"),
        read=Ref("augsuite_folder.io:read"),
        write=Ref("augsuite_folder.io:write"),
    )
