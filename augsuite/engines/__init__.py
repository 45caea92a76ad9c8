"""What an engine must do: run work items somewhere, in this process, in others, on other machines."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from augsuite.errors import AugsuiteError

Item = TypeVar("Item")
Result = TypeVar("Result")

Told = Callable[[Any, Exception, int], None]
"""Hears of an item that is tried again: the item, what ended its process, and how many attempts it has taken so far."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one work item needs to itself.

    Attributes:
        cpus: cores, and threads of the libraries that compute.
        gpus: GPUs; a half lets two items share one, 0 leaves the choice to the work.
    """

    cpus: int = 1
    gpus: float = 0.0


ONE_CORE = Resources()
"""What an item needs of which nothing is said."""


class WorkerDiedError(AugsuiteError):
    """The process of an item, or its machine, ended before the item did.

    Attributes:
        signal: which ended it; None where it left by itself, or nobody knows.
    """

    def __init__(self, message: str, signal: int | None = None) -> None:
        """Say how it ended."""
        self.signal = signal
        super().__init__(message)

    @classmethod
    def of_exit(cls, code: int | None) -> WorkerDiedError:
        """Say it from the exit code of a process, negative for a signal as `multiprocessing` has it."""
        if code is None or code >= 0:
            return cls(f"the worker process ended with exit status {code} before its work did.")
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = " Was the memory short? Try fewer --workers." if name == "SIGKILL" else ""
        return cls(f"the worker process was ended by {name}.{hint}", -code)


class Engine(Protocol):
    """Runs work items."""

    def __call__(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        workers: int | None = None,
        resources: Resources = ONE_CORE,
        *,
        ordered: bool = False,
        retries: int = 0,
        told: Told | None = None,
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Run `work` on each item, and yield each item with its result or error.

        Whoever stops iterating cancels what is left: no process goes on with it. What work prints goes to stderr or a log, never
        to stdout.

        Args:
            work: picklable, sent once to each process. Of its attributes, where it has them, `imports` names modules that are
                imported once, before processes are made from that one; `folders` names folders that it reads or writes, which an
                engine of several machines checks that all of them see.
            items: picklable; taken one by one as workers become free, and only a bounded number ahead.
            workers: how many at once; as many as there is room for, where nothing is said.
            resources: what each item needs.
            ordered: yield the items in their order, instead of as they end.
            retries: how often an item is tried again whose process or machine died. One whose work raised is not: that is a result.
            told: hears of each item that is tried again.

        Yields:
            Each item once. An `AugsuiteError` that work raised arrives as itself, any other exception as an `AugsuiteError` of one
            line; both carry the traceback as a note. An item whose process died too often has a `WorkerDiedError`.

        Raises:
            ConfigError: if there is no room for a single item.
        """
