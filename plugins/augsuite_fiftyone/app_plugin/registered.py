"""Everything that the App is given; imported where FiftyOne runs already."""

from __future__ import annotations

from typing import Any

from augsuite_fiftyone.database import connect


def registered() -> list[type[Any]]:
    """The operators and panels."""
    connect(quiet=True)
    from augsuite_fiftyone.app_plugin import operators, operators_files, operators_runs
    from augsuite_fiftyone.app_plugin.panel import StudyPanel

    return [*operators.OPERATORS, *operators_runs.OPERATORS, *operators_files.OPERATORS, StudyPanel]
