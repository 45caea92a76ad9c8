"""A run of Weights & Biases for each run: on this machine only, unless `WANDB_MODE` says otherwise."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from augsuite.dataset.images import Image
from augsuite.errors import ConfigError

_NOTE = "wandb.json"


class WandbTracker:
    """Writes a run of Weights & Biases into `wandb/` of a run's folder; `wandb sync` uploads it."""

    def __init__(self, folder: Path) -> None:
        """Start a run; what an earlier attempt in this folder wrote is deleted, and its id is used again.

        Raises:
            ConfigError: if Weights & Biases cannot be reached, though `WANDB_MODE` asks for it.
        """
        shutil.rmtree(folder / "wandb", ignore_errors=True)
        quiet = wandb.Settings(silent=True, console="off", disable_git=True, save_code=False)
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or "augsuite",
                name=os.environ.get("WANDB_NAME") or folder.name,
                id=_known_id(folder),
                dir=folder,
                mode=None if os.environ.get("WANDB_MODE") else "offline",  # being logged in is no wish to send
                settings=quiet,
                reinit="create_new",
            )
        except (wandb.Error, OSError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ConfigError(f"tracker wandb: no run can be started: {said}. Set WANDB_MODE=offline.") from error
        (folder / _NOTE).write_text(json.dumps({"id": self._run.id}), encoding="utf-8")
        self._code = 1

    def start(self, run: Mapping[str, Any]) -> None:
        """Write what was asked for as the run's config."""
        self._run.config.update(dict(run))  # type: ignore[no-untyped-call]  # wandb's own gap

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write values."""
        self._run.log(dict(values), step=step)

    def image(self, name: str, image: Image, step: int) -> None:
        """Write a picture."""
        self._run.log({name: wandb.Image(image)}, step=step)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Write the metrics as the run's summary."""
        self._run.summary.update(dict(metrics))
        self._code = 0

    def close(self) -> None:
        """End the run: failed, unless `finish` was called."""
        self._run.finish(exit_code=self._code)


def _known_id(folder: Path) -> str | None:
    """The id of an earlier attempt in this folder: the server replaces a run that starts anew under its id."""
    try:
        return str(json.loads((folder / _NOTE).read_text(encoding="utf-8"))["id"])
    except (FileNotFoundError, ValueError):
        return None


def open_wandb(folder: Path) -> WandbTracker:
    """Start a run of Weights & Biases; see `augsuite.protocols.OpenTracker`."""
    return WandbTracker(folder)
