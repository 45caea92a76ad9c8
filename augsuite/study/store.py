"""What a study leaves on disk, and how a run gets its name.

studies/<name>/
study.json              the question as it was last asked: arms, seeds, digests, versions, and which run answers what
report.html report.json
runs/<digest>/          one trained run; the digest names everything that its result depends on
identity.json         what was digested
run.json metrics.jsonl model.pt predictions.json
error.txt             why the last attempt failed, and its traceback
record.json           written last: where it exists, the run is complete and is never trained again
runs/<digest>.lock      held by the process that trains the run; the system frees it when that process ends
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from augsuite import __version__, registry
from augsuite.augment import Policy
from augsuite.augment.steps import transforms_of
from augsuite.dataset.digest import digest
from augsuite.errors import ConfigError, DataError
from augsuite.protocols import RunRecord
from augsuite.study.arms import PlainArm
from augsuite.study.file import Study
from augsuite.study.session import write_json

T = TypeVar("T")

_DIGITS = 20  # hexadecimal, 80 bits: enough for any number of runs, short enough to read

_CORE = ("augsuite.augment", "augsuite.boxes", "augsuite.dataset", "augsuite.evaluation", "augsuite.study.session")
"""What of the core a run's numbers come from; the version alone would not see a change between two releases."""


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


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`study.json`: the question as it was last asked.

    Attributes:
        study: its name.
        trainer: the trainer's name.
        metric: the metric compared.
        config: all settings of the trainer.
        reference: the arm compared with.
        arms: name -> policy, and settings in which it differs from `config`.
        seeds: those of every arm.
        runs: every arm with every seed, in the order in which they are trained.
        images: how many are trained and measured on.
        data: digests of the images trained and measured on.
        code: version of augsuite, and digests of the source of the plugins at work.
        versions: of the packages that a number may depend on.
        command: what was typed.
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


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`progress.json` of a run that is being trained: epoch, number of epochs and the last values; None for NaN, as in JSON."""

    epoch: int
    epochs: int
    values: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Store:
    """A study's folder."""

    folder: Path

    def run_folder(self, run: str) -> Path:
        """The folder of a run, by digest."""
        return self.folder / "runs" / run

    def record(self, run: str) -> RunRecord | None:
        """The record of a complete run; None where it is not complete.

        Raises:
            DataError: if the record is damaged.
        """
        return _read(self.run_folder(run) / "record.json", RunRecord)

    def progress(self, run: str, since: float) -> Progress | None:
        """How far a run is that made progress after `since` (a time stamp); None where it did not, or is complete."""
        folder = self.run_folder(run)
        path = folder / "progress.json"
        try:
            if path.stat().st_mtime < since or (folder / "record.json").exists():
                return None
        except OSError:
            return None
        return _read(path, Progress)

    def error(self, run: str) -> str | None:
        """Why the last attempt at a run failed, in one line; None where it did not fail."""
        try:
            return (self.run_folder(run) / "error.txt").read_text(encoding="utf-8").partition("\n")[0]
        except OSError:
            return None

    def write_error(self, run: str, error: Exception) -> str:
        """Keep why a run failed: one line, which is returned, and the traceback where there is one."""
        line = registry.one_line(error)
        folder = self.run_folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text("\n".join([line, *getattr(error, "__notes__", ())]), encoding="utf-8")
        return line

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
        state = _read(self.folder / "study.json", State)
        if state is None:
            raise ConfigError(f"{self.folder}: no study there (no study.json). Run one with: augsuite study run FILE")
        return state

    def write_state(self, state: State) -> None:
        """Write `study.json`, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "study.json", state)


def ask(study: Study, command: str) -> tuple[State, dict[str, dict[str, Any]]]:
    """Give every run of a study its digest.

    Runs of one seed come together, so that a study that is stopped early has all its arms for the seeds it got to.

    Args:
        study: the study.
        command: what was typed.

    Returns:
        The state to store, and for each digest what was digested.
    """
    data = {"train": digest(study.train), "val": digest(study.val)}
    code = code_of(study.trainer, (arm.policy for arm in study.arms.values()))
    arms = {name: arm.to_plain() for name, arm in study.arms.items()}
    runs, identities = [], {}
    for seed in study.seeds:
        for name, arm in study.arms.items():
            identity = {
                "data": data,
                "policy": _nameless(arms[name].policy),
                "trainer": study.trainer,
                "config": {**study.config, **arm.config},
                "seed": seed,
                "code": _part_of(code, study.trainer, arm.policy),
            }
            run = _digest_of(identity)
            identities[run] = identity
            runs.append(Run(arm=name, seed=seed, digest=run))
    state = State(
        study=study.name,
        trainer=study.trainer,
        metric=study.metric,
        config=dict(study.config),
        reference=study.reference,
        arms=arms,
        seeds=list(study.seeds),
        runs=runs,
        images={"train": len(study.train), "val": len(study.val)},
        data=data,
        code=code,
        versions=versions(),
        command=command,
    )
    return state, identities


def code_of(trainer: str, policies: Iterable[Policy]) -> dict[str, str]:
    """The version of augsuite and a digest of the source of each part at work: the core's, the trainer's, the transforms'."""
    packages = {*_CORE, _trainer_package(trainer)} | {package for policy in policies for package in _packages(policy)}
    return {"augsuite": __version__, **{package: source_digest(package) for package in sorted(packages)}}


def _part_of(code: Mapping[str, str], trainer: str, policy: Policy) -> dict[str, str]:
    """What of the code one run depends on: a change of one transform leaves the runs without it alone."""
    return {name: code[name] for name in sorted({"augsuite", *_CORE, _trainer_package(trainer), *_packages(policy)})}


def _trainer_package(trainer: str) -> str:
    spec = registry.find("trainer", registry.default().trainers(), trainer)
    return spec.train.target.partition(":")[0].partition(".")[0]


def _packages(policy: Policy) -> set[str]:
    transforms = registry.default().transforms()
    names = transforms_of(policy.steps)
    return {transforms[name].params.target.partition(":")[0].partition(".")[0] for name in names}


@functools.cache
def source_digest(package: str) -> str:
    """A digest of the Python files of a package or module: their relative paths and content, not where they lie."""
    spec = importlib.util.find_spec(package)
    total = hashlib.blake2b(digest_size=_DIGITS // 2)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(root).rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    if spec and not spec.submodule_search_locations and spec.origin:
        total.update(Path(spec.origin).read_bytes())
    return total.hexdigest()


def versions() -> dict[str, str]:
    """Python and the packages that a number may depend on, where they are installed."""
    import importlib.metadata
    import platform

    found = {"python": platform.python_version()}
    for name in ("numpy", "torch", "torchvision", "opencv-python-headless", "albumentations", "pycocotools", "scipy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _nameless(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A policy without its name, which nothing depends on."""
    return {key: value for key, value in policy.items() if key != "policy"}


def _digest_of(identity: Mapping[str, Any]) -> str:
    # json, not msgspec: floats and key order are canonical in both, but `sort_keys` reaches every level of plain values
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_DIGITS // 2).hexdigest()


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(
            f"{path}: cannot be read: {registry.one_line(error)}. Delete the file, and run the study again."
        ) from error
