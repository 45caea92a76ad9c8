"""Download one file over HTTP: resumed where it broke off, tried again where that helps, checked before it is called done."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
import requests
import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, ProtocolError

from augsuite import __version__
from augsuite.dataset.cards import Archive
from augsuite.dataset.progress import advance
from augsuite.errors import DataError

_CHUNK = 1 << 18  # bytes: what a lost connection may cost
_TIMEOUT_S = (20, 60)  # to connect, and between two packets
_TRIES = 6
_BACKOFF_S = 0.5
_WORTH = 1 << 20  # bytes: a connection that brought so many was worth it, and the tries are counted anew
_LONGEST_WAIT_S = 60.0  # a server may ask for hours
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _Retry(urllib3.Retry):
    """Counts the tries and waits between them: not at all, then 1 s, 2 s, 4 s, ... or as the server asks."""

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        try:
            asked = super().get_retry_after(response)
        except InvalidHeader:
            return None
        return None if asked is None else min(asked, _LONGEST_WAIT_S)


class _Passing(Exception):  # noqa: N818 - it is no error until the tries are used up
    """What another try may mend."""

    def __init__(self, why: str, response: urllib3.BaseHTTPResponse | None = None) -> None:
        super().__init__(why)
        self.response = response


class _Whole(Exception):  # noqa: N818 - see above
    """There is no more to come."""


class _Part(msgspec.Struct, frozen=True):
    """What is remembered of an unfinished download, in a file beside it.

    Attributes:
        url: where it comes from.
        validator: the server's name for this state of the file: a strong ETag, or a date.
    """

    url: str
    validator: str = ""


def download(archive: Archive, whole: Path) -> None:
    """Download an archive, unless it is there already; what a kill or an error leaves is gone on with.

    Args:
        archive: what to download.
        whole: the file when it is whole and checked; before, it has `.part` at the end of its name.

    Raises:
        DataError: if no source gives the right file; what there is of it is kept where that is worth something.
        OSError: if it cannot be written.
    """
    if whole.exists():
        return
    part = whole.with_name(f"{whole.name}.part")
    meter = _Meter(f"downloading {archive.name}")
    failures = []
    for url in archive.urls:
        try:
            _Transfer(archive, url, part, meter).run()
        except DataError as error:
            failures.append(str(error))
        else:
            part.rename(whole)
            _memory(part).unlink(missing_ok=True)
            return
    raise DataError(" Then ".join(failures))


@dataclass
class _Meter:
    """Tells how much of a file is there; it may become less."""

    what: str
    shown: int = 0

    def show(self, done: int, total: int | None) -> None:
        advance(self.what, done - self.shown, total)
        self.shown = done


@dataclass
class _Transfer:
    """One archive from one source into one part file."""

    archive: Archive
    url: str
    part: Path
    meter: _Meter

    def run(self) -> None:
        """Bring the part file to its end, and check it; once more from the start where only the resumed file is wrong."""
        resumed = _size(self.part) > 0
        self._persist()
        wrong = self._wrong()
        if wrong and resumed:
            _forget(self.part)
            self._persist()
            wrong = self._wrong()
        if wrong:
            _forget(self.part)
            raise self._other_file(wrong)

    def _persist(self) -> None:
        """Try until the file is whole or the tries are used up."""
        fresh = _Retry(total=_TRIES - 1, backoff_factor=_BACKOFF_S, backoff_max=30)
        retry: urllib3.Retry = fresh
        with requests.Session() as session:
            while True:
                before = _size(self.part)
                try:
                    self._attempt(session)
                except _Passing as error:
                    here = _size(self.part)
                    if here - before >= _WORTH:
                        retry = fresh
                    try:
                        retry = retry.increment("GET", self.url, error=error)
                    except MaxRetryError:
                        advice = f"{here:,} bytes are kept; run" if here else "Run"
                        raise DataError(
                            f"{self.url}: {error} ({_TRIES} tries). {advice} the same command again to go on."
                        ) from error
                    retry.sleep(error.response)
                except requests.RequestException as error:
                    raise DataError(f"{self.url}: cannot be fetched ({_root(error)}). Check the address.") from error
                else:
                    return

    def _attempt(self, session: requests.Session) -> None:
        """One request, which begins where the part file ends, if that is known to be the same file."""
        have = _size(self.part)
        if have and have == self.archive.bytes:
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": f"augsuite/{__version__}"}
        known = _recall(self.part)
        if have and known.url == self.url and known.validator:
            headers |= {"Range": f"bytes={have}-", "If-Range": known.validator}
        elif have and (self.archive.sha256 or self.archive.md5):
            headers["Range"] = f"bytes={have}-"  # another source, or one that names no state: the digest will tell
        else:
            have = 0
        try:
            with session.get(self.url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
                self._judge(response, have, known)
                self._pour(response, have if response.status_code == 206 else 0)
        except _Whole:
            return
        except requests.exceptions.SSLError:
            raise
        except (requests.ConnectionError, requests.Timeout, HTTPError) as error:
            raise _Passing(f"the connection failed ({_root(error)})") from error

    def _judge(self, response: requests.Response, have: int, known: _Part) -> None:
        """Raise what a response means that brings nothing to go on with."""
        status = response.status_code
        start, total = _extent(response)
        if status == 416 and have:
            if self.archive.bytes is None and total == have:
                raise _Whole
            _forget(self.part)
            raise _Passing("the server has no more of the file than is here")
        if status in _PASSING:
            raise _Passing(f"the server answered {status} {response.reason}", response.raw)
        if status not in {200, 206}:
            raise DataError(f"{self.url}: the server answered {status} {response.reason}. The file may have moved.")
        if status == 206:
            changed = known.url == self.url and known.validator not in {"", _validator(response)}
            if start != have or changed:
                _forget(self.part)
                raise _Passing("the server went on with another file, or in another place, than was asked for")
        if total is not None and total != (self.archive.bytes or total):
            raise self._other_file(f"expected {self.archive.bytes:,} bytes, the server offers {total:,}")

    def _pour(self, response: requests.Response, have: int) -> None:
        """Write what a response brings; each piece reaches the file at once, so that a kill loses little."""
        total = self.archive.bytes or _extent(response)[1]
        done = have
        with self.part.open("ab" if have else "wb") as file:
            _memory(self.part).write_bytes(msgspec.json.encode(_Part(self.url, _validator(response))))
            self.meter.show(done, total)
            # `raw`: a server may say that a .gz file is an encoding, which must not be undone
            try:
                for chunk in response.raw.stream(_CHUNK, decode_content=False):
                    file.write(chunk)
                    file.flush()
                    done += len(chunk)
                    self.meter.show(done, total)
                    if total is not None and done > total:
                        break
            except ProtocolError as error:
                raise _ended(done, total) from error
        if total is not None and done < total:
            raise _ended(done, total)
        if total is not None and done > total:
            _forget(self.part)
            raise self._other_file(f"it is longer than {total:,} bytes")

    def _wrong(self) -> str:
        """What distinguishes the file from the one on the card; empty where nothing does."""
        size = _size(self.part)
        if self.archive.bytes is not None and size != self.archive.bytes:
            return f"expected {self.archive.bytes:,} bytes, got {size:,}"
        kind, expected = ("sha256", self.archive.sha256) if self.archive.sha256 else ("md5", self.archive.md5)
        found = _digest(self.part, kind, f"checking {self.archive.name}") if expected else ""
        return f"expected {kind} {expected}, got {found}" if found != expected else ""

    def _other_file(self, why: str) -> DataError:
        return DataError(
            f"{self.url}: is not the file that the card describes ({why}). Try again later, or correct the card."
        )


def _ended(done: int, total: int | None) -> _Passing:
    return _Passing(f"the connection ended after {done:,}{f' of {total:,}' if total else ''} bytes")


def _extent(response: requests.Response) -> tuple[int | None, int | None]:
    """Where the content of a response begins, and how long the whole file is, as far as the headers say."""
    if response.status_code in {206, 416}:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            return None, None
        return (int(match[1]) if match[1] else None), (int(match[2]) if match[2] != "*" else None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(response: requests.Response) -> str:
    """What `If-Range` may name: an ETag that is not weak, else a date."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _digest(path: Path, kind: str, what: str) -> str:
    total = hashlib.new(kind, usedforsecurity=False)
    size = _size(path)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            total.update(chunk)
            advance(what, len(chunk), size)
    return total.hexdigest()


def _memory(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _recall(part: Path) -> _Part:
    try:
        return msgspec.json.decode(_memory(part).read_bytes(), type=_Part)
    except (OSError, msgspec.DecodeError):
        return _Part("")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _memory(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - the same, said shorter below an except
    except FileNotFoundError:
        return 0


def _root(error: BaseException) -> str:
    """The innermost reason, in one line: requests wraps urllib3, which wraps the system's."""
    while isinstance(inner := getattr(error, "reason", None) or (error.args[0] if error.args else None), BaseException):
        error = inner
    text = str(error).splitlines()
    return re.sub(r"^HTTPS?Connection\w*\([^)]*\): ", "", text[0]) if text else type(error).__name__
