"""Cores and GPUs of workers: the listing is NVIDIA's, the affinity the system's own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from augsuite.engines import Resources, places
from augsuite.engines.local import run as run_local
from augsuite.engines.places import Claim, Place, listed_gpus
from augsuite.errors import ConfigError

cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
linux = pytest.mark.skipif(not cores, reason="pins with sched_setaffinity")

# As the NVIDIA Multi-Instance GPU user guide prints it, with the second GPU added.
LISTED = """\
GPU 0: A100-SXM4-40GB (UUID: GPU-e86cb44c-6756-fd30-cd4a-1e6da3caf9b0)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7384736-a75d-5afc-978f-d2f1294409fd)
  MIG 3g.20gb     Device  1: (UUID: MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d)
GPU 1: A100-SXM4-40GB (UUID: GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c)
"""


def affinity(_item):
    return sorted(os.sched_getaffinity(0)), os.environ.get("OMP_NUM_THREADS"), os.environ.get("CUDA_VISIBLE_DEVICES")


@linux
def test_workers_are_pinned_and_have_their_threads(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (_, found), *_ = run_local(affinity, [0], 1)
    assert found[1] == "1"
    assert len(found[0]) == 1 or found[0] == cores  # its own core, or all where another study has taken it
    (_, several), *_ = run_local(affinity, [0], len(cores) + 1)
    assert several[0] == cores  # more workers than cores: the system shares them out


@linux
def test_a_taken_core_is_left_alone_until_its_process_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where claims are: elsewhere than those of whatever else runs here
    monkeypatch.setattr("tempfile.tempdir", None)
    place = Place(cores=(cores[0],))
    holder = Claim(place)
    try:
        assert holder.place == place
        assert Claim(place).place.cores == ()
    finally:
        holder.give_back()
    code = (
        f"from augsuite.engines.places import *; import os; Claim(Place(cores=({cores[0]},))); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    again = Claim(place)
    again.give_back()
    assert again.place == place


def test_gpus_go_by_the_names_that_cuda_and_the_driver_share():
    assert listed_gpus(LISTED) == [
        "MIG-c7384736-a75d-5afc-978f-d2f1294409fd",
        "MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d",
        "GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c",
    ]
    assert listed_gpus("No devices found.\n") == []


def test_gpus_are_shared_out(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")

    def given(workers, gpus):
        return [place.gpus for place in places.places(workers, Resources(gpus=gpus))]

    assert given(None, 1) == ["0", "1", "2"]
    assert given(2, 1) == ["0", "1"]
    assert given(None, 0.5) == ["0", "1", "2", "0", "1", "2"]
    assert given(None, 2) == ["0,1"]
    assert given(4, 0) == [None] * 4
    with pytest.raises(ConfigError, match="asks for 4 GPUs, and this machine has 3"):
        given(None, 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert places.visible_gpus() == []


@linux
def test_a_worker_sees_its_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    (_, found), *_ = run_local(affinity, [0], None, Resources(gpus=1))
    assert found[2] == "GPU-a"


@linux
def test_cores_of_several_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4})
    shared = places.places(None, Resources(cpus=2))
    assert [(place.cores, place.threads) for place in shared] == [((0, 1), 2), ((2, 3), 2)]
