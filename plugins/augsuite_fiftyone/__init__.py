"""Datasets, policies and studies in the FiftyOne App."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import CommandSpec, Ref


@hookimpl
def augsuite_commands() -> Iterator[CommandSpec]:
    """Looking, in the App."""
    yield CommandSpec(
        "view", "Look at a dataset, a policy or a study in FiftyOne.", Ref("augsuite_fiftyone.view_command:view")
    )
