"""The engine `local`: processes of this machine, with cores or GPUs of their own.

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
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.reduction import ForkingPickler
from typing import Any

from augsuite.engines import ONE_CORE, Item, Resources, Result, Told, WorkerDiedError
from augsuite.engines.places import THREADS, Claim, Place, environment, places
from augsuite.engines.tools import Job, Ledger, attempt, travelling

_PATIENCE_S = 5.0
_AHEAD = 2  # items for each process whose results may wait for their turn


def run(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    resources: Resources = ONE_CORE,
    *,
    ordered: bool = False,
    retries: int = 0,
    told: Told | None = None,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Run `work` on each item in processes that are used again; see `augsuite.engines.Engine`."""
    context = _context(getattr(work, "imports", ()))
    free = places(workers, resources)
    most = len(free) * _AHEAD
    ledger = Ledger(items, ordered=ordered, retries=retries, told=told, ahead=lambda: most)
    hands: list[_Hand] = []
    try:
        while True:
            idle = [hand for hand in hands if hand.job is None]
            while idle or free:
                job = ledger.next_job()
                if job is None:
                    break
                try:
                    packed = ForkingPickler.dumps(job.item)
                except Exception as error:  # noqa: BLE001 - a stranger's class may raise anything
                    yield from ledger.ended(job, travelling(error))
                    continue
                if idle and not idle[-1].process.is_alive():  # nothing was begun in it: no attempt is lost
                    lost = idle.pop()
                    hands.remove(lost)
                    free.append(lost.dismiss())
                if idle:
                    hand = idle.pop()
                else:
                    hand = _Hand(context, work, free.pop(0))
                    hands.append(hand)
                hand.give(job, packed)
            busy = [hand for hand in hands if hand.job is not None]
            if not busy:
                return
            ready = set(wait([part for hand in busy for part in (hand.connection, hand.process.sentinel)]))
            for hand in busy:
                if hand.connection in ready or hand.process.sentinel in ready:
                    job, answer = hand.take()
                    if not hand.alive:
                        hands.remove(hand)
                        free.append(hand.dismiss())
                    yield from ledger.ended(job, answer)
    finally:
        for hand in hands:
            hand.dismiss()


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
        self.job: Job[Any] | None = None
        self.alive = True
        # Not a daemon: a daemon may have no children, and a trainer may want loader processes.
        self.process = context.Process(target=_serve, args=(work, theirs, self._claim.place), name="augsuite-worker")
        with environment(dict.fromkeys(THREADS, str(place.threads))):  # read by whoever imports the libraries first
            self.process.start()
        theirs.close()  # so that the end of the process closes the pipe

    def give(self, job: Job[Any], packed: Any) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # it died: `take` finds out and says how
            self.connection.send_bytes(packed)

    def take(self) -> tuple[Job[Any], Any]:
        """The job, and its answer."""
        job, self.job = self.job, None
        if job is None:
            raise RuntimeError("a process without a job has no answer")
        try:
            return job, self.connection.recv()
        except (EOFError, OSError):
            self.alive = False
            self.process.join(_PATIENCE_S)
            return job, WorkerDiedError.of_exit(self.process.exitcode)

    def dismiss(self) -> Place:
        """End the process, and say which place is free now."""
        self.connection.close()  # an idle process leaves by itself
        if self.job is not None:
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
            item = connection.recv_bytes()
        except (EOFError, OSError):
            return
        connection.send_bytes(_packed(attempt(lambda packed: work(pickle.loads(packed)), item)))


def _packed(answer: Any) -> Any:
    """An answer as bytes; one that cannot be pickled is an error of its item."""
    try:
        return ForkingPickler.dumps(answer)
    except Exception as error:  # noqa: BLE001 - a stranger's class may raise anything
        return ForkingPickler.dumps(travelling(error))


def _end_with_parent() -> None:
    """Leave at once when the parent is gone, even by `kill -9`: its end of a pipe closes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
