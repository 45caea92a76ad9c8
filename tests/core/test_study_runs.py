"""The store of runs: rows and folders agree, whatever happened between; SQLite itself is the judge of the file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from augsuite.errors import DataError
from augsuite.protocols import RunRecord
from augsuite.study.runs import Runs
from augsuite.study.store import Store, place_of

RECORD = RunRecord(metrics={"AP": 31.25}, images=40, seconds=2.0, cpu_seconds=1.5, parameters=7)


def trained(runs, digest):
    """A run's folder as a trainer leaves it."""
    folder = runs.folder_of(digest)
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(msgspec.json.encode(RECORD))


def rows(runs):
    with sqlite3.connect(runs.folder / "runs.sqlite") as file:
        found = {row[0]: row[1:] for row in file.execute("SELECT digest, status, attempts, record FROM runs")}
    file.close()
    return found


def test_a_run_from_begin_to_end(tmp_path):
    runs = Runs(tmp_path)
    assert runs.entries(["a"]) == {}
    runs.begin("a", {"seed": 3})
    assert runs.entry("a").status == "running"
    trained(runs, "a")
    runs.finish("a", RECORD)
    assert runs.entry("a").record == RECORD
    status, attempts, record = rows(runs)["a"]
    assert (status, attempts, json.loads(record)["metrics"]) == ("done", 1, {"AP": 31.25})


def test_a_failed_run_keeps_its_traceback_and_counts_its_attempts(tmp_path):
    runs = Runs(tmp_path)
    error = ValueError("the loss is not finite")
    error.add_note("Traceback: here")
    for attempt in (1, 2):
        runs.begin("a", {})
        assert runs.fail("a", error) == "ValueError: the loss is not finite"
        assert rows(runs)["a"][:2] == ("failed", attempt)
    assert runs.entry("a").error == "ValueError: the loss is not finite\nTraceback: here"
    assert (runs.folder_of("a") / "error.txt").read_text() == runs.entry("a").error


def test_what_the_folders_know_and_the_rows_do_not_is_taken_in(tmp_path):
    runs = Runs(tmp_path)
    runs.begin("killed", {"seed": 0})  # between its record and its row
    for digest in ("killed", "copied"):
        trained(runs, digest)
    failed = runs.folder_of("failed")
    failed.mkdir()
    (failed / "error.txt").write_text("out of memory")
    identities = {"killed": {"seed": 0}, "copied": {"seed": 1}, "failed": {"seed": 2}, "new": {"seed": 3}}
    before = runs.entries(identities)
    assert {digest: entry.status for digest, entry in before.items()} == {
        "killed": "done",
        "copied": "done",
        "failed": "failed",
    }
    runs.take_in(identities)
    assert {digest: row[0] for digest, row in rows(runs).items()} == {
        "killed": "done",
        "copied": "done",
        "failed": "failed",
    }
    (tmp_path / "runs.sqlite").unlink()
    assert runs.entry("copied").record == RECORD
    runs.take_in(identities)
    assert set(rows(runs)) == {"killed", "copied", "failed"}


def test_a_run_whose_folder_was_deleted_is_to_be_trained_again(tmp_path):
    runs = Runs(tmp_path)
    runs.begin("a", {})
    trained(runs, "a")
    runs.finish("a", RECORD)
    shutil.rmtree(runs.folder_of("a"))
    assert runs.entry("a") is None


def test_more_runs_than_a_query_takes(tmp_path):
    runs = Runs(tmp_path)
    names = [f"{number:04}" for number in range(1200)]
    for name in names:
        trained(runs, name)
    runs.take_in({name: {} for name in names})
    assert len(runs.entries([*names, "other"])) == 1200
    assert len(rows(runs)) == 1200


def test_no_write_ahead_log_which_machines_cannot_share(tmp_path):
    runs = Runs(tmp_path)
    runs.begin("a", {})
    with sqlite3.connect(tmp_path / "runs.sqlite") as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    file.close()


def test_many_writers_lose_nothing(tmp_path):
    runs = Runs(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: runs.begin(str(number % 12), {}), range(36)))
    assert sorted(row[1] for row in rows(runs).values()) == [3] * 12


def test_read_while_another_process_is_making_the_file(tmp_path):
    file = sqlite3.connect(tmp_path / "runs.sqlite", isolation_level=None)
    file.execute("BEGIN IMMEDIATE")  # made, and empty until this ends
    assert Runs(tmp_path).entries(["a"]) == {}
    file.execute("COMMIT")
    file.close()
    assert Runs(tmp_path).entries(["a"]) == {}
    Runs(tmp_path).begin("a", {})
    assert Runs(tmp_path).entries(["a"])["a"].status == "running"


WRITER = """
import sys
from pathlib import Path
from augsuite.study.runs import Runs
runs = Runs(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(100000):
    runs.begin(str(number), {"seed": number})
    print(number, flush=True)
"""


def test_killed_while_it_writes_the_file_stays_whole(tmp_path):
    runs, told = Runs(tmp_path), []
    for after in (0.02, 0.11, 0.23):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdout.readline() == "ready\n"
        if after > 0.2:  # one at least comes so far that it writes, however busy the machine is
            told.append(process.stdout.readline().strip())
        time.sleep(after)
        os.killpg(process.pid, signal.SIGKILL)
        told += process.communicate()[0].split("\n")[:-1]
        process.stdout.close()
    with sqlite3.connect(tmp_path / "runs.sqlite") as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()
    assert told
    assert set(told) <= set(rows(runs))  # what was said to be written is there


def test_a_damaged_or_later_file_is_a_clear_line(tmp_path):
    runs = Runs(tmp_path)
    runs.begin("a", {})
    with sqlite3.connect(tmp_path / "runs.sqlite") as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(DataError, match=r"runs\.sqlite: written by a later augsuite"):
        runs.entries(["a"])
    (tmp_path / "runs.sqlite").write_bytes(b"this is no database, " * 99)
    with pytest.raises(DataError, match=r"runs\.sqlite: cannot be used.*may be deleted") as told:
        runs.begin("a", {})
    assert "\n" not in str(told.value)


def test_a_damaged_record_names_its_file(tmp_path):
    runs = Runs(tmp_path)
    trained(runs, "a")
    (runs.folder_of("a") / "record.json").write_text("{")
    with pytest.raises(DataError, match=r"record\.json: cannot be read"):
        runs.entry("a")


def test_where_runs_go(tmp_path, monkeypatch):
    monkeypatch.delenv("AUGSUITE_STORE", raising=False)
    folder = tmp_path / "studies" / "bccd"
    assert place_of(folder, None, None) == tmp_path / "studies" / "_store"
    assert place_of(folder, folder, None) == folder
    assert place_of(folder, folder, tmp_path / "mine") == tmp_path / "mine"
    monkeypatch.setenv("AUGSUITE_STORE", "/elsewhere")
    assert str(place_of(folder, folder, None)) == "/elsewhere"
    folder.mkdir(parents=True)
    trained(Runs(folder), "a")
    assert Store(folder).record("a") == RECORD  # a folder of before there was a store
