"""Windows of a Visdom server, an environment for each run. The server is the user's: `python -m visdom.server`."""

from __future__ import annotations

import html
import json
import logging
import math
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import visdom

from augsuite.dataset.images import Image
from augsuite.errors import ConfigError

_SERVER = "http://localhost:8097"
_PORT = 8097


class VisdomTracker:
    """Draws curves in the environment named as the run's folder: a window for each metric, its categories in one."""

    def __init__(self, folder: Path) -> None:
        """Start anew: the environment of that name is deleted first.

        Raises:
            ConfigError: if no server answers at `VISDOM_SERVER` (by default one on this machine), or that is no address.
        """
        address = os.environ.get("VISDOM_SERVER") or _SERVER
        self._env = re.sub(r"[^\w.-]", "-", folder.resolve().name)
        logging.getLogger("visdom").setLevel(
            logging.ERROR
        )  # it tells of each session, and of sockets that are not wanted
        login: dict[str, Any] = {}
        if os.environ.get("VISDOM_USERNAME"):
            login = {name: os.environ.get(f"VISDOM_{name.upper()}", "") for name in ("username", "password")}
        try:
            parts = urlsplit(address if "://" in address else f"http://{address}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of logging, in visdom itself
                self._server = visdom.Visdom(
                    server=f"{parts.scheme}://{parts.hostname}",
                    port=parts.port or _PORT,
                    base_url=parts.path.rstrip("/") or "/",
                    env=self._env,
                    use_incoming_socket=False,
                    raise_exceptions=True,
                    **login,
                )
                self._server.delete_env(self._env)
        except (OSError, ValueError, RuntimeError) as error:  # requests' errors are OSErrors
            raise ConfigError(
                f"tracker visdom: no server answers at {address}. Start one with python -m visdom.server, or set VISDOM_SERVER."
            ) from error
        self._windows: set[str] = set()

    def start(self, run: Mapping[str, Any]) -> None:
        """Show what was asked for, as text."""
        shown = html.escape(json.dumps(run, indent=2, ensure_ascii=False))
        self._server.text(f"<pre>{shown}</pre>", win="run", env=self._env, opts={"title": "run"})

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Draw one more point of each curve; a value that is not a number leaves a gap."""
        for name, value in values.items():
            if not math.isfinite(value):
                continue
            window = name.split("/", 1)[0]
            self._server.line(
                X=[step],
                Y=[value],
                win=window,
                env=self._env,
                name=name,
                update="append" if window in self._windows else None,
                opts={"title": window, "xlabel": "step", "showlegend": True},
            )
            self._windows.add(window)

    def image(self, name: str, image: Image, step: int) -> None:
        """Show a picture."""
        title = f"{name}, step {step}"
        self._server.image(image.transpose(2, 0, 1), win=name, env=self._env, opts={"title": title})

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Show the metrics of the finished run, as text."""
        rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{value:.2f}</td></tr>" for name, value in metrics.items())
        self._server.text(f"<table>{rows}</table>", win="metrics", env=self._env, opts={"title": "metrics"})

    def close(self) -> None:
        """Let the server keep the environment on its disk."""
        self._server.save([self._env])


def open_visdom(folder: Path) -> VisdomTracker:
    """Open an environment of a Visdom server; see `augsuite.protocols.OpenTracker`."""
    return VisdomTracker(folder)
