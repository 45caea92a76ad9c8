"""What is said of Google's storage where it answers with an error: a server of this test says what its documentation lists."""

from __future__ import annotations

import contextlib
import http.server
import threading

import pytest

import augsuite
from augsuite.dataset import remote_tree, stores
from augsuite.errors import ConfigError

pytest.importorskip("gcsfs")


@contextlib.contextmanager
def answering(status: int):
    """The address of a server that answers each request with this status, and what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "said", "times"), [(503, "cannot be reached, 6 tries", stores.TRIES), (403, "access denied", 1)]
)
def test_an_error_is_one_line_and_only_one_layer_tries_again(status, said, times, monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(stores, "_BACKOFF_S", 0.002)
    with answering(status) as (address, asked):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        remote_tree.forget_all()
        with pytest.raises(ConfigError, match=said) as caught:
            augsuite.read("gs://bucket/x")
    remote_tree.forget_all()
    assert "\n" not in str(caught.value)
    assert len(asked) == times
    assert capfd.readouterr().err == "", "no traceback of the package"
