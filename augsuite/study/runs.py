"""Trained runs, shared by all studies that ask for them: one SQLite file, and a folder for each run.

<store>/
  runs.sqlite                 a row for each run: what was asked, how it stands, what it found, where and when
  runs/<digest>/              what a run made; the digest names everything that its result depends on
    identity.json             what was digested
    run.json metrics.jsonl model.pt predictions.json
    checkpoint.pt             of a run that is being trained, or was when it was killed: it goes on from there
    error.txt                 why the last attempt failed, and its traceback
    record.json               written last: where it exists, the run is complete and is never trained again
  runs/<digest>.lock          held by the process that trains the run; the system frees it when that process ends

A run's own folder is what counts; its row repeats it, to be asked quickly and with SQL. So a process may end between the two at any
moment: `Runs.take_in` makes good what is missing, the whole file if need be.

The folder may be shared by several machines: SQLite then keeps a rollback journal (its write-ahead log needs memory that all
processes share: sqlite.org/wal.html), and a process waits for another's transaction. The file system must lock files for all of
them, as NFS 4 does.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from filelock import FileLock

from augsuite.errors import DataError
from augsuite.protocols import RunRecord
from augsuite.registry import one_line

T = TypeVar("T")

Status = Literal["running", "done", "failed"]

_BUSY_S = 60.0  # how long to wait for another process's transaction; one takes milliseconds
_VERSION = 1
_MANY = 500  # parameters in one query; SQLite's oldest limit is 999

_TABLE = """
CREATE TABLE IF NOT EXISTS runs (
    digest TEXT PRIMARY KEY,
    identity TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    record TEXT,
    error TEXT,
    attempts INTEGER NOT NULL,
    host TEXT,
    began TEXT,
    ended TEXT
) WITHOUT ROWID
"""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands.

    Attributes:
        status: `running` may also be one that was killed: whether it is being trained, its lock says.
        record: what it found, where it is done.
        error: why the last attempt failed, and the traceback where there is one.
        attempts: how often it was begun.
        host: the machine of the last attempt.
        began: when that began, UTC.
        ended: when it ended.
    """

    status: Status
    record: RunRecord | None = None
    error: str | None = None
    attempts: int = 0
    host: str | None = None
    began: str | None = None
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Runs:
    """A store of runs.

    Attributes:
        folder: made when the first run begins.
    """

    folder: Path

    def folder_of(self, digest: str) -> Path:
        """The folder of one run."""
        return self.folder / "runs" / digest

    def lock(self, digest: str) -> FileLock:
        """The lock of one run; to be acquired by whoever trains it."""
        folder = self.folder_of(digest)
        folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(folder.with_name(f"{digest}.lock"))

    def entry(self, digest: str) -> Entry | None:
        """How one run stands; None where nobody began it. See `entries`."""
        return self.entries([digest]).get(digest)

    def entries(self, digests: Iterable[str]) -> dict[str, Entry]:
        """How runs stand; without those that nobody began.

        Raises:
            DataError: if a run's record is damaged.
        """
        wanted = list(dict.fromkeys(digests))
        rows = self._rows(wanted)
        found = {}
        for digest in wanted:
            entry = self._seen(digest, rows.get(digest))
            if entry is not None:
                found[digest] = entry
        return found

    def begin(self, digest: str, identity: Mapping[str, Any]) -> None:
        """Note that this process begins a run, whose lock it holds.

        Raises:
            DataError: if the store cannot be written.
        """
        with self._writing() as rows:
            rows.execute(
                "INSERT INTO runs (digest, identity, status, attempts, host, began) VALUES (?, ?, 'running', 1, ?, ?) "
                "ON CONFLICT (digest) DO UPDATE SET status = 'running', record = NULL, error = NULL, attempts = attempts + 1, "
                "host = excluded.host, began = excluded.began, ended = NULL",
                (digest, _text(identity), platform.node(), _now()),
            )

    def finish(self, digest: str, record: RunRecord) -> None:
        """Note what a run found.

        Raises:
            DataError: if the store cannot be written; the run's own folder holds the record all the same.
        """
        with self._writing() as rows:
            rows.execute(
                "UPDATE runs SET status = 'done', record = ?, error = NULL, ended = ? WHERE digest = ?",
                (_text(record), _now(), digest),
            )

    def fail(self, digest: str, error: Exception) -> str:
        """Note why a run failed, in its folder and in its row: one line, which is returned, and the traceback where there is one."""
        line = one_line(error)
        text = "\n".join([line, *getattr(error, "__notes__", ())])
        folder = self.folder_of(digest)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "error.txt", text)
        # Where the row cannot be written, the folder says it; the next study takes it in.
        with contextlib.suppress(DataError), self._writing() as rows:
            rows.execute(
                "UPDATE runs SET status = 'failed', error = ?, ended = ? WHERE digest = ?", (text, _now(), digest)
            )
        return line

    def take_in(self, identities: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the rows of those runs whose folders say more than their rows: of killed processes, of a lost file.

        Args:
            identities: digest -> what was digested.

        Raises:
            DataError: if the store cannot be read or written.
        """
        rows = self._rows(list(identities))
        missing = []
        for digest, identity in identities.items():
            seen, row = self._seen(digest, rows.get(digest)), rows.get(digest)
            if seen is not None and seen.status != "running" and (row is None or row.status != seen.status):
                record = None if seen.record is None else _text(seen.record)
                ended = datetime.fromtimestamp(self._changed(digest, seen.status), UTC).isoformat(timespec="seconds")
                missing.append((digest, _text(identity), seen.status, record, seen.error, ended))
        if missing:
            with self._writing() as connection:
                connection.executemany(
                    "INSERT INTO runs (digest, identity, status, record, error, attempts, ended) VALUES (?, ?, ?, ?, ?, 1, ?) "
                    "ON CONFLICT (digest) DO UPDATE SET status = excluded.status, record = excluded.record, "
                    "error = excluded.error, ended = excluded.ended",
                    missing,
                )

    def _seen(self, digest: str, row: Entry | None) -> Entry | None:
        """A row, unless the run's folder knows better."""
        folder = self.folder_of(digest)
        if (folder / "record.json").exists():
            if row is not None and row.status == "done":
                return row
            record = read_json(folder / "record.json", RunRecord)
            return Entry(status="done", record=record)
        if row is not None and row.status == "running":
            return row
        try:
            error = (folder / "error.txt").read_text(encoding="utf-8")
        except OSError:
            return None  # a row whose folder was deleted, too: the run is to be trained again
        return row if row is not None and row.status == "failed" else Entry(status="failed", error=error)

    def _changed(self, digest: str, status: Status) -> float:
        return (self.folder_of(digest) / ("record.json" if status == "done" else "error.txt")).stat().st_mtime

    def _rows(self, digests: list[str]) -> dict[str, Entry]:
        path = self.folder / "runs.sqlite"
        if not path.exists():
            return {}
        found = {}
        # Not read-only: what a killed process left half written must be rolled back before anything can be read.
        with self._connected("rw") as connection:
            if _version(connection) == 0:
                return {}  # a process that is making the file has not yet written its table
            for at in range(0, len(digests), _MANY):
                part = digests[at : at + _MANY]
                marks = ", ".join("?" * len(part))
                query = f"SELECT digest, status, record, error, attempts, host, began, ended FROM runs WHERE digest IN ({marks})"  # noqa: S608 - marks are question marks
                for digest, status, record, error, *rest in connection.execute(query, part):
                    known = None if record is None else msgspec.json.decode(record, type=RunRecord)
                    attempts, host, began, ended = rest
                    found[digest] = Entry(
                        status=status, record=known, error=error, attempts=attempts, host=host, began=began, ended=ended
                    )
        return found

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._connected("rwc") as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                # Within the transaction: of two processes that make the file at once, the second finds it made.
                if _version(connection) == 0:
                    connection.execute(_TABLE)
                    connection.execute(f"PRAGMA user_version = {_VERSION}")
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _connected(self, mode: str) -> Iterator[sqlite3.Connection]:
        """A connection of its own for each question: none is carried into another process, or kept over hours of training."""
        path = self.folder / "runs.sqlite"
        try:
            uri = f"{path.absolute().as_uri()}?mode={mode}"
            with contextlib.closing(sqlite3.connect(uri, _BUSY_S, isolation_level=None, uri=True)) as connection:
                version = _version(connection)
                if version > _VERSION:
                    raise DataError(
                        f"{path}: written by a later augsuite (version {version} of the table). Upgrade, or use another --store."
                    )
                yield connection
        except (sqlite3.Error, msgspec.DecodeError, OSError) as error:
            raise DataError(
                f"{path}: cannot be used: {one_line(error)}. Is the disk full, or the folder read-only? "
                "A damaged file may be deleted: the runs' folders hold everything, and it is made again from them."
            ) from error


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def read_json(path: Path, kind: type[T]) -> T | None:
    """A JSON file as a value of a type; None where there is no such file.

    Raises:
        DataError: if it is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(
            f"{path}: cannot be read: {one_line(error)}. Delete the file, and run the study again."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is whole or not there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
