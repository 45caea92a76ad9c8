"""The engine `local`: processes of this machine, one thread each.

Not `concurrent.futures`: there one worker that dies (out of memory, a crash in native code) breaks the pool and every item that
waits; here it costs its own item. Workers end with their parent, however that ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from augsuite.errors import AugsuiteError
from augsuite.protocols import Item, Result
from augsuite.registry import one_line

# Runs share the machine by processes. One thread each also makes a result independent of the number of cores: sums over several
# threads round differently. torch reads the first, OpenCV the last.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_PATIENCE_S = 5.0


def default_workers() -> int:
    """One worker for each core that this process may use: two threads that contend cost more than they bring."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_local(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result | Exception]]:
    """Run `work` on each item in fresh processes that are used again; see `augsuite.protocols.Engine`.

    Args:
        work: a picklable callable; sent once to each process.
        items: picklable; taken one by one as processes become free.
        workers: how many processes at most.

    Yields:
        Each item as it ends, with its result, or with an `AugsuiteError` of one line that carries the traceback of the process
        as its note. An item whose process died is one of these.
    """
    context = multiprocessing.get_context("spawn")
    pending = iter(items)
    hands: list[_Hand] = []
    try:
        while True:
            idle = [hand for hand in hands if not hand.busy]
            while len(hands) - len(idle) < workers:
                item = next(pending, _NONE)
                if item is _NONE:
                    break
                hand = idle.pop() if idle else _Hand(context.Process, work)
                if hand not in hands:
                    hands.append(hand)
                hand.give(item)
            busy = [hand for hand in hands if hand.busy]
            if not busy:
                return
            ready = set(wait([part for hand in busy for part in (hand.connection, hand.process.sentinel)]))
            for hand in busy:
                if hand.connection in ready or hand.process.sentinel in ready:
                    item, answer = hand.take()
                    if not hand.alive:
                        hands.remove(hand)
                    yield item, answer
    finally:
        for hand in hands:
            hand.dismiss()


_NONE: Any = object()


class _Hand:
    """One process, what it works on, and the pipe to it."""

    def __init__(self, process: Callable[..., SpawnProcess], work: Callable[[Any], Any]) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.item: Any = _NONE
        self.alive = True
        # Not a daemon: a daemon may have no children, and a trainer may want loader processes.
        self.process = process(target=_serve, args=(work, theirs), name="augsuite-worker")
        with _environment(dict.fromkeys(_THREADS, "1")):
            self.process.start()
        theirs.close()  # so that the end of the process closes the pipe

    @property
    def busy(self) -> bool:
        return self.item is not _NONE

    def give(self, item: Any) -> None:
        self.item = item
        with contextlib.suppress(OSError):  # it died: `take` finds out and says how
            self.connection.send(item)

    def take(self) -> tuple[Any, Any]:
        item, self.item = self.item, _NONE
        try:
            answer, notes = self.connection.recv()
        except (EOFError, OSError):
            self.alive = False
            self.process.join(_PATIENCE_S)
            return item, AugsuiteError(_how_it_died(self.process.exitcode))
        for note in notes:
            answer.add_note(note)
        return item, answer

    def dismiss(self) -> None:
        self.connection.close()  # an idle process leaves by itself
        if self.busy:
            self.process.terminate()
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _serve(work: Callable[[Any], Any], connection: Connection) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    os.dup2(2, 1)  # what a trainer prints is no result: stdout belongs to the table
    threading.Thread(target=_end_with_parent, name="augsuite-parent-watch", daemon=True).start()
    while True:
        try:
            item = connection.recv()
        except (EOFError, OSError):
            return
        answer: Any
        notes: list[str] = []
        try:
            answer = work(item)
        except Exception as error:  # noqa: BLE001 - one failed item must not end the others
            # As text: a stranger's exception may not survive the journey between processes.
            answer, notes = AugsuiteError(one_line(error)), [traceback.format_exc()]
        connection.send((answer, notes))


def _end_with_parent() -> None:
    """Leave at once when the parent is gone, even by `kill -9`: its end of a pipe closes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _how_it_died(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = " Was the memory short? Try fewer --workers." if name == "SIGKILL" else ""
        return f"the worker process was ended by {name}.{hint}"
    return f"the worker process ended with exit status {code} before the run did."


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes started within; the libraries read them when they are first imported."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
