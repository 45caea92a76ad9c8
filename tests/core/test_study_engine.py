"""The local engine: results, failures, deaths."""

from __future__ import annotations

import importlib

import pytest
from studykit import install, installed

from augsuite.errors import AugsuiteError
from augsuite.study.engine import run_local


@pytest.fixture
def double(tmp_path):
    with installed(install(tmp_path)):
        yield importlib.import_module("quick_trainer").double


def test_every_item_comes_back_once(double):
    assert dict(run_local(double, range(8), 2)) == {number: 2 * number for number in range(8)}
    assert list(run_local(double, [], 2)) == []


def test_an_error_costs_its_item_only(double):
    found = dict(run_local(double, [1, 13, 2], 1))
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
