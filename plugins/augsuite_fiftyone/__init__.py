"""Datasets, policies and studies in the FiftyOne App."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import CommandSpec, FormatSpec, OptionSpec, Ref


@hookimpl
def augsuite_formats() -> Iterator[FormatSpec]:
    """Datasets in FiftyOne's database."""
    yield FormatSpec(
        name="fiftyone",
        summary="A dataset of FiftyOne: fiftyone://NAME",
        patterns=("fiftyone://NAME",),
        keeps=frozenset(
            {"names", "boxes", "image_labels", "ids", "splits", "sizes", "ignore", "empty_images", "unused_categories"}
            | {"segmentation", "score", "*"}
        ),
        detect=Ref("augsuite_fiftyone.format:detect"),
        read=Ref("augsuite_fiftyone.format:read"),
        store=Ref("augsuite_fiftyone.format:store"),
        options=(
            OptionSpec("field", "the label field (default: ground_truth, or the only one there is)", on="both"),
            OptionSpec("view", "a saved view to read in place of the whole dataset"),
            OptionSpec("delete", "with --overwrite: the name of the dataset that is deleted for it", on="write"),
        ),
        scheme="fiftyone",
    )


@hookimpl
def augsuite_commands() -> Iterator[CommandSpec]:
    """Looking, in the App."""
    yield CommandSpec(
        "view", "Look at a dataset, a policy or a study in FiftyOne.", Ref("augsuite_fiftyone.view_command:view")
    )
    yield CommandSpec(
        "fiftyone",
        "Install the App's operators; list and delete datasets in FiftyOne.",
        Ref("augsuite_fiftyone.app_plugin.install_command:fiftyone"),
    )
