"""Declares the tracker `mlflow`."""

from __future__ import annotations

from collections.abc import Iterator

from augsuite import hookimpl
from augsuite.spec import Ref, TrackerSpec


@hookimpl
def augsuite_trackers() -> Iterator[TrackerSpec]:
    """Curves in MLflow."""
    yield TrackerSpec(
        "mlflow", "runs of an MLflow server or database", Ref("augsuite_mlflow.tracker:open_mlflow"), extra="mlflow"
    )
