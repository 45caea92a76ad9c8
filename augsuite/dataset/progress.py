"""Progress of long work: whoever does it tells, whoever shows it listens, and neither knows the other."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Listener = Callable[[str, int, int | None], None]
"""Called with what is being done ("reading", "writing"), how many steps were made since the last call, and how many there are in all
(None where nobody knows)."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_EVERY_S = 0.1
_GLANCE = 64  # steps between two looks at the clock


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have `listener` told of all progress made inside the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def advance(what: str, step: int, total: int | None = None) -> None:
    """Tell that `step` more steps were made."""
    listener = _listener.get()
    if listener is not None:
        listener(what, step, total)


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and tell how many are done, ten times a second at most.

    Args:
        items: what is worked on, one by one.
        what: a word for it, such as "reading".
        total: how many items there are; their length by default, where they have one.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    listener = _listener.get()
    if listener is None:
        yield from items
        return
    listener(what, 0, total)
    told = 0
    last = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        if done % _GLANCE == 0 and (now := time.monotonic()) - last >= _EVERY_S:
            listener(what, done - told, total)
            told, last = done, now
    listener(what, done - told, total)
