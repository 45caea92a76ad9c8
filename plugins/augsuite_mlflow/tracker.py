"""A run of MLflow for each run: where, is MLflow's own configuration (`MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`)."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from augsuite.dataset.images import Image
from augsuite.errors import ConfigError

_EXPERIMENT = "augsuite"
_NOTE = "mlflow.json"
_AT_ONCE = 100  # parameters that MLflow takes in one call
_LONGEST = 500  # characters of a parameter in the oldest servers


class MlflowTracker:
    """Sends metrics, parameters and pictures to the server or database that MLflow is configured for."""

    def __init__(self, folder: Path) -> None:
        """Start a run; one that an earlier attempt in this folder started is deleted.

        Raises:
            ConfigError: if MLflow cannot be reached, or its database cannot be opened.
        """
        uri = mlflow.get_tracking_uri()
        try:
            self._client = MlflowClient(tracking_uri=uri)
            experiment = os.environ.get("MLFLOW_EXPERIMENT_ID") or self._experiment()
            self._forget(folder, uri)
            self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        except Exception as error:  # each kind of store has errors of its own
            raise ConfigError(
                f"tracker mlflow: {uri} cannot be used: {_first_line(error)}. Set MLFLOW_TRACKING_URI to a server or a database."
            ) from error
        (folder / _NOTE).write_text(json.dumps({"uri": uri, "run_id": self._run}), encoding="utf-8")
        self._status = "FAILED"

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _forget(self, folder: Path, uri: str) -> None:
        """Delete the run that the folder's note names, if it lives in the same place and is still there."""
        try:
            note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return
        if note["uri"] == uri:
            try:
                self._client.delete_run(note["run_id"])
            except MlflowException as error:
                if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:  # deleted already
                    raise

    def start(self, run: Mapping[str, Any]) -> None:
        """Send what was asked for: parameters, and the whole of it as a file."""
        params = iter([Param(metric_name(name), value[:_LONGEST]) for name, value in flat(run)])
        while some := list(itertools.islice(params, _AT_ONCE)):
            self._client.log_batch(self._run, params=some)
        tags = [RunTag(f"augsuite.{name}", str(run[name])) for name in ("augsuite", "trainer") if name in run]
        self._client.log_batch(self._run, tags=tags)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send values."""
        now = int(time.time() * 1000)
        metrics = [Metric(metric_name(name), float(value), now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def image(self, name: str, image: Image, step: int) -> None:
        """Send a picture, as an artifact."""
        self._client.log_image(self._run, image, f"{name}-{step}.png")

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Say that the run succeeded; its metrics are the last values of its curves."""
        del metrics
        self._status = "FINISHED"

    def close(self) -> None:
        """End the run: failed, unless `finish` was called."""
        self._client.set_terminated(self._run, self._status)


def metric_name(name: str) -> str:
    """A name with the characters that MLflow takes: letters, digits, and `/ _ - . :` and blanks; others become `_`."""
    parts = re.sub(r"[^/\w.\- :]", "_", name).split("/")
    return "/".join("_" if part in {"", ".", ".."} else part for part in parts)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as `config.lr`, each as text; lists as JSON."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def open_mlflow(folder: Path) -> MlflowTracker:
    """Start a run of MLflow; see `augsuite.protocols.OpenTracker`."""
    return MlflowTracker(folder)
