"""Our own MongoDB: shared by processes, ended with the last, and to be found by nobody else."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from augsuite.errors import ConfigError, MissingExtraError
from augsuite_fiftyone import database

PATIENCE_S = 120

CLIENT = """
import sys
from pathlib import Path
from augsuite_fiftyone.database import attach
print(attach(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


class Client:
    """A process that uses the MongoDB of a folder until it is told to end."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def port(self):
        return int(self.process.stdout.readline())

    def end(self, *, killed=False):
        if killed:
            self.process.kill()
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path, fiftyone_env):
    started = []

    def one():
        started.append(Client(tmp_path / "db"))
        return started[-1]

    yield one
    for client in started:
        if client.process.poll() is None:
            client.end(killed=True)
    wait_until(lambda: not processes(tmp_path / "db"))


def processes(folder):
    """Those that run or watch the MongoDB of a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if any(word.startswith(str(folder)) for word in words) and CLIENT not in words:
            found.append(process)
    return found


def mongod(folder):
    (found,) = [process for process in processes(folder) if process.name().startswith("mongod")]
    return found


def wait_until(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def test_processes_share_one_and_it_ends_with_the_last_however_that_ends(start, tmp_path):
    folder = tmp_path / "db"
    first, second = start(), start()  # at once: one of them must wait for the other
    port = first.port()
    assert second.port() == port
    server = mongod(folder)
    assert {place.laddr.ip for place in server.net_connections() if place.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    (watch,) = [process for process in processes(folder) if process.pid != server.pid]
    assert {place.laddr.ip for place in watch.net_connections() if place.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    first.end(killed=True)
    third = start()
    assert third.port() == port
    assert mongod(folder).pid == server.pid
    second.end()
    third.end(killed=True)
    wait_until(lambda: not processes(folder))
    assert not (folder / "server.json").exists()


@pytest.mark.parametrize("victim", ["mongod", "watch", "both"])
def test_a_kill_is_noticed_and_the_next_one_starts_it_again(start, tmp_path, victim):
    folder = tmp_path / "db"
    before = start()
    before.port()
    server = mongod(folder)
    for process in processes(folder):
        if victim == "both" or (process.pid == server.pid) == (victim == "mongod"):
            os.kill(process.pid, signal.SIGKILL)
    after = start()
    with socket.create_connection(("127.0.0.1", after.port()), PATIENCE_S):
        assert mongod(folder).pid != server.pid
    before.end()
    assert mongod(folder).is_running()
    after.end()


def test_an_old_state_that_leads_to_a_strange_server_is_not_believed(start, tmp_path):
    folder = tmp_path / "db"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(PATIENCE_S)
        port = stranger.getsockname()[1]
        (folder / "server.json").write_text(json.dumps({"door": port, "token": "x", "port": port, "pid": 1}))
        client = start()
        peer, _ = stranger.accept()
        with peer:
            peer.recv(100)
            peer.sendall(b"HTTP/1.1 400")
        assert client.port() != port


def test_a_damaged_database_is_an_error_with_mongodbs_words(tmp_path, fiftyone_env):
    folder = tmp_path / "db"
    (folder / "database").mkdir(parents=True)
    (folder / "database" / "WiredTiger").write_text("nonsense")
    (folder / "database" / "storage.bson").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"MongoDB did not start \(.+\)\. Its log: .*mongod\.log"):
        database.attach(folder)
    assert not processes(folder)


def test_a_mongodb_that_cannot_be_loaded_says_which_library_is_missing(monkeypatch, tmp_path, fiftyone_env):
    program = tmp_path / "mongod"
    program.write_text(
        "#!/bin/sh\necho 'error while loading shared libraries: libcurl.so.4: no such file' >&2; exit 127\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(database, "mongod", lambda: str(program))
    with pytest.raises(ConfigError, match=r"did not start \(error while loading shared libraries: libcurl\.so\.4"):
        database.attach(tmp_path / "db")


def test_without_mongodb_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    real = importlib.util.find_spec("json")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: real)  # a package that carries none
    with pytest.raises(ConfigError, match=r"augsuite\[fiftyone-offline\].*FIFTYONE_DATABASE_URI"):
        database.attach(tmp_path / "db")


def test_without_fiftyone_the_error_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "fiftyone", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"augsuite\[fiftyone\]"):
        database.connect()


def test_a_password_in_an_address_is_not_shown():
    assert database._without_password("mongodb://me:secret@host:1/x") == "mongodb://host:1/x"


LOOK = """
import sys
met = set()
def hook(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        met.add(arguments[1][0])
    elif event == "socket.getaddrinfo":
        met.add(str(arguments[0]))
sys.addaudithook(hook)
from augsuite_fiftyone.database import connect
fo = connect()
names = fo.list_datasets()
fo.Dataset("left")
import json
print(json.dumps({
    "names": names, "met": sorted(met), "track": fo.config.do_not_track, "address": fo.config.default_app_address,
    "name": fo.config.database_name, "uri": fo.config.database_uri,
}))
"""


def test_a_database_that_the_user_names_is_used_and_told_and_nothing_is_sent_anywhere(fo, fo_name, fiftyone_env):
    assert fo.config.database_name == "augsuite"
    assert fo.config.do_not_track
    fo.Dataset(fo_name)
    uri = fo.config.database_uri
    clean = {name: value for name, value in os.environ.items() if "FIFTYONE" not in name}
    env = {**clean, **fiftyone_env, "FIFTYONE_DATABASE_URI": uri}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, env=env, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # FiftyOne's own default: another database of the same server. What augsuite stores is not in a FiftyOne that is led here.
    assert (found["name"], found["uri"]) == ("fiftyone", uri)
    assert fo_name not in found["names"]
    assert done.stderr == f"FiftyOne database: {uri}\n"
    assert set(found["met"]) <= {"127.0.0.1", "localhost", "::1"}
    assert found["track"] is True
    assert found["address"] == "127.0.0.1"
