"""A process of its own that runs one MongoDB, and ends it when the last of its clients is gone, however that one went.

Standard library only, and run as a script: it must be up in a moment. A client is whoever holds a connection to it; the system closes
those of a process that dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

HOST = "127.0.0.1"
STATE = "server.json"
LOG = "mongod.log"
_FIRST_CLIENT_S = 60.0  # whoever starts a supervisor connects at once; if it was killed meanwhile, nobody does
_START_S = 120.0  # after an unclean end MongoDB replays its journal first
_STOP_S = 60.0
_TAKEN = 48  # what mongod returns where its port is somebody else's
_PARENT_DIES = 1  # PR_SET_PDEATHSIG
_HELLO = 128  # bytes


def main(folder: Path, mongod: str) -> int:
    """Run MongoDB on the database in a folder until nobody needs it; says on stdout `ready`, or in one line what is wrong."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for a client, which may still want to write
    with socket.create_server((HOST, 0)) as door:
        try:
            child, port = _start(folder, mongod)
        except (RuntimeError, OSError) as error:
            print(error, flush=True)
            return 1
        token = secrets.token_hex(16)
        try:
            _tell(folder, {"door": door.getsockname()[1], "token": token, "port": port, "pid": os.getpid()})
            print("ready", flush=True)
            _serve(door, token.encode(), child)
        finally:
            if token in _state(folder):  # else it is that of one that came after this one
                (folder / STATE).unlink(missing_ok=True)
            _end(child)
    return 0


class _Stopped(BaseException):
    pass


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _Stopped


def _start(folder: Path, mongod: str) -> tuple[subprocess.Popen[bytes], int]:
    data, log = folder / "database", folder / LOG
    data.mkdir(parents=True, exist_ok=True)
    command = [mongod, "--dbpath", str(data), "--logpath", str(log), "--logappend", "--bind_ip", HOST]
    # Half of the machine's memory would be the default: too much for something that runs beside a training.
    command += ["--wiredTigerCacheSizeGB", "1", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    command += [] if sys.platform == "win32" else ["--nounixsocket"]
    for _ in range(5):
        log.unlink(missing_ok=True)
        with socket.create_server((HOST, 0)) as free:
            port = free.getsockname()[1]
        with log.open(
            "ab"
        ) as errors:  # of what happens before it has a log of its own, such as a library that is not there
            child = subprocess.Popen(
                [*command, "--port", str(port)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one thread only
            )
        if _answers(child, port):
            return child, port
        if child.returncode != _TAKEN:
            break
    raise RuntimeError(f"MongoDB did not start ({_reason(log, child.returncode)}). Its log: {log}")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGTERM)


def _answers(child: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until it takes connections; False if it ended, or took too long and was ended."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if child.poll() is not None:
            return False
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1):
            return True
        time.sleep(0.02)
    _end(child)
    return False


def _reason(log: Path, code: int | None) -> str:
    """The last error in MongoDB's log, which is JSON but for what was said before it began."""
    said = f"it returned {code}"
    with contextlib.suppress(OSError):
        for line in log.read_text("utf-8", "replace").splitlines():
            try:
                entry = json.loads(line)
                error = entry["s"] in {"E", "F"}
            except (ValueError, KeyError, TypeError):
                error, entry = bool(line.strip()), {"msg": line}
            if error:
                attributes = entry.get("attr", {})
                said = " ".join(str(attributes.get("error", attributes.get("message", entry["msg"]))).split())[:300]
    return said


def _tell(folder: Path, state: dict[str, int | str]) -> None:
    fresh = folder / f".{STATE}.{secrets.token_hex(4)}"
    fresh.touch(0o600)
    fresh.write_text(json.dumps(state), "utf-8")
    fresh.replace(folder / STATE)


def _state(folder: Path) -> str:
    try:
        return (folder / STATE).read_text("utf-8")
    except OSError:
        return ""


def _serve(door: socket.socket, token: bytes, child: subprocess.Popen[bytes]) -> None:
    """Until the last client is gone, MongoDB ended by itself, or somebody ends this process."""
    waiting = selectors.DefaultSelector()
    waiting.register(door, selectors.EVENT_READ)
    clients: set[socket.socket] = set()
    until: float | None = time.monotonic() + _FIRST_CLIENT_S
    with contextlib.suppress(_Stopped):
        while child.poll() is None:
            for key, _ in waiting.select(1.0):
                peer = key.fileobj
                if peer is door:
                    fresh, _ = door.accept()
                    fresh.settimeout(5)
                    if child.poll() is None and _admitted(fresh, token):
                        waiting.register(fresh, selectors.EVENT_READ)
                        clients.add(fresh)
                        until = None
                    else:
                        fresh.close()
                elif isinstance(peer, socket.socket) and not _alive(peer):
                    waiting.unregister(peer)
                    clients.discard(peer)
                    peer.close()
                    if not clients:
                        return
            if until is not None and time.monotonic() > until:
                return


def _admitted(peer: socket.socket, token: bytes) -> bool:
    """Whether it is one of ours: the port may be another's by the time that somebody reads an old state."""
    try:
        if peer.recv(_HELLO) != token:
            return False
        peer.sendall(b"welcome")
    except OSError:
        return False
    return True


def _alive(peer: socket.socket) -> bool:
    try:
        return bool(peer.recv(_HELLO))
    except OSError:
        return False


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
