"""A study's folder: the question, the report, and where the runs are that answer it.

studies/<name>/
  study.json                the question as it was last asked: arms, seeds, digests, versions, and which run answers what
  report.html report.json
studies/_store/             the runs of all studies beside it; see `augsuite.study.runs`
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from augsuite.errors import ConfigError
from augsuite.protocols import RunRecord
from augsuite.study.arms import PlainArm
from augsuite.study.design import Series
from augsuite.study.runs import Entry, Runs, read_json
from augsuite.study.session import write_json

STORE = "AUGSUITE_STORE"
"""The environment variable that names the store of runs, where the command does not."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One arm with one seed.

    Attributes:
        arm: its name.
        seed: of the run.
        digest: the name of its folder.
    """

    arm: str
    seed: int
    digest: str


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the images of a study come from.

    Attributes:
        dataset: an absolute path, or a name.
        val_dataset: another one to measure on.
        split: as in the study file.
    """

    dataset: str
    val_dataset: str | None = None
    split: dict[str, Any] | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`study.json`: the question as it was last asked.

    Attributes:
        study: its name.
        trainer: the trainer's name.
        metric: the metric compared.
        config: all settings of the trainer.
        reference: the arm compared with.
        arms: name -> policy, and settings in which it differs from `config`.
        seeds: all that any arm is asked for.
        runs: each arm with its seeds, in the order in which they are trained.
        images: how many are trained and measured on.
        data: digests of the images trained and measured on.
        code: version of augsuite, and digests of the source of the plugins at work.
        versions: of the packages that a number may depend on.
        command: what was typed.
        store: the folder of the runs, as seen from this one, so that both can be copied together.
        origin: where the images come from; None in a study of before that was kept.
        until: how narrow the intervals were to become when seeds were last added for it. Once set, it stays, and so do intervals that
            hold however often one looks: what was seen cannot be unseen.
        designs: what rules made of the arms.
    """

    study: str
    trainer: str
    metric: str
    config: dict[str, Any]
    reference: str
    arms: dict[str, PlainArm]
    seeds: list[int]
    runs: list[Run]
    images: dict[str, int]
    data: dict[str, str]
    code: dict[str, str]
    versions: dict[str, str]
    command: str
    store: str = "."
    origin: Origin | None = None
    until: float | None = None
    designs: list[Series] = []


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """Of `study.json` whether seeds were ever added, whatever else changed in the file since."""

    until: float | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`progress.json` of a run that is being trained.

    Attributes:
        epoch: from 1.
        epochs: how many.
        done: share of the whole training, in [0, 1].
        values: the last ones; None for NaN, as in JSON.
    """

    epoch: int
    epochs: int
    done: float
    values: dict[str, float | None]


@dataclass(frozen=True)
class Store:
    """A study's folder.

    Attributes:
        folder: of the study.
        place: the folder of the runs; where nothing is said, the one that `study.json` names.
    """

    folder: Path
    place: Path | None = None

    @cached_property
    def runs(self) -> Runs:
        """The store of runs: where the study says, or, if it is not there, where the environment does."""
        if self.place is not None:
            return Runs(self.place)
        said = read_json(self.folder / "study.json", State)
        place = (self.folder.resolve() / (said.store if said is not None else ".")).resolve()
        if not (place / "runs").exists() and os.environ.get(STORE):
            place = Path(os.environ[STORE])
        return Runs(place)

    def run_folder(self, run: str) -> Path:
        """The folder of a run, by digest."""
        return self.runs.folder_of(run)

    def entries(self, runs: Iterable[str]) -> dict[str, Entry]:
        """How runs stand; without those that nobody began. Faster than one by one."""
        return self.runs.entries(runs)

    def record(self, run: str) -> RunRecord | None:
        """The record of a complete run; None where it is not complete.

        Raises:
            DataError: if the record is damaged.
        """
        entry = self.runs.entry(run)
        return None if entry is None else entry.record

    def progress(self, run: str, since: float) -> Progress | None:
        """How far a run is that made progress after `since` (a time stamp); None where it did not, or is complete."""
        folder = self.run_folder(run)
        path = folder / "progress.json"
        try:
            if path.stat().st_mtime < since or (folder / "record.json").exists():
                return None
        except OSError:
            return None
        return read_json(path, Progress)

    def error(self, run: str) -> str | None:
        """Why the last attempt at a run failed, in one line; None where it did not fail."""
        entry = self.runs.entry(run)
        return None if entry is None or entry.error is None else entry.error.partition("\n")[0]

    def curves(self, run: str) -> list[dict[str, float]]:
        """The lines of a run's `metrics.jsonl`, each with its `step`; without values that are not finite. Empty where it is not."""
        try:
            lines = (self.run_folder(run) / "metrics.jsonl").read_bytes().splitlines()
        except OSError:
            return []
        decoded = [msgspec.json.decode(line, type=dict[str, float | None]) for line in lines]
        return [{name: value for name, value in line.items() if value is not None} for line in decoded]

    def state(self) -> State:
        """The study as it was last asked.

        Raises:
            ConfigError: if the folder holds no study.
            DataError: if the file is damaged.
        """
        state = read_json(self.folder / "study.json", State)
        if state is None:
            raise ConfigError(f"{self.folder}: no study there (no study.json). Run one with: augsuite study run FILE")
        return state

    def write_state(self, state: State) -> None:
        """Write `study.json`, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "study.json", state)


def place_of(folder: Path, out: Path | None, store: Path | None) -> Path:
    """Where a study's runs go.

    Args:
        folder: the study's.
        out: what the user named as the study's folder, if so.
        store: what the user named as the store.

    Returns:
        The store that is named, else the one of the environment, else `out` itself, which then is complete in itself, else `_store`
        beside the study's folder, which all studies there share.
    """
    named = store or (Path(os.environ[STORE]) if os.environ.get(STORE) else None)
    return named or out or folder.parent / "_store"
