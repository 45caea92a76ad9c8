"""The engines of this machine: `local`, processes with cores or GPUs of their own, and `inline`, in this process.

Not `concurrent.futures`: there one worker that dies (out of memory, a crash in native code) breaks the pool and every item that
waits; here it costs its own item. Workers end with their parent, however that ends.

Workers are forked from a server that has imported what they need: torch alone takes 3 to 5 seconds, which each would spend anew. The
server has one thread and has computed nothing, so no lock and no GPU is copied in a wrong state. Each worker has one thread unless
its items ask for more: they share the machine by processes, and a result is independent of the number of cores, since sums over
several threads round differently.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

from augsuite.engines import ONE_CORE, Item, Resources, Result
from augsuite.errors import AugsuiteError, ConfigError
from augsuite.registry import one_line
from augsuite.study.places import THREADS, Claim, Place, places

_PATIENCE_S = 5.0


class WorkerDiedError(AugsuiteError):
    """The process of an item ended before the item did.

    Attributes:
        signal: which ended it; None where it left by itself.
    """

    def __init__(self, code: int | None) -> None:
        """Say how, from the exit code."""
        self.signal = -code if code is not None and code < 0 else None
        super().__init__(_how_it_died(code))


def run_local(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    resources: Resources = ONE_CORE,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Run `work` on each item in processes that are used again; see `augsuite.engines.Engine`.

    Yields:
        Each item as it ends, with its result, or with an `AugsuiteError` of one line that carries the traceback of the process
        as its note. An item whose process died has a `WorkerDiedError`.
    """
    context = _context(getattr(work, "imports", ()))
    pending = iter(items)
    free = places(workers, resources)
    hands: list[_Hand] = []
    try:
        while True:
            idle = [hand for hand in hands if not hand.busy]
            while idle or free:
                item = next(pending, _NONE)
                if item is _NONE:
                    break
                if idle:
                    hand = idle.pop()
                else:
                    hand = _Hand(context, work, free.pop(0))
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
                        free.append(hand.dismiss())
                    yield item, answer
    finally:
        for hand in hands:
            hand.dismiss()


def run_inline(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    resources: Resources = ONE_CORE,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Run `work` on each item in this process, one after the other; see `augsuite.engines.Engine`.

    For a debugger, and for one worker where nothing is to be started. An item that ends the process ends everything.

    Raises:
        ConfigError: if more than one worker is asked for.
    """
    if workers not in (None, 1):
        raise ConfigError(f"the engine inline is this process: it has one worker, not {workers}. Use --engine local.")
    with _environment(dict.fromkeys(THREADS, str(resources.cpus))):
        place = places(1, resources)[0]
        Place(gpus=place.gpus, threads=place.threads).settle()
        for item in items:
            with contextlib.redirect_stdout(sys.stderr):
                answer, notes = _attempt(work, item)
            for note in notes:
                answer.add_note(note)
            yield item, answer


_NONE: Any = object()


def _context(imports: Iterable[str]) -> ForkServerContext | SpawnContext:
    """Where processes come from; elsewhere than on Linux each starts anew."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*imports])
    atexit.unregister(_wait_for_server)
    atexit.register(_wait_for_server)
    return context


def _wait_for_server() -> None:
    """At the end of this process, wait for the server, so that the CPU time of the workers is counted as that of our children.

    multiprocessing leaves the server behind, and has no public way to wait for it: where its own goes, only that sum is lost.
    """
    from multiprocessing import forkserver

    stop = getattr(getattr(forkserver, "_forkserver", None), "_stop", None)
    if stop is not None:
        stop()


class _Hand:
    """One process, what it works on, and the pipe to it."""

    def __init__(self, context: ForkServerContext | SpawnContext, work: Callable[[Any], Any], place: Place) -> None:
        self._home = place
        self._claim = Claim(place)
        self.connection, theirs = multiprocessing.Pipe()
        self.item: Any = _NONE
        self.alive = True
        # Not a daemon: a daemon may have no children, and a trainer may want loader processes.
        self.process = context.Process(target=_serve, args=(work, theirs, self._claim.place), name="augsuite-worker")
        with _environment(dict.fromkeys(THREADS, str(place.threads))):  # read by whoever imports the libraries first
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
            return item, WorkerDiedError(self.process.exitcode)
        for note in notes:
            answer.add_note(note)
        return item, answer

    def dismiss(self) -> Place:
        """End the process, and say which place is free now."""
        self.connection.close()  # an idle process leaves by itself
        if self.busy:
            self.process.terminate()
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()
        self._claim.give_back()
        return self._home


def _serve(work: Callable[[Any], Any], connection: Connection, place: Place) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    os.dup2(2, 1)  # what a trainer prints is no result: stdout belongs to the table
    place.settle()
    threading.Thread(target=_end_with_parent, name="augsuite-parent-watch", daemon=True).start()
    while True:
        try:
            item = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_attempt(work, item))


def _attempt(work: Callable[[Any], Any], item: Any) -> tuple[Any, list[str]]:
    """The answer, or an error and its notes."""
    try:
        return work(item), []
    except Exception as error:  # noqa: BLE001 - one failed item must not end the others
        # As text: a stranger's exception may not survive the journey between processes.
        return AugsuiteError(one_line(error)), [traceback.format_exc()]


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
