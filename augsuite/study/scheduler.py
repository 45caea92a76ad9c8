"""From a study to its records: what is missing is trained, what is there is used."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from filelock import Timeout

from augsuite import registry
from augsuite.augment.cache import DiskCache
from augsuite.dataset.cache_folder import user_cache
from augsuite.engines import ONE_CORE, Resources, WorkerDiedError, choice
from augsuite.engines.places import visible_gpus
from augsuite.errors import DataError
from augsuite.protocols import RunRecord
from augsuite.study.file import Study
from augsuite.study.identity import Identity, ask, ask_more
from augsuite.study.runs import Runs, read_json
from augsuite.study.session import Decoded, fits_memory
from augsuite.study.store import Looked, Run, State, Store
from augsuite.study.worker import Failure, Work

_RETRIES = 2  # of a run whose machine left the cluster; on one machine a process dies of its own work, and would again
_STOPPED = {signal.SIGTERM, signal.SIGINT}  # how a person or a cluster ends a process: that says nothing about the run


CACHED_BYTES = 20 << 30
"""What decoded images may take on the disk; and never more than a quarter of what is free."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one run ended.

    Attributes:
        run: the run.
        record: what it found; None where it failed.
        error: one line; None where it did not fail.
        found: whether that was known before.
    """

    run: Run
    record: RunRecord | None = None
    error: str | None = None
    found: bool = False


def prepare(
    study: Study, folder: Path, command: str = "", place: Path | None = None, until: float | None = None
) -> tuple[State, Work]:
    """Write down the question, and say what is to be done for it.

    Args:
        study: the study.
        folder: where its results go; made where it does not exist. May hold results of an earlier version of the study.
        command: what was typed, for the report.
        place: the store of the runs; `folder` itself where nothing is said. Runs in it that answer the question are used, whichever
            study trained them.
        until: how narrow the intervals are to become, if seeds are to be added for it.
    """
    folder = folder.resolve()
    place = folder if place is None else place.resolve()
    earlier = read_json(folder / "study.json", Looked)
    until = until if until is not None or earlier is None else earlier.until
    state, identities = ask(study, command, os.path.relpath(place, folder), until)
    work = Work(
        store=place,
        trainer=study.trainer,
        config=study.config,
        train=study.train,
        val=study.val,
        arms=state.arms,
        identities={},
        imports=imports_of(study.trainer),
        decoded=Decoded(disk=None if fits_memory(study.train, study.val) else _disk_cache()),
    )
    return state, _noted(state, work, identities, folder)


def add_seeds(
    study: Study, folder: Path, state: State, work: Work, seeds: Mapping[str, Sequence[int]]
) -> tuple[State, Work]:
    """Ask for more seeds than the study's file does.

    Args:
        study: the study.
        folder: where its results go.
        state: the question.
        work: what was to be done for it.
        seeds: arm -> seeds that it was not asked for yet.
    """
    state, identities = ask_more(state, study, seeds)
    return state, _noted(state, work, identities, folder.resolve())


def _noted(state: State, work: Work, identities: Mapping[str, Identity], folder: Path) -> Work:
    """Write down the question, and what is known of further runs."""
    runs = Runs(work.store)
    runs.take_in(identities)
    Store(folder).write_state(state)
    begun = {digest: entry.attempts for digest, entry in runs.entries(identities).items()}
    return replace(work, identities={**work.identities, **identities}, attempts={**work.attempts, **begun})


def needs(study: Study, gpus: float | None = None) -> Resources:
    """What a run of a study needs: the threads that its settings name, else one core; a GPU where there is one and it may use it.

    Args:
        study: the study.
        gpus: how many, if the user said.
    """
    threads, device = study.config.get("threads"), study.config.get("device")
    if gpus is None:
        gpus = 1.0 if device != "cpu" and visible_gpus() else 0.0
    return Resources(cpus=threads if isinstance(threads, int) and threads > 0 else 1, gpus=gpus)


def execute(
    runs: Sequence[Run],
    work: Work,
    engine: str = "local",
    workers: int | None = None,
    resources: Resources = ONE_CORE,
    retry_failed: bool = False,
    told: Callable[[Run, str], None] | None = None,
) -> Iterator[Outcome]:
    """Train those runs of a study that have no record yet.

    Args:
        runs: all of the question's, or some.
        work: what `prepare` made of it.
        engine: the engine's name.
        workers: how many at once; as many as there is room for, where nothing is said.
        resources: what each run needs.
        retry_failed: whether to try again what failed before. What was merely killed or stopped goes on in any case.
        told: hears of each run that is trained again, from its checkpoint, as the machine of a cluster was lost with it; and why.

    Yields:
        First the runs whose records are there, then the others as they end. Arms that come to the same share their runs. A run
        that another process is training at the moment comes last, with that process's record.

    Raises:
        ConfigError: for an unknown engine, or one without room for a run.
    """
    start = choice.load(engine)
    retries = _RETRIES if choice.find(engine).cluster else 0
    store = Runs(work.store)
    entries = store.entries(run.digest for run in runs)
    missing: dict[str, list[Run]] = {}
    for run in runs:
        entry = entries.get(run.digest)
        if entry is not None and entry.record is not None:
            yield Outcome(run=run, record=entry.record, found=True)
        elif entry is not None and entry.error is not None and not retry_failed:
            yield Outcome(run=run, error=entry.error.partition("\n")[0], found=True)
        else:
            missing.setdefault(run.digest, []).append(run)

    def again(run: Run, error: Exception, attempts: int) -> None:
        del attempts
        if told is not None:
            told(run, registry.one_line(error))

    todo = [same[0] for same in missing.values()]
    for attempt in (work, work.waiting()):
        busy: list[Run] = []
        for run, answer in start(attempt, todo, workers, resources, retries=retries, told=again) if todo else ():
            if answer is None:
                busy.append(run)
                continue
            found = _died(run, answer, store) if isinstance(answer, Exception) else answer
            error, record = (found.error, None) if isinstance(found, Failure) else (None, found)
            for same in missing[run.digest]:
                yield Outcome(run=same, record=record, error=error)
        todo = busy


def _died(run: Run, error: Exception, runs: Runs) -> RunRecord | Failure:
    """What became of a run whose process ended without an answer."""
    try:
        with runs.lock(run.digest).acquire(timeout=0):
            entry = runs.entry(run.digest)
            if entry is not None and entry.record is not None:
                return entry.record  # it ended after its work was done
            if isinstance(error, WorkerDiedError) and error.signal in _STOPPED:
                return Failure(error=registry.one_line(error))
            return Failure(error=runs.fail(run.digest, error))
    except Timeout:  # another process has taken it up already
        return Failure(error=registry.one_line(error))


def imports_of(trainer: str) -> tuple[str, ...]:
    """What worker processes have in common. Of a stranger's trainer nobody knows whether it may be imported before a fork."""
    module = registry.default().trainers()[trainer].train.target.partition(":")[0]
    ours = (
        ("torch", "torch._dynamo", module) if module.startswith("augsuite_") else ()
    )  # any optimizer imports the second
    return ("augsuite.study.worker", "cv2", *ours)


def _disk_cache() -> DiskCache | None:
    """Where decoded images go that do not fit into memory: on this machine, shared by all its studies.

    Beside the store, it might be on a network, which is slower than a decoder.
    """
    base = user_cache()
    try:
        base.mkdir(parents=True, exist_ok=True)
        room = min(CACHED_BYTES, shutil.disk_usage(base).free // 4)
        return DiskCache(base / "decoded", room)
    except (OSError, RuntimeError, DataError):  # no home, or one that is read-only: then images are decoded each time
        return None
