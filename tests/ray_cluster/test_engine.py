"""The engine `ray` on a real cluster of two worker processes: the contract, and what it says where something is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from augsuite.engines import Resources
from augsuite.errors import ConfigError, MissingExtraError

pytest.importorskip("ray")

from augsuite_ray import cluster as here
from augsuite_ray import folders as shared
from augsuite_ray.engine import run
from augsuite_ray.folders import check_folders, differing, look
from augsuite_ray.task import Setting


def test_the_contract(address, tmp_path):
    from augsuite.testing.engines import check_engine

    check_engine("ray", tmp_path)


def seen(_item):
    return os.environ.get("AUGSUITE_OF_THE_DRIVER"), str(Path.cwd())


def test_workers_have_the_folder_and_the_variables_of_whoever_asks(address, tmp_path, monkeypatch):
    monkeypatch.setenv("AUGSUITE_OF_THE_DRIVER", "yes")
    monkeypatch.chdir(tmp_path)
    assert list(run(seen, [0])) == [(0, ("yes", str(tmp_path)))]


def test_no_room_is_said_and_not_waited_for(address):
    with pytest.raises(
        ConfigError, match=r"asks for 1000 cores, and no machine of the Ray cluster has more than 2 cores"
    ):
        list(run(seen, [0], resources=Resources(cpus=1000)))
    with pytest.raises(ConfigError, match="and 1 GPUs, and no machine"):
        list(run(seen, [0], resources=Resources(gpus=1)))


def test_room_is_counted_machine_by_machine():
    def count(cpus, gpus, resources):
        return here._room_of({"CPU": cpus, "GPU": gpus}, resources)

    assert count(8.0, 0, Resources(cpus=3)) == 2
    assert count(8.0, 2.0, Resources(gpus=1)) == 2
    assert count(8.0, 2.0, Resources(gpus=0.5)) == 4
    assert count(8.0, 1.0, Resources(gpus=0.4)) == 2  # Ray puts as many on one GPU as fit wholly
    assert count(8.0, 2.0, Resources(cpus=8, gpus=0.5)) == 1
    assert count(8.0, 3.0, Resources(gpus=2)) == 1


@pytest.mark.parametrize(
    ("address_", "said"),
    [
        ("127.0.0.1:PORT", r"nothing listens there \(Connection refused\)\. Start one with `ray start --head`"),
        ("nonsense", "write the address as HOST:PORT"),
        ("ray://127.0.0.1:10001", "the client protocol is not supported"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(address_, said):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConfigError, match=said) as error:
        here._check(address_.replace("PORT", str(port)))
    assert "\n" not in str(error.value)


def test_another_version_is_refused():
    with pytest.raises(ConfigError, match=r"has augsuite \d.*, this one 0\.0\.0\. Install the same"):
        Setting("0.0.0", str(Path.cwd()), (), {}, 1).settle()


def test_a_machine_that_sees_other_files_is_found(tmp_path):
    (tmp_path / "data").mkdir()
    folders = (str(tmp_path), str(tmp_path / "data"))
    before = look(folders)
    assert before == [("data",), ()]
    assert differing(folders, before, look(folders)) is None
    (tmp_path / "data" / "a.jpg").touch()
    assert differing(folders, before, look(folders)) == folders[1]
    assert look((str(tmp_path / "none"),)) == [None]
    (tmp_path / "data" / ".out-half-written").touch()
    assert look(folders) == [("data",), ("a.jpg",)]


def test_a_folder_that_changes_meanwhile_is_looked_at_again(address, tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "_others", shared.nodes)  # this machine as if it were another
    answer, late = shared._answer, [[("old",)]]
    monkeypatch.setattr(shared, "_answer", lambda *asked: late.pop() if late else answer(*asked))
    check_folders((str(tmp_path),))
    assert not late
    monkeypatch.setattr(shared, "_answer", lambda *_: [("other",)])
    with pytest.raises(ConfigError, match=r"does not see the same files there\. Put the data on a file system"):
        check_folders((str(tmp_path),))


def test_without_ray_the_extra_is_named(monkeypatch):
    from augsuite.engines.choice import load

    for name in [name for name in sys.modules if name.startswith("augsuite_ray")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"engine ray needs the package 'ray'.*augsuite\[ray\]"):
        load("ray")


ALONE = """
import sys, time
from pathlib import Path
from augsuite_ray.engine import run

def beat(item):
    for number in range(600):
        Path(sys.argv[1]).touch() if item is None else Path(item).touch()
        time.sleep(0.05)

for _ in run(beat, [sys.argv[1]]):
    pass
"""


def test_a_killed_driver_leaves_no_process_behind(tmp_path):
    (tmp_path / "alone.py").write_text(ALONE)
    beat = tmp_path / "beat"
    driver = subprocess.Popen([sys.executable, "-P", str(tmp_path / "alone.py"), str(beat)])
    try:
        wait_for(beat.exists)
        assert len(of_session(driver.pid)) >= 3  # the raylet, its store of metadata, an agent
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    wait_for(lambda: not of_session(driver.pid))
    wait_for(lambda: silent(beat))


def silent(beat):
    """Whether nobody touches a file any more: a worker looks about once a second whether its cluster is there."""
    beat.unlink(missing_ok=True)
    time.sleep(0.5)
    return not beat.exists()


def of_session(pid):
    """Processes of the cluster that a process has started: their command lines name its session."""
    found = subprocess.run(["pgrep", "-f", f"session_[0-9_-]*_{pid}/"], capture_output=True, text=True, check=False)
    return found.stdout.split()


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)
