"""Work on several cores: the same results in the same order, whatever the number of processes."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from typing import TypeVar

from augsuite.dataset.fence import Fence, current
from augsuite.dataset.fence import using as fenced_by
from augsuite.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")

_workers: ContextVar[int] = ContextVar("workers", default=1)
_AHEAD = 2  # items for each process that wait or whose results wait


@contextlib.contextmanager
def using(workers: int) -> Iterator[None]:
    """Let work inside the block take up to `workers` processes."""
    token = _workers.set(max(workers, 1))
    try:
        yield
    finally:
        _workers.reset(token)


def mapped(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `work(item)` for each item, in order.

    In this process, unless `using` allowed several; then `work`, items and results must be picklable, items should be large (tenths
    of a second), and only a few results wait in memory at any time.

    Raises:
        DataError: if a process dies; and whatever `work` raises, for the first item in order.
    """
    workers = _workers.get()
    if workers == 1:
        yield from map(work, items)
        return
    fence = current()
    waiting: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(_fenced, fence, work, item))
                if len(waiting) > workers * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process died, perhaps of too little memory. Try again with --workers 1."
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _fenced(fence: Fence | None, work: Callable[[Item], Result], item: Item) -> Result:
    """Work in another process as in this one: behind its fence."""
    with fenced_by(fence):
        return work(item)
