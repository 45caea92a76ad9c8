"""What went wrong at a remote place: whether another try may mend it, and how it is said without secrets."""

from __future__ import annotations

import errno
import re

from augsuite.errors import ConfigError

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
DENIED = frozenset({401, 403})
CHANGED = frozenset({412})
_THROTTLED = ("SlowDown", "Throttl", "RequestTimeout", "TooManyRequests", "Please reduce your request rate")
_LOST = frozenset({"OSError", "TimeoutError", "ConnectionError", "HTTPClientError", "ClientError", "HttpError"})
"""What lost connections are called in Python, botocore, aiohttp and gcsfs."""
_BROKEN = frozenset({"ClientPayloadError", "ResponseStreamingError", "IncompleteReadError"})
"""What answers that break off are called, some of which carry a status of their own making."""


class PlaceError(ConfigError):
    """A remote place that cannot be used: out of reach, closed to this user, or not what it was. No fault of a dataset's file."""


def is_passing(error: BaseException) -> bool:
    """Whether another try may mend an error."""
    family = {base.__name__ for base in type(error).__mro__}
    if family & _BROKEN:
        return True
    status = status_of(error)
    if status is not None:
        return status in _PASSING or any(mark in str(error) for mark in _THROTTLED)
    if isinstance(
        error, FileNotFoundError | PermissionError | FileExistsError | IsADirectoryError | NotADirectoryError
    ):
        return False
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
        return False
    return bool(family & _LOST)


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status that an error of botocore, aiohttp or gcsfs carries, or what caused it."""
    while error is not None:
        answer = getattr(error, "response", None)
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(answer, dict) else None
        if status is None:
            status = getattr(error, "status", None) or (
                None if hasattr(error, "status") else getattr(error, "code", None)
            )
        if isinstance(status, int) and 100 <= status < 600:
            return status
        if isinstance(error, OSError) and str(error).startswith("Forbidden: "):  # how gcsfs says it
            return 403
        error = error.__cause__
    return None


def said_by(error: BaseException) -> str:
    """The first line of what an error says, without secrets."""
    lines = str(error).strip().splitlines()
    return redacted(lines[0].strip(" ,."))[:200] if lines else type(error).__name__


def redacted(text: str) -> str:
    """Text without the passwords and signatures of the URLs in it."""
    return _QUERY.sub(r"\1?...", _USER.sub("://...@", text))


_USER = re.compile(r"://[^/@\s]*@")
_QUERY = re.compile(r"(\w:/[^\s?]*)\?[^\s/]+")
