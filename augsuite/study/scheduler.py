"""From a study to its records: what is missing is trained, what is there is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from augsuite import registry
from augsuite.protocols import RunRecord
from augsuite.study.engine import default_workers
from augsuite.study.file import Study
from augsuite.study.store import Run, State, Store, ask
from augsuite.study.worker import Work


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one run ended.

    Attributes:
        run: the run.
        record: what it found; None where it failed.
        error: one line; None where it did not fail.
        found: whether the record was there before.
    """

    run: Run
    record: RunRecord | None = None
    error: str | None = None
    found: bool = False


def prepare(study: Study, folder: Path, command: str = "") -> tuple[State, Work]:
    """Write down the question, and say what is to be done for it.

    Args:
        study: the study.
        folder: where its results go; made where it does not exist. May hold results of an earlier version of the study, of which
            those that still answer the question are used.
        command: what was typed, for the report.
    """
    state, identities = ask(study, command)
    Store(folder).write_state(state)
    work = Work(
        folder=folder.resolve(),
        trainer=study.trainer,
        config=study.config,
        train=study.train,
        val=study.val,
        arms=state.arms,
        identities=identities,
    )
    return state, work


def execute(state: State, work: Work, engine: str = "local", workers: int | None = None) -> Iterator[Outcome]:
    """Train every run of a study that has no record yet.

    Args:
        state: the question.
        work: what `prepare` made of it.
        engine: the engine's name.
        workers: processes at once; one for each core where nothing is said.

    Yields:
        First the runs whose records are there, then the others as they end. Two arms with equal policies share their runs. A run
        that another process is training at the moment comes last, with that process's record.

    Raises:
        ConfigError: for an unknown engine.
    """
    spec = registry.find("engine", registry.default().engines(), engine)
    start = registry.load(spec.run, f"engine {engine}", "all")
    store = Store(work.folder)
    missing: dict[str, list[Run]] = {}
    for run in state.runs:
        record = store.record(run.digest)
        if record is not None:
            yield Outcome(run=run, record=record, found=True)
        else:
            missing.setdefault(run.digest, []).append(run)

    todo = [runs[0] for runs in missing.values()]
    for attempt in (work, work.waiting()):
        busy: list[Run] = []
        for run, answer in start(attempt, todo, min(workers or default_workers(), len(todo))) if todo else ():
            if answer is None:
                busy.append(run)
                continue
            error = store.write_error(run.digest, answer) if isinstance(answer, Exception) else None
            record = None if isinstance(answer, Exception) else answer
            for same in missing[run.digest]:
                yield Outcome(run=same, record=record, error=error)
        todo = busy
