"""A real HTTP server on loopback that misbehaves as told, and archives to fetch from it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import re
import tarfile
import threading
import time
import zipfile
from dataclasses import dataclass, field

import PIL.Image
import yaml


@dataclass
class File:
    """What the server says about one path; the lists are used up, one entry for each request.

    Attributes:
        content: what the file holds.
        etag: its ETag; none where it is empty.
        statuses: answers before the first that is real.
        cuts: how many bytes of the body are sent before the connection is closed.
        ranges: whether `Range` is understood.
        if_range: whether `If-Range` is.
        chunked: send no Content-Length.
        pause_s: time between two pieces of 64 KiB.
        pauses: other times, one for each of the first pieces.
        headers: more of them.
    """

    content: bytes
    etag: str = '"one"'
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    if_range: bool = True
    chunked: bool = False
    pause_s: float = 0
    pauses: list[float] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        file = self.server.files.get(self.path)
        status = file.statuses.pop(0) if file is not None and file.statuses else 404 if file is None else 200
        if status != 200:
            self.send_response(status)
            for name, value in ({} if file is None else file.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = not file.if_range or self.headers.get("If-Range", file.etag) == file.etag
        if asked and file.ranges and same:
            start = int(asked[1])
            if start >= len(file.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(file.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        body = file.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
        if file.etag:
            self.send_header("ETag", file.etag)
        for name, value in file.headers.items():
            self.send_header(name, value)
        self.send_header(*(("Transfer-Encoding", "chunked") if file.chunked else ("Content-Length", str(len(body)))))
        self.end_headers()
        cut = file.cuts.pop(0) if file.cuts else None
        with contextlib.suppress(ConnectionError):  # the client was killed
            for begin in range(0, len(body[:cut]), 1 << 16):
                piece = body[:cut][begin : begin + (1 << 16)]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if file.chunked else piece)
                time.sleep(file.pauses.pop(0) if file.pauses else file.pause_s)
            if cut is not None:
                self.close_connection = True
                self.connection.shutdown(2)
            elif file.chunked:
                self.wfile.write(b"0\r\n\r\n")


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by their path; `requests` lists what was asked: path, headers."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, File] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is what is tested."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def ranges(self, path: str) -> list[str]:
        """The `Range` of each request for a path; empty for one without."""
        return [headers.get("Range", "") for asked, headers in self.requests if asked == path]


@contextlib.contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def voc_files(count: int = 3, padding: int = 0) -> dict[str, bytes]:
    """A small VOC dataset as path -> content; `padding` random-looking bytes are added in a file of their own."""
    files = {}
    for number in range(count):
        image = io.BytesIO()
        PIL.Image.new("RGB", (40, 30), (number * 9, 100, 50)).save(image, "JPEG")
        files[f"JPEGImages/{number}.jpg"] = image.getvalue()
        files[f"Annotations/{number}.xml"] = (
            f"<annotation><filename>{number}.jpg</filename><size><width>40</width><height>30</height><depth>3</depth></size>"
            "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>22</ymax></bndbox></object></annotation>"
        ).encode()
    if padding:
        files["padding.bin"] = b"".join(
            hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(padding // 32)
        )
    return files


def make_zip(files: dict[str, bytes], prefix: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(prefix + name, content)
    return buffer.getvalue()


def make_tar(files: dict[str, bytes], prefix: str = "", mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_card(path, *archives, name: str = "tiny"):
    """Write a card; each archive is what the card says of it."""
    card = {
        "name": name,
        "summary": "three images",
        "source": "made by a test",
        "licence": "CC0-1.0",
        "images": {"all": 3},
        "boxes": {"all": 3},
        "categories": ["cat"],
        "format": "voc",
        "archives": list(archives),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(card, sort_keys=False))
    return path


def described(server: Server, path: str, content: bytes, **more) -> dict[str, object]:
    """An archive as a card describes it, with size and digest."""
    return {
        "urls": [server.url(path)],
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **more,
    }
