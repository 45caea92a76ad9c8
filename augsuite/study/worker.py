"""One run of a study, in whatever process the engine chose."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from filelock import Timeout

from augsuite.augment import policy
from augsuite.dataset import Dataset
from augsuite.errors import DataError
from augsuite.protocols import RunRecord
from augsuite.study.arms import PlainArm
from augsuite.study.runs import Runs
from augsuite.study.session import Decoded, train_once, write_json
from augsuite.study.store import Progress, Run


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run failed; the store knows it already.

    Attributes:
        error: one line.
    """

    error: str


@dataclass(frozen=True)
class Work:
    """Trains runs of one study; travels to each worker process once.

    Attributes:
        store: the folder of the runs.
        trainer: the trainer's name.
        config: its settings.
        train: the images trained on.
        val: the images measured on.
        arms: by name, as plain values: the classes of some transforms are made on demand and cannot travel.
        identities: digest -> what it digests.
        attempts: digest -> how often it had been begun when the study started.
        imports: see `augsuite.engines.Engine`.
        decoded: what all runs of a process, or of this machine, decode once.
        wait: whether to wait for a run that another process is training, or to come back later.
    """

    store: Path
    trainer: str
    config: Mapping[str, Any]
    train: Dataset
    val: Dataset
    arms: Mapping[str, PlainArm]
    identities: Mapping[str, Any]
    attempts: Mapping[str, int] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    decoded: Decoded = field(default_factory=Decoded)
    wait: bool = False

    @property
    def folders(self) -> tuple[str, ...]:
        """See `augsuite.engines.Engine`."""
        roots = (self.store, self.train.root, self.val.root)
        return tuple(dict.fromkeys(os.fspath(root) for root in roots if os.path.isdir(root)))  # noqa: PTH112 - may be a URL

    def waiting(self) -> Work:
        """The same, waiting."""
        return replace(self, wait=True)

    def __call__(self, run: Run) -> RunRecord | Failure | None:
        """Train one run, unless its record is there.

        Returns:
            The record, or why there is none; None where another process is training the run and this one is not to wait for it.
        """
        runs = Runs(self.store)
        try:
            with runs.lock(run.digest).acquire(timeout=-1 if self.wait else 0):
                entry = runs.entry(run.digest)
                if entry is not None and entry.record is not None:
                    return entry.record
                failed_since = entry is not None and entry.attempts > self.attempts.get(run.digest, 0)
                if entry is not None and entry.error is not None and failed_since:
                    return Failure(error=entry.error.partition("\n")[0])  # the other process tried, in vain
                return self._train(run, runs)
        except Timeout:
            return None

    def _train(self, run: Run, runs: Runs) -> RunRecord | Failure:
        try:
            folder = _prepared(runs.folder_of(run.digest))
            identity = self.identities[run.digest]
            write_json(folder / "identity.json", identity)
            runs.begin(run.digest, identity)
            arm = self.arms[run.arm]
            record = train_once(
                self.trainer,
                {**self.config, **arm.config},
                self.train,
                self.val,
                policy(arm.policy),
                run.seed,
                folder,
                progress=_Report(folder),
                decoded=self.decoded,
            )
        except Exception as error:  # noqa: BLE001 - one failed run must not end the study; under the lock, nobody else tries meanwhile
            error.add_note(traceback.format_exc())
            return Failure(error=runs.fail(run.digest, error))
        try:
            runs.finish(run.digest, record)
        except DataError:
            return record  # its folder holds it, and the next study takes it in
        return record


def _prepared(folder: Path) -> Path:
    """The run's folder: empty, or as a killed attempt left it with a checkpoint to go on from."""
    if not (folder / "checkpoint.pt").exists():
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    (folder / "error.txt").unlink(missing_ok=True)
    return folder


_PULSE_S = 0.5


@dataclass(slots=True)
class _Report:
    """Leaves `progress.json` in the run's folder, where whoever shows the study looks for it, from any machine."""

    folder: Path
    wrote: float = 0.0

    def __call__(self, epoch: int, epochs: int, values: Mapping[str, float]) -> None:
        self._write(epoch, epochs, epoch / max(epochs, 1), values)

    def pulse(self, epoch: int, epochs: int, done: float, values: Mapping[str, float]) -> None:
        """Between epochs; `done` of this one, in [0, 1]."""
        if time.monotonic() - self.wrote >= _PULSE_S:
            self._write(epoch, epochs, (epoch - 1 + done) / max(epochs, 1), values)

    def say(self, line: str) -> None:
        """What a person should know goes where the chatter of trainers goes."""
        print(line)

    def _write(self, epoch: int, epochs: int, done: float, values: Mapping[str, float]) -> None:
        self.wrote = time.monotonic()
        plain: dict[str, float | None] = {name: float(value) for name, value in values.items()}
        partial = self.folder / ".progress.json"
        partial.write_bytes(
            msgspec.json.encode(Progress(epoch=epoch, epochs=epochs, done=min(done, 1.0), values=plain))
        )
        partial.replace(self.folder / "progress.json")
