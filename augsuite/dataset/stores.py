"""One bucket or server behind fsspec: its few operations, tried again where that helps, with errors of one line."""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from types import MethodType
from typing import Any, NamedTuple, NoReturn, TypeVar

from augsuite.dataset.remote_errors import CHANGED, DENIED, PlaceError, is_passing, redacted, said_by, status_of
from augsuite.dataset.urls import Url
from augsuite.errors import AugsuiteError, MissingExtraError

T = TypeVar("T")

TRIES = 6
_BACKOFF_S = 0.4  # before the second try at most; twice that before each further one
_LONGEST_S = 20.0
_CHUNK = 16 << 20  # bytes: a part of an upload
_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "Content-MD5", "version_id", "Last-Modified")
_TIMES = ("LastModified", "updated", "mtime", "modified", "created", "last_modified")
_WEB = frozenset({"http", "https"})
_GOOGLE = frozenset({"gs", "gcs"})


class Entry(NamedTuple):
    """A remote file.

    Attributes:
        size: bytes; None where the server does not say.
        version: changes with the content; "" where the server says nothing that does.
        modified: seconds since 1970; 0 where the server does not say.
    """

    size: int | None
    version: str
    modified: float


class Store:
    """A bucket, or a server: what lies there, by paths from its top with forward slashes.

    Attributes:
        place: the scheme and the bucket's or server's name.
        writable: whether files can be written there; over HTTP they cannot.
    """

    def __init__(self, place: Url) -> None:
        """Get ready; nothing is asked of the server yet.

        Raises:
            MissingExtraError: if the package for the scheme is not installed.
            ConfigError: if there is no such scheme.
        """
        self.place = place
        self.writable = place.scheme not in _WEB
        self._fs, self._root = _connect(place)
        self._is_s3 = hasattr(self._fs, "_call_s3")
        self._answers_ranges = True

    def url(self, path: str) -> str:
        """The address of a path, without what is secret in it."""
        return redacted(f"{self.place}/{path}" if path else str(self.place))

    def _key(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}" if path else self._root

    def info(self, path: str) -> Entry | None:
        """A file; None for a folder.

        Raises:
            FileNotFoundError: if there is neither.
            ConfigError: if the place cannot be reached or the access is denied.
        """
        found = self._tried(path, lambda: self._fs.info(self._key(path)))
        is_page = self.place.scheme in _WEB and found.get("mimetype") == "text/html"
        return None if found["type"] == "directory" or is_page else _entry(found)

    def holds(self, path: str) -> bool:
        """Whether there is a file of this path; asked more cheaply than `info`.

        Raises:
            ConfigError: as `info`.
        """
        try:
            if self._is_s3:
                from fsspec.asyn import sync

                bucket, key, _ = self._fs.split_path(self._key(path))
                self._tried(path, lambda: sync(self._fs.loop, self._fs._call_s3, "head_object", Bucket=bucket, Key=key))  # noqa: SLF001 - `info` lists the path as a folder, too
                return True
            return self.info(path) is not None
        except FileNotFoundError:
            return False

    def below(self, folder: str) -> Iterator[tuple[str, Entry | None]]:
        """Everything below a folder, however deep, by one listing where the server has such: path from the top, and file.

        An entry of None is a folder; others are not mentioned unless files lie in them.

        Raises:
            ConfigError: as `info`.
        """
        if self.place.scheme in _WEB:
            waiting = [folder]
            while waiting:
                try:
                    found = list(self.beside(waiting.pop()))
                except FileNotFoundError:
                    continue
                yield from found
                waiting += [path for path, entry in found if entry is None]
            return
        try:
            rows = self._tried(folder, lambda: self._fs.find(self._key(folder), detail=True))
        except FileNotFoundError:
            return
        yield from self._listed(folder, rows.values())

    def beside(self, folder: str) -> Iterator[tuple[str, Entry | None]]:
        """What a folder itself holds: path from the top, and file, or None for a folder.

        Raises:
            FileNotFoundError: if there is no such folder, over HTTP also if the server lists none.
            ConfigError: as `info`.
        """
        key = self._key(folder)
        if self.place.scheme in _WEB:
            key += "/"
        yield from self._listed(folder, self._tried(folder, lambda: self._fs.ls(key, detail=True)))

    def _listed(self, folder: str, found: Any) -> Iterator[tuple[str, Entry | None]]:
        top = self._root.rstrip("/") + "/"
        for about in found:
            name = about["name"].removeprefix(top)
            is_folder = about["type"] == "directory" or name.endswith("/")
            if self.place.scheme in _WEB:
                name = _unquoted(name, self._root)
            path = name.strip("/")
            parts = path.split("/")
            if path == folder or not path or not _is_below(path, folder) or any(part in _ODD for part in parts):
                continue
            yield path, None if is_folder else _entry(about)

    def read(self, path: str, entry: Entry, start: int, end: int) -> bytes:
        """Bytes of a file, in the version that `entry` says where the server can promise that.

        Raises:
            FileNotFoundError: if it is gone.
            NoRangesError: if the server sends files only whole, and this is a part.
            ConfigError: as `info`; or if the file is not the one that was listed.
        """
        whole = start == 0 and end == entry.size
        if start >= end:
            return b""
        if not (whole or self._answers_ranges):
            raise NoRangesError
        if self._is_s3 and entry.version:
            data = self._tried(path, lambda: self._read_s3(path, entry.version, None if whole else (start, end)))
        elif whole:
            data = self._tried(path, lambda: self._fs.cat_file(self._key(path)))
        else:
            data = self._tried(path, lambda: self._fs.cat_file(self._key(path), start=start, end=end))
        if not whole and len(data) == entry.size:
            self._answers_ranges = False
            return bytes(data[start:end])
        if len(data) != end - start:
            raise self._changed(path)
        return bytes(data)

    def _read_s3(self, path: str, version: str, limits: tuple[int, int] | None) -> bytes:
        from fsspec.asyn import sync

        bucket, key, _ = self._fs.split_path(self._key(path))
        asked = {} if limits is None else {"Range": f"bytes={limits[0]}-{limits[1] - 1}"}
        tag = version.partition(" ")[0]

        async def get() -> bytes:
            response = await self._fs._call_s3("get_object", Bucket=bucket, Key=key, IfMatch=tag, **asked)  # noqa: SLF001 - the public `cat_file` knows no condition
            async with response["Body"] as body:
                data: bytes = await body.read()
            return data

        found: bytes = sync(self._fs.loop, get)
        return found

    def fetch(self, path: str, target: str) -> None:
        """Copy a file to this machine, whole, for servers that do not send parts.

        Raises:
            FileNotFoundError: if it is gone.
            ConfigError: as `info`.
        """
        self._tried(path, lambda: self._fs.get_file(self._key(path), target))

    def _changed(self, path: str) -> PlaceError:
        return PlaceError(f"{self.url(path)}: changed while it was being read. Run the command again.")

    # Writing

    def write(self, path: str, content: bytes, *, new: bool = False) -> None:
        """Make a file, whole or not at all.

        Args:
            path: replaced where it exists.
            content: its bytes.
            new: refuse one that exists, even where another process makes it at the same time, if the server can.

        Raises:
            FileExistsError: if it exists, and must not.
            ConfigError: as `info`.
        """
        mode = {"mode": "create"} if new else {}
        try:
            self._tried(path, lambda: self._fs.pipe_file(self._key(path), content, **mode))
        except FileNotFoundError as error:
            raise PlaceError(
                f"{self.url(path.rpartition('/')[0])}: nothing can be written there, for the bucket or server has no such place. "
                "Make it, or check the address."
            ) from error

    def upload(self, path: str, source: str) -> None:
        """As `write`, from a file of this machine, in parts that are put together at the end.

        Raises:
            OSError: if the file cannot be read.
            ConfigError: as `info`.
        """
        self._tried(path, lambda: self._upload(path, source))

    def _upload(self, path: str, source: str) -> None:
        with open(source, "rb") as file:  # noqa: PTH123 - asked for each of 100,000 files
            if os.fstat(file.fileno()).st_size <= _CHUNK:
                self._fs.pipe_file(self._key(path), file.read())
                return
            # As a context manager it would finish a file whose source failed in the middle.
            out = self._fs.open(self._key(path), "wb", block_size=_CHUNK, autocommit=False)
            try:
                while chunk := file.read(_CHUNK):
                    out.write(chunk)
                out.close()
                out.commit()
            except BaseException:
                with contextlib.suppress(Exception):  # the first error counts
                    out.discard()
                raise

    def copy(self, source: str, target: str) -> None:
        """Copy a file within the store.

        Raises:
            ConfigError: as `info`.
        """
        self._tried(target, lambda: self._fs.cp_file(self._key(source), self._key(target)))

    def delete(self, path: str) -> None:
        """Delete a file, where it exists.

        Raises:
            ConfigError: as `info`.
        """
        with contextlib.suppress(FileNotFoundError):
            self._tried(path, lambda: self._fs.rm_file(self._key(path)))

    def abort_uploads(self, folder: str) -> None:
        """Drop the parts of uploads below a folder that were never put together, where the server keeps such.

        Raises:
            ConfigError: as `info`.
        """
        if not self._is_s3:
            return
        bucket, prefix, _ = self._fs.split_path(self._key(folder) + "/")
        for found in self._tried(folder, lambda: self._fs.list_multipart_uploads(bucket)) or []:
            if found["Key"].startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    self._tried(folder, lambda found=found: self._fs.abort_mpu(bucket, found["Key"], found["UploadId"]))  # type: ignore[misc]

    # Trying again

    def _tried(self, path: str, work: Callable[[], T]) -> T:
        attempt = 1
        while True:
            try:
                return work()
            except (AugsuiteError, NotImplementedError):
                raise
            except Exception as error:  # noqa: BLE001 - each library has errors of its own, told apart below
                if not is_passing(error) or attempt == TRIES:
                    self._raise(path, error)
            # Full jitter: many clients that failed together do not come back together.
            time.sleep(random.uniform(0, min(_BACKOFF_S * 2 ** (attempt - 1), _LONGEST_S)))
            attempt += 1

    def _raise(self, path: str, error: Exception) -> NoReturn:
        url, status, said = self.url(path), status_of(error), said_by(error)
        if isinstance(error, FileExistsError) or (isinstance(error, OSError) and status == 409):
            raise FileExistsError(errno.EEXIST, "exists already", url) from error
        if isinstance(error, FileNotFoundError) or status == 404:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from error
        if status in CHANGED:
            raise self._changed(path) from error
        if type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError"}:
            raise PlaceError(
                f"{url}: no credentials ({said}). Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket "
                "set FSSPEC_S3_ANON=true."
            ) from error
        if isinstance(error, PermissionError) or status in DENIED:
            raise PlaceError(
                f"{url}: access denied ({said}). Check your credentials, and what they may do there."
            ) from error
        if is_passing(error):
            raise PlaceError(
                f"{url}: cannot be reached, {TRIES} tries ({said}). Check the network and the address, then run the command again."
            ) from error
        raise PlaceError(f"{url}: refused ({said}). Check the address and its settings.") from error


class NoRangesError(Exception):
    """A server sends files only whole."""


_ODD = frozenset({"", ".", ".."})


def _is_below(path: str, folder: str) -> bool:
    return not folder or path.startswith(folder + "/")


def _connect(place: Url) -> tuple[Any, str]:
    try:
        fsspec = importlib.import_module("fsspec")
        core = importlib.import_module("fsspec.core")
    except ImportError:
        raise MissingExtraError(f"{place.scheme}://", "remote", "fsspec") from None
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    # One place tries again, `Store`; all layers below would multiply.
    if place.scheme in {"s3", "s3a"}:
        config = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        own = {"retries": {"mode": "standard", "total_max_attempts": 1}, "max_pool_connections": 64}
        options["config_kwargs"] = {**own, "connect_timeout": 10, "read_timeout": 60, **config}
    try:
        if place.scheme in _GOOGLE:
            # The class that fsspec takes asks first what kind of bucket this is, with credentials and a package of their own.
            fs, root = importlib.import_module("gcsfs").core.GCSFileSystem(**options), place.rest
        else:
            fs, root = core.url_to_fs(str(place), **options)
    except ImportError as error:
        missing = error.name or str(error).split()[1].strip("'\"")
        raise MissingExtraError(f"{place.scheme}://", "remote", missing) from None
    except (ValueError, OSError) as error:  # some connect at once
        raise PlaceError(f"{redacted(str(place))}: cannot be opened ({said_by(error)}). Check the address.") from error
    if hasattr(fs, "_call_s3"):
        fs.retries = 1
    if place.scheme in _GOOGLE:
        logging.getLogger("gcsfs").addHandler(
            logging.NullHandler()
        )  # else errors go to the terminal, tracebacks and all
        once = getattr(type(fs)._request, "__wrapped__", None)  # noqa: SLF001 - there is no setting
        if once is not None:
            fs._request = MethodType(once, fs)  # noqa: SLF001 - as above
    return fs, root


def _unquoted(name: str, root: str) -> str:
    from urllib.parse import unquote

    return "" if "?" in name or name.startswith(root) else unquote(name)


def _entry(about: Any) -> Entry:
    version = " ".join(str(about[key]) for key in _VERSIONS if about.get(key))
    moment = next((about[key] for key in _TIMES if about.get(key)), None)
    if moment is not None and not version:
        version = str(moment)
    size = about.get("size")
    return Entry(None if size is None else int(size), version, _seconds(moment))


def _seconds(moment: Any) -> float:
    if isinstance(moment, datetime):
        return moment.timestamp()
    if isinstance(moment, str):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(moment).timestamp()
        return 0.0
    return float(moment or 0)
