"""What an engine must do: run work items somewhere, in this process, in others, on other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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


class Engine(Protocol):
    """Runs work items."""

    def __call__(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        workers: int | None = None,
        resources: Resources = ONE_CORE,
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Run `work` on each item, and yield each item with its result or error as it ends.

        An engine tries each item once; what it cost when its process died is one of the errors. Whoever stops iterating cancels
        what is left.

        Args:
            work: picklable, sent once to each process. Its attribute `imports`, where it has one, names modules that are imported
                once, before processes are made from that one.
            items: picklable; taken one by one as workers become free.
            workers: how many at once; as many as there is room for, where nothing is said.
            resources: what each item needs.

        Raises:
            ConfigError: if there is no room for a single item.
        """
