"""FiftyOne's server, run until a pipe ends: `python -m augsuite_fiftyone.app_server ADDRESS PORT DATABASE`.

FiftyOne's own way to start it puts a process in between that looks after it, and listens on all addresses in a container.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading

from augsuite_fiftyone.database import connect

_PATIENCE = 3.0  # seconds for browsers to let go


def main() -> None:
    """Serve until whoever started this closes its standard input, or is gone."""
    address, port, database = sys.argv[1:]
    # FiftyOne reads it as it is imported: datasets are then read anew for each request instead of kept.
    os.environ["FIFTYONE_SERVER"] = "1"
    connect(database or None, quiet=True)
    asyncio.run(_serve(address, int(port)))
    os._exit(0)  # threads of FiftyOne and of MongoDB's driver would be waited for


async def _serve(address: str, port: int) -> None:
    from fiftyone.server.app import app
    from fiftyone.server.events import set_port
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def listen() -> None:
        while sys.stdin.buffer.read(1):
            pass
        loop.call_soon_threadsafe(ended.set)
        timer = threading.Timer(_PATIENCE, os._exit, (0,))
        timer.daemon = True
        timer.start()

    threading.Thread(target=listen, daemon=True).start()
    config = Config()
    config.bind = [f"[{address}]:{port}" if ":" in address else f"{address}:{port}"]
    config.graceful_timeout = 1.0
    config.loglevel = "WARNING"
    set_port(port)
    await serve(app, config, shutdown_trigger=ended.wait)


if __name__ == "__main__":
    main()
