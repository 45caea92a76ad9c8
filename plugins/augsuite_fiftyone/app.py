"""The FiftyOne App of this machine: its server as a process of its own, which ends with the one that started it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import webbrowser
from types import TracebackType
from typing import IO, Self

from augsuite import ConfigError, PluginError

LOOPBACK = "127.0.0.1"
USUAL_PORT = 5151
"""FiftyOne's own; taken where it is free and no other is asked for."""

_SECONDS = 120.0  # a busy machine takes long to import FiftyOne
_PAUSE = 0.1
_END = 10.0
_TAIL = 3  # lines of its log
_WAITING = 100  # connections, until it takes them


class App:
    """The App's server. It starts when this is made, and meanwhile other work can be done; close it, or use it in a `with`.

    The server ends when the process that made it does, however that ends: it waits for the end of a pipe.

    Attributes:
        address: what it listens on.
        port: of TCP.
    """

    def __init__(self, port: int | None = None, address: str = LOOPBACK, database: str | None = None) -> None:
        """Start it; returns at once.

        Args:
            port: of TCP; None for 5151, or any free one where that is taken.
            address: what to listen on. Whoever can reach it can see and change all datasets, and any file that this user can read.
            database: a MongoDB's URI; augsuite's own by default.

        Raises:
            ConfigError: if the port is in use, or the address is none of this machine.
        """
        self.address = address
        with _listening(address, port) as door:
            self.port = int(door.getsockname()[1])
            self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
            passed = () if sys.platform == "win32" else (door.fileno(),)
            if not passed:
                door.close()
            where = f"fd://{door.fileno()}" if passed else f"{address}:{self.port}"
            self._server = subprocess.Popen(
                [sys.executable, "-m", "augsuite_fiftyone.app_server", where, str(self.port), database or ""],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=self._log,
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C is for who waits; the server ends after that
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where a browser finds it; `http://127.0.0.1:5151`, say."""
        host = LOOPBACK if self.address in {"0.0.0.0", "::", ""} else self.address  # noqa: S104 - recognised, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._server.pid

    def link(self, dataset: str, view: str | None = None, workspace: str | None = None) -> str:
        """The address of a dataset.

        Args:
            dataset: its name in FiftyOne.
            view: the name of one of its saved views, as FiftyOne spells it in links.
            workspace: the same of one of its saved layouts.
        """
        asked = urllib.parse.urlencode({k: v for k, v in (("view", view), ("workspace", workspace)) if v})
        return f"{self.url}/datasets/{urllib.parse.quote(dataset, safe='')}{f'?{asked}' if asked else ''}"

    def ready(self, seconds: float = _SECONDS) -> None:
        """Wait until it answers.

        Raises:
            PluginError: if it ends instead, or does not answer in time; with the end of its log.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._server.poll() is not None:
                raise PluginError(f"the FiftyOne App ended as it started: {self._said()}")
            if self._answers():
                return
            time.sleep(_PAUSE)
        raise PluginError(f"the FiftyOne App did not answer within {seconds:.0f} s: {self._said()}")

    def wait(self) -> None:
        """Wait until Ctrl-C.

        Raises:
            PluginError: if the server ends before.
        """
        try:
            self._server.wait()
        except KeyboardInterrupt:
            return
        raise PluginError(f"the FiftyOne App ended: {self._said()}")

    def close(self) -> None:
        """End it."""
        if self._server.stdin is not None:
            self._server.stdin.close()
        try:
            self._server.wait(_END)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._log.close()

    def _answers(self) -> bool:
        asked = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).hostname or LOOPBACK, self.port, timeout=5)
        try:
            asked.request("GET", "/fiftyone")
            return asked.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asked.close()

    def _said(self) -> str:
        """The last lines of its log, as one."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines[-_TAIL:]) or "it said nothing."


def show(link: str, *, browser: bool) -> bool:
    """Open a link in the user's browser, where one can be seen.

    Args:
        link: what to open.
        browser: False to leave it.

    Returns:
        Whether one was opened.
    """
    if not browser or not _has_display():
        return False
    try:
        return webbrowser.open(link, new=2)
    except webbrowser.Error:
        return False


def _has_display() -> bool:
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _listening(address: str, port: int | None) -> socket.socket:
    """A socket that listens on the port asked for; else on the usual one if that is free, or any.

    The server gets it as it is: between looking for a free port and taking it, seconds later, another could have come.
    """
    for wanted in (USUAL_PORT, 0) if port is None else (port,):
        try:
            found = socket.getaddrinfo(address or None, wanted, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        except socket.gaierror as error:
            raise ConfigError(
                f"--address {address}: {error.strerror or error}. Give an address of this machine."
            ) from error
        door = socket.socket(found[0], socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":  # where it would take a port away from who has it
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(found[4])
            door.listen(_WAITING)
        except OSError as error:
            door.close()
            if port is not None:
                raise ConfigError(
                    f"{address}:{port}: cannot be listened on ({error.strerror or error}). "
                    "Choose another --port, or leave it out."
                ) from error
            continue
        return door
    raise ConfigError(f"{address}: no port of it can be listened on. Give --address an address of this machine.")
