"""One run in a worker: what it finds in its folder, and what it leaves there."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace

import pytest
from studykit import Bench, installed

from augsuite.study import session
from augsuite.study.file import load
from augsuite.study.runs import Runs
from augsuite.study.scheduler import prepare
from augsuite.study.worker import Failure


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A study's question, its work and its store; nothing is trained."""
    bench = Bench(tmp_path)
    monkeypatch.setenv("QUICK_LOG", str(bench.log))
    with installed(bench.plugin):
        state, work = prepare(load(bench.file), bench.out, place=bench.store)
        yield bench, state, work


def test_a_killed_run_keeps_what_it_can_go_on_from(asked):
    bench, state, work = asked
    runs, (first, second) = Runs(bench.store), state.runs[:2]
    for run, left in ((first, "checkpoint.pt"), (second, "model.pt")):
        runs.folder_of(run.digest).mkdir(parents=True)
        (runs.folder_of(run.digest) / left).write_bytes(b"left by an earlier attempt")
        (runs.folder_of(run.digest) / "metrics.jsonl.old").touch()
        assert work(run).metrics["AP"] == runs.entry(run.digest).record.metrics["AP"]
    assert (runs.folder_of(first.digest) / "metrics.jsonl.old").exists()
    assert not (runs.folder_of(second.digest) / "metrics.jsonl.old").exists()


def test_a_run_that_another_process_trains_comes_later(asked):
    bench, state, work = asked
    run = state.runs[0]
    with Runs(bench.store).lock(run.digest):
        assert work(run) is None
    assert bench.trained() == []
    assert work.waiting()(run).metrics


def test_what_another_process_failed_at_meanwhile_is_not_tried_again(asked):
    bench, state, work = asked
    run, runs = state.runs[0], Runs(bench.store)
    runs.begin(run.digest, work.identities[run.digest])
    runs.fail(run.digest, ValueError("no luck"))
    assert work.waiting()(run) == Failure(error="ValueError: no luck")
    assert bench.trained() == []
    # A study that begins now knows of that attempt; it has been asked to try again.
    knowing = replace(work, attempts={run.digest: 1})
    assert knowing(run).metrics
    assert runs.entry(run.digest).attempts == 2


def test_decoded_images_serve_all_runs_and_stay_here(asked):
    _, state, work = asked
    work(state.runs[0])
    kept = dict(work.decoded.train)
    assert len(kept) == 6
    work(state.runs[1])
    assert all(work.decoded.train[row] is sample for row, sample in kept.items())
    assert work.decoded.disk is None  # they fit
    sent = multiprocessing.reduction.ForkingPickler.loads(multiprocessing.reduction.ForkingPickler.dumps(work.decoded))
    assert (sent.train, sent.val) == ({}, {})


def test_images_that_do_not_fit_go_to_a_folder_of_the_machine(asked, tmp_path, monkeypatch):
    bench, *_ = asked
    monkeypatch.setattr(session, "CACHE_BYTES", 8 * 40 * 40 * 3 - 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    state, work = prepare(load(bench.file), bench.out, place=bench.store)
    values = [work(run).metrics["AP"] for run in state.runs[:2]]
    assert work.decoded.train == {}
    assert len(list((tmp_path / "cache" / "augsuite" / "decoded").glob("*/*.pixels"))) == 6
    monkeypatch.setattr(session, "CACHE_BYTES", 1 << 30)
    _, other = prepare(load(bench.file), tmp_path / "other")
    assert [other(run).metrics["AP"] for run in state.runs[:2]] == values
