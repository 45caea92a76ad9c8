"""FiftyOne's server, run until a pipe ends: `python -m augsuite_fiftyone.app_server WHERE PORT DATABASE`.

FiftyOne's own way to start it puts a process in between that looks after it, and listens on all addresses in a container.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable

from augsuite import AugsuiteError
from augsuite_fiftyone.app_plugin.install import FOLDER, offered
from augsuite_fiftyone.database import connect

_PATIENCE = 3.0  # seconds for browsers to let go


def main() -> None:
    """Serve until whoever started this closes its standard input, or is gone.

    Arguments: where to listen, as hypercorn has it: `fd://7` for a socket that is open already, or `address:port`; the port; the URI of
    a MongoDB, or nothing.
    """
    where, port, database = sys.argv[1:]
    until = _Until()
    # FiftyOne reads it as it is imported: datasets are then read anew for each request instead of kept.
    os.environ["FIFTYONE_SERVER"] = "1"
    _offer()
    connect(database or None, quiet=True)
    asyncio.run(_serve(where, int(port), until))
    os._exit(0)  # threads of FiftyOne and of MongoDB's driver would be waited for


class _Until:
    """Waits for the end of standard input, from the beginning: importing FiftyOne takes seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: Callable[[], object] = lambda: os._exit(0)
        threading.Thread(target=self._listen, daemon=True).start()

    def serving(self, end: Callable[[], object]) -> None:
        """What to do at the end from now on, before this process is ended."""
        with self._lock:
            self._end = end

    def _listen(self) -> None:
        while sys.stdin.buffer.read(1):
            pass
        with self._lock:
            self._end()
        time.sleep(_PATIENCE)
        os._exit(0)


def _offer() -> None:
    """Have FiftyOne find our operators, beside the user's plugins."""
    try:
        os.environ[FOLDER] = str(offered())
    except AugsuiteError as error:
        print(f"the App has no operators of augsuite: {error}", file=sys.stderr)
    # Lets operations be scheduled in the App, for `augsuite fiftyone delegated` to run.
    os.environ.setdefault("FIFTYONE_ALLOW_LEGACY_ORCHESTRATORS", "true")


async def _serve(where: str, port: int, until: _Until) -> None:
    from fiftyone.server.app import app
    from fiftyone.server.events import set_port
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    until.serving(lambda: loop.call_soon_threadsafe(ended.set))
    config = Config()
    config.bind = [where]
    config.graceful_timeout = 1.0
    config.loglevel = "WARNING"
    set_port(port)
    await serve(app, config, shutdown_trigger=ended.wait)


if __name__ == "__main__":
    main()
