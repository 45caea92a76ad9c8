"""A real S3 server on loopback, and a proxy before it that misbehaves as told, counts, and stops requests."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

import pytest

BUCKET = "bucket"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def s3_server():
    """The address of moto's server, in a process of its own."""
    port = free_port()
    log = subprocess.DEVNULL
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@dataclass
class Rule:
    """What happens to requests: the first `times` of those that it fits.

    Attributes:
        method: GET, PUT, ...; "" for any.
        path: a part of the path and query.
        what: a status to answer; "reset" to close the connection, "cut" to do so in the middle of the answer, "stop" to answer nothing
            until the server ends, "late" to answer after a quarter of a second.
        times: how many requests.
        after: how many are let through before.
    """

    method: str
    path: str
    what: int | str
    times: int = 10**9
    after: int = 0
    seen: int = 0
    done: threading.Event = field(default_factory=threading.Event)


class Proxy(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Passes requests on, to `target`.

    Attributes:
        rules: see `Rule`.
        requests: method and path of each.
        most: how many ran at once.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target.removeprefix("http://")
        self.rules: list[Rule] = []
        self.requests: list[tuple[str, str]] = []
        self.running = self.most = 0
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # clients that were killed

    def rule(self, method: str, path: str) -> Rule | None:
        with self.lock:
            self.requests.append((method, path))
            for rule in self.rules:
                if rule.method in {"", method} and rule.path in path:
                    rule.seen += 1
                    if rule.after < rule.seen <= rule.after + rule.times:
                        rule.done.set()
                        return rule
        return None

    def count(self, method: str, part: str = "") -> int:
        return sum(each == method and part in path for each, path in self.requests)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def _pass_on(self):
        server = self.server
        with server.lock:
            server.running += 1
            server.most = max(server.most, server.running)
        try:
            self._answer(server)
        finally:
            with server.lock:
                server.running -= 1

    def _answer(self, server):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule = server.rule(self.command, self.path)
        what = None if rule is None else rule.what
        if isinstance(what, int):
            said = b"<Error><Code>SlowDown</Code><Message>told to</Message></Error>" if what == 503 else b""
            self.send_response(what)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said)
            return
        if what == "stop":
            server.ended.wait(60)
        if what == "late":
            time.sleep(0.25)
        if what in {"reset", "stop"}:
            self._reset()
            return
        upstream = http.client.HTTPConnection(server.target, timeout=60)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "expect"}
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in headers.items():
            upstream.putheader(key, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in {"connection", "transfer-encoding", "content-length", "server", "date"}:
                self.send_header(key, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if what == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self._reset()
            return
        self.wfile.write(content)
        upstream.close()

    def _reset(self):
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


for _method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
    setattr(_Handler, f"do_{_method}", _Handler._pass_on)


@contextlib.contextmanager
def proxy(target: str):
    server = Proxy(target)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def server():
    """The address of the server."""
    with s3_server() as address:
        yield address


@pytest.fixture
def front(server, monkeypatch, tmp_path):
    """The proxy through which everything goes."""
    from augsuite.dataset import remote_tree, stores

    with proxy(server) as found:
        for key, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": found.url}.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(stores, "_BACKOFF_S", 0.002)
        remote_tree.forget_all()
        yield found
        remote_tree.forget_all()


@pytest.fixture
def bucket(front, server):
    """An empty bucket, looked at by boto3."""
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket=BUCKET)
    found = boto3.resource("s3", endpoint_url=server).Bucket(BUCKET)
    found.objects.all().delete()
    yield found
    client.close()
