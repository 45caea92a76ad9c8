"""What engines share: how work is tried, and which item is next."""

from __future__ import annotations

import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic

from augsuite.engines import Item, Told, WorkerDiedError
from augsuite.errors import AugsuiteError
from augsuite.registry import one_line


def attempt(work: Callable[[Any], Any], item: Any) -> Any:
    """The result of work on an item; or the error that it raised, fit to travel, with the traceback as its note."""
    try:
        return work(item)
    except Exception as error:  # noqa: BLE001 - one failed item must not end the others
        return travelling(error)


def travelling(error: Exception) -> AugsuiteError:
    """An error as it may leave its process: one of ours as itself, a stranger's as one line, which any process understands."""
    notes = traceback.format_exception(error)
    found = AugsuiteError(one_line(error))
    if isinstance(error, AugsuiteError):
        try:
            again = pickle.loads(pickle.dumps(error))
        except Exception:  # noqa: BLE001 - its class does not know how to travel: the line does
            again = None
        if type(again) is type(error) and str(again) == str(error):
            found = again
    found.__notes__ = ["".join(notes).rstrip("\n")]
    return found


@dataclass(frozen=True, slots=True)
class Job(Generic[Item]):
    """One attempt at an item.

    Attributes:
        number: of the item, from 0.
        item: the item.
        attempt: which one this is, from 1.
    """

    number: int
    item: Item
    attempt: int = 1


class Ledger(Generic[Item]):
    """Says which job is next, and what may be yielded after one has ended: order and retries are the same for every engine."""

    def __init__(
        self, items: Iterable[Item], *, ordered: bool, retries: int, told: Told | None, ahead: Callable[[], int]
    ) -> None:
        """Begin.

        Args:
            items: all of them; taken as `next_job` is asked.
            ordered: see `augsuite.engines.Engine`.
            retries: see there.
            told: see there.
            ahead: how many items may be under way or wait for their turn; looked up each time, as machines come and go.
        """
        self._items = iter(items)
        self._ordered, self._retries, self._told, self._ahead = ordered, retries, told, ahead
        self._again: deque[Job[Item]] = deque()
        self._ended: dict[int, tuple[Item, Any]] = {}
        self._taken = self._given = 0

    def next_job(self) -> Job[Item] | None:
        """What to start; None where nothing is left, or nothing may be taken before something has ended."""
        if self._again:
            return self._again.popleft()
        if self._taken - self._given >= self._ahead():
            return None
        for item in self._items:
            self._taken += 1
            return Job(self._taken - 1, item)
        return None

    def put_back(self, job: Job[Item]) -> None:
        """Take back a job that was never begun: it costs no attempt."""
        self._again.appendleft(job)

    def ended(self, job: Job[Item], answer: Any) -> Iterator[tuple[Item, Any]]:
        """Take the answer to a job, and yield what may be given out now."""
        if isinstance(answer, WorkerDiedError) and job.attempt <= self._retries:
            if self._told is not None:
                self._told(job.item, answer, job.attempt)
            self._again.append(replace(job, attempt=job.attempt + 1))
            return
        if not self._ordered:
            self._given += 1
            yield job.item, answer
            return
        self._ended[job.number] = (job.item, answer)
        while self._given in self._ended:
            self._given += 1
            yield self._ended.pop(self._given - 1)
