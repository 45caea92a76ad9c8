"""What an engine may do besides: run several processes of one job at once, that find each other as those of `torchrun` do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")

Tell = Callable[[Any], None]
"""Sends a value, which must be picklable, to whoever waits for the job. What all but the first process send is dropped."""


class RunTogether(Protocol):
    """Runs a job in several processes."""

    def __call__(
        self, job: Callable[[Tell], Result], processes: int, *, gpus: bool, scratch: Path, hears: Callable[[Any], None]
    ) -> Result:
        """Run `job(tell)` in each of some processes at once.

        Each finds in its environment what `torchrun` leaves there: RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Where one is
        lost, all begin anew, some times; a job that wants to go on keeps a checkpoint. An `AugsuiteError` that a job raises ends all.

        Args:
            job: picklable. What it reads and writes must be where all machines see it; its attribute `folders`, where it has one, names
                folders of which that is checked.
            processes: how many, at least 1.
            gpus: give each process a GPU of its own, if there are so many.
            scratch: a folder that all machines see, and that may hold files while the job is under way.
            hears: called in this process with what the first process tells, and with a `str` for a person when all begin anew.

        Returns:
            What the job returned in the first process.

        Raises:
            AugsuiteError: that which a job raised; or one that says why the processes were lost again and again.
            ConfigError: if there is no room for so many, or a machine does not see the folders.
        """
