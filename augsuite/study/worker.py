"""One run of a study, in whatever process the engine chose."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from augsuite.augment import policy
from augsuite.dataset import Dataset
from augsuite.protocols import RunRecord
from augsuite.study.arms import PlainArm
from augsuite.study.session import train_once, write_json
from augsuite.study.store import Progress, Run, Store


@dataclass(frozen=True)
class Work:
    """Trains runs of one study; travels to each worker process once.

    Attributes:
        folder: of the study.
        trainer: the trainer's name.
        config: its settings.
        train: the images trained on.
        val: the images measured on.
        arms: by name, as plain values: the classes of some transforms are made on demand and cannot travel.
        identities: digest -> what it digests.
        wait: whether to wait for a run that another process is training, or to come back later.
    """

    folder: Path
    trainer: str
    config: Mapping[str, Any]
    train: Dataset
    val: Dataset
    arms: Mapping[str, PlainArm]
    identities: Mapping[str, Any]
    wait: bool = False

    def waiting(self) -> Work:
        """The same, waiting."""
        return replace(self, wait=True)

    def __call__(self, run: Run) -> RunRecord | None:
        """Train one run, unless its record is there.

        Returns:
            The record; None where another process is training the run and this one is not to wait for it.
        """
        store = Store(self.folder)
        folder = store.run_folder(run.digest)
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f"{run.digest}.lock"))
        try:
            with lock.acquire(timeout=-1 if self.wait else 0):
                record = store.record(run.digest)
                return self._train(run, folder) if record is None else record
        except Timeout:
            return None

    def _train(self, run: Run, folder: Path) -> RunRecord:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed attempt left
        folder.mkdir()
        write_json(folder / "identity.json", self.identities[run.digest])
        arm = self.arms[run.arm]
        return train_once(
            self.trainer,
            {**self.config, **arm.config},
            self.train,
            self.val,
            policy(arm.policy),
            run.seed,
            folder,
            progress=_Report(folder),
        )


@dataclass(frozen=True, slots=True)
class _Report:
    """Leaves `progress.json` in the run's folder, where whoever shows the study looks for it, from any machine."""

    folder: Path

    def __call__(self, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        plain: dict[str, float | None] = {name: float(value) for name, value in values.items()}
        partial = self.folder / ".progress.json"
        partial.write_bytes(msgspec.json.encode(Progress(epoch=epoch, epochs=epochs, values=plain)))
        partial.replace(self.folder / "progress.json")
