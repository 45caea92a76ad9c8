"""What a study is going to train and how long that takes, before anything is trained."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from augsuite import registry
from augsuite.augment import policy
from augsuite.dataset import Dataset
from augsuite.engines import Resources, choice
from augsuite.study.arms import PlainArm
from augsuite.study.file import Study
from augsuite.study.identity import ask
from augsuite.study.runs import Runs
from augsuite.study.scheduler import imports_of
from augsuite.study.session import train_once
from augsuite.study.store import Run

_BATCHES = 2  # of an epoch that is timed
_EPOCHS = 4  # of the longer of two timed trainings
_IMAGES = 48  # measured on, of the longer of two evaluations
_PLAIN = {"warmup_epochs": 0.0, "evaluate_every": 0, "patience": 0, "checkpoint_s": 3600.0}


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One arm before it is trained.

    Attributes:
        arm: its name.
        runs: one for each seed.
        done: those whose record is in the store; another study may have trained them.
        failed: those that failed before, and are not tried again unless asked.
        seconds: estimated wall time of one run; None where timing it failed.
        source: `records`: the mean of runs that are done; `timed`: a few steps of training.
        error: why timing it failed, in one line.
    """

    arm: str
    runs: int
    done: int
    failed: int
    seconds: float | None
    source: str
    error: str | None = None

    @property
    def missing(self) -> int:
        """Runs to be trained."""
        return self.runs - self.done - self.failed


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a study is going to train.

    Attributes:
        study: its name.
        images: how many are trained and measured on.
        arms: in the order of the study file.
        runs: different runs that are missing: arms that come to the same share theirs.
        workers: runs at once.
        seconds: estimated wall time of all that is missing; None where an arm's is not known.
    """

    study: str
    images: dict[str, int]
    arms: list[Planned]
    runs: int
    workers: int
    seconds: float | None


@dataclass(frozen=True)
class Shot:
    """A training short enough to be timed.

    Attributes:
        arm: the arm.
        epochs: of a few batches each.
        images: measured on.
    """

    arm: str
    epochs: int
    images: int


@dataclass(frozen=True)
class Stopwatch:
    """Times trainings of one study; travels to a worker process, where runs are trained as well.

    Attributes:
        trainer: the trainer's name.
        config: its settings.
        arms: by name, as plain values.
        train: the images trained on.
        val: the images measured on.
        imports: see `augsuite.engines.Engine`.
    """

    trainer: str
    config: Mapping[str, Any]
    arms: Mapping[str, PlainArm]
    train: Dataset
    val: Dataset
    imports: tuple[str, ...]

    def __call__(self, shot: Shot) -> tuple[float, int]:
        """Train, and say how many seconds it took, and on how many images."""
        arm = self.arms[shot.arm]
        config = {**self.config, **arm.config}
        short = {key: value for key, value in _PLAIN.items() if key in config}
        batch = config.get("batch_size", 8)
        few = self.train.take(range(min(len(self.train), _BATCHES * int(batch))))
        with tempfile.TemporaryDirectory(prefix="augsuite-plan-") as folder:
            record = train_once(
                self.trainer,
                {**config, **short, "epochs": shot.epochs},
                few,
                self.val.take(range(min(len(self.val), shot.images))),
                policy(arm.policy),
                0,
                Path(folder) / "run",
                (),
            )
        return record.seconds, record.images


def make_plan(
    study: Study, place: Path, workers: int, resources: Resources, timed: bool = True, engine: str = "local"
) -> Plan:
    """Look up which runs are done, and estimate how long the others take.

    Where runs of an arm are done, the others take as long. Else a few batches are trained, for one epoch and for several: the
    difference is what an image costs, and what is left is spent once. What measuring costs is timed on the reference.

    Args:
        study: the study.
        place: the store of runs.
        workers: runs at once.
        resources: what each run needs.
        timed: whether to time arms without records.
        engine: where the timed steps are trained.

    Raises:
        ConfigError: for an unknown engine.
    """
    state, _ = ask(study, "")
    entries = Runs(place).entries(run.digest for run in state.runs) if place.exists() else {}
    by_arm: dict[str, list[Run]] = {name: [] for name in state.arms}
    for run in state.runs:
        by_arm[run.arm].append(run)
    records = {
        arm: [e.record for run in runs if (e := entries.get(run.digest)) is not None and e.record is not None]
        for arm, runs in by_arm.items()
    }
    failed = {
        run.digest for run in state.runs if (e := entries.get(run.digest)) is not None and not e.record and e.error
    }
    unknown = [arm for arm, found in records.items() if not found]
    guesses = _time(study, unknown, resources, engine) if timed and unknown else {}
    arms = []
    for arm, runs in by_arm.items():
        done = records[arm]
        guess = statistics.fmean(record.seconds for record in done) if done else guesses.get(arm)
        arms.append(
            Planned(
                arm=arm,
                runs=len(runs),
                done=len(done),
                failed=sum(run.digest in failed for run in runs),
                seconds=None if isinstance(guess, str) else guess,
                source="records" if done else "timed",
                error=guess if isinstance(guess, str) else None,
            )
        )
    seconds = {arm.arm: arm.seconds for arm in arms}
    missing = {
        run.digest: seconds[run.arm]
        for run in state.runs
        if run.digest not in failed and not ((e := entries.get(run.digest)) is not None and e.record)
    }
    known = [value for value in missing.values() if value is not None]
    return Plan(
        study=study.name,
        images=state.images,
        arms=arms,
        runs=len(missing),
        workers=workers,
        seconds=spread(known, workers) if len(known) == len(missing) else None,
    )


def spread(seconds: Sequence[float], workers: int) -> float:
    """How long items take on so many workers, each of which takes the next as it becomes free."""
    free = [0.0] * workers
    for value in seconds:
        free.sort()
        free[0] += value
    return max(free)


def _time(study: Study, arms: Sequence[str], resources: Resources, engine: str) -> dict[str, float | str]:
    """Arm -> estimated seconds of a run, or why there is no estimate."""
    start = choice.load(engine)
    plain = {name: arm.to_plain() for name, arm in study.arms.items()}
    watch = Stopwatch(study.trainer, study.config, plain, study.train, study.val, imports_of(study.trainer))
    first = study.reference
    shots = [Shot(first, 1, 1), Shot(first, 1, 1), Shot(first, 1, _IMAGES)]  # the first one only warms up
    shots += [Shot(arm, epochs, 1) for arm in arms for epochs in (1, _EPOCHS)]
    took: dict[Shot, tuple[float, int]] = {}
    failed: dict[str, str] = {}
    for shot, answer in start(watch, shots, 1, resources):
        if isinstance(answer, Exception):
            failed.setdefault(shot.arm, registry.one_line(answer))
        else:
            took[shot] = answer
    less, more = took.get(Shot(first, 1, 1)), took.get(Shot(first, 1, _IMAGES))
    span = min(len(study.val), _IMAGES) - 1
    by_image = max(0.0, more[0] - less[0]) / span if less and more and span else 0.0
    found: dict[str, float | str] = {}
    for arm in arms:
        short, long = took.get(Shot(arm, 1, 1)), took.get(Shot(arm, _EPOCHS, 1))
        if short is None or long is None:
            found[arm] = failed[arm]
            continue
        config = {**study.config, **study.arms[arm].config}
        epochs = int(config.get("epochs", 1))
        slope = max(0.0, long[0] - short[0]) / max(1, long[1] - short[1])
        fixed = max(0.0, short[0] - slope * short[1])
        every = int(config.get("evaluate_every", 0))
        times = -(-epochs // every) if every else 1
        found[arm] = fixed + slope * epochs * len(study.train) + by_image * len(study.val) * times
    return found
