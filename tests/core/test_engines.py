"""The engines of this machine: results, failures, deaths."""

from __future__ import annotations

import importlib
import os

import pytest
from studykit import install, installed

from augsuite.engines import Resources
from augsuite.engines.inline import run as run_inline
from augsuite.engines.local import run as run_local
from augsuite.errors import AugsuiteError, ConfigError


@pytest.fixture
def double(tmp_path):
    with installed(install(tmp_path)):
        yield importlib.import_module("quick_trainer").double


engines = pytest.mark.parametrize("engine", [run_local, run_inline])


@engines
def test_every_item_comes_back_once(double, engine):
    assert dict(engine(double, range(8))) == {number: 2 * number for number in range(8)}
    assert list(engine(double, [])) == []


@engines
def test_an_error_costs_its_item_only(double, engine):
    found = dict(engine(double, [1, 13, 2], 1))
    assert (found[1], found[2]) == (2, 4)
    assert isinstance(found[13], AugsuiteError)
    assert str(found[13]) == "ValueError: unlucky"
    assert "in double" in found[13].__notes__[0]


def test_a_process_that_dies_costs_its_item_only(double):
    found = dict(run_local(double, [1, 9, 2, 3], 1))
    assert (found[1], found[2], found[3]) == (2, 4, 6)
    assert "SIGKILL" in str(found[9])


def test_items_are_taken_as_processes_become_free(double):
    taken = []

    def items():
        for number in range(6):
            taken.append(number)
            yield number

    results = run_local(double, items(), 2)
    next(results)
    assert len(taken) <= 3
    results.close()


@engines
def test_what_work_prints_is_no_result(double, engine, capfd):
    assert dict(engine(print, ["chatter"])) == {"chatter": None}
    assert capfd.readouterr().out == ""


def test_inline_is_this_process_with_as_many_threads_as_asked_for(double, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    seen = list(run_inline(lambda _: (os.getpid(), os.environ["OMP_NUM_THREADS"]), [0], None, Resources(cpus=2)))
    assert seen == [(0, (os.getpid(), "2"))]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    with pytest.raises(ConfigError, match="it has one worker, not 2"):
        list(run_inline(double, [1], 2))
