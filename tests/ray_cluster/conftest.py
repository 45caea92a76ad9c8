"""The cluster, and what is installed on it."""

from __future__ import annotations

import pytest
from raykit import cluster, install_fragile
from studykit import Bench


@pytest.fixture(scope="package")
def bench(tmp_path_factory):
    """A study whose trainer takes its time, and a format whose pieces may die."""
    made = Bench(tmp_path_factory.mktemp("bench"), nap_s=0.2)
    install_fragile(made.folder / "fragile")
    (made.folder / "signs").mkdir()
    return made


@pytest.fixture(scope="package")
def address(bench):
    """Of the cluster, of which this process is a driver."""
    sites = bench.plugin, bench.folder / "fragile"
    with cluster(*sites, QUICK_LOG=str(bench.log), FRAGILE=str(bench.folder / "signs")) as found:
        yield found
