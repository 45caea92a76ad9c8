"""The engine `ray`: each item is one task of a Ray cluster.

Tasks, not actors: Ray starts them wherever there is room, also on machines that join later, keeps their processes for the next item,
and a machine that vanishes costs its items and nothing else. Not Ray Data either: its blocks are rows of tables, and our items are
chunks whose order is the order of the result; see docs/scale.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from augsuite.engines import ONE_CORE, Item, Resources, Result, Told, WorkerDiedError
from augsuite.engines.tools import Job, Ledger, travelling
from augsuite_ray.cluster import check_room, connect, room
from augsuite_ray.folders import check_folders
from augsuite_ray.task import Setting, run_one

_AHEAD = 2  # items for each that is under way whose results may wait for their turn
_QUEUED = 2  # items that wait at the cluster, so that no process waits for this one
_PATIENCE_S = 10.0


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
    """Run `work` on each item on a Ray cluster; see `augsuite.engines.Engine`.

    Raises:
        ConfigError: if there is no cluster, no machine has room for an item, or a machine does not see the folders of the work.
    """
    connect(workers)
    check_room(resources)
    check_folders(tuple(getattr(work, "folders", ())))
    key = os.urandom(16)
    # The setting first: of what the work imports, some reads the environment at once.
    shared = [ray.put(cloudpickle.dumps((Setting.of_here(resources.cpus), cloudpickle.dumps(work))))]
    task = ray.remote(run_one).options(
        num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0, name=f"augsuite {type(work).__name__}"
    )

    def at_once() -> int:
        """How many items may be at the cluster: those that have room, and where order makes them wait anyway, some more."""
        return workers or room(resources) + (_QUEUED if ordered else 0)

    ledger = Ledger(items, ordered=ordered, retries=retries, told=told, ahead=lambda: at_once() * _AHEAD)
    running: dict[Any, Job[Item]] = {}
    try:
        while True:
            most = at_once()
            while len(running) < most:
                job = ledger.next_job()
                if job is None:
                    break
                try:
                    packed = cloudpickle.dumps(job.item)
                except Exception as error:  # noqa: BLE001 - a stranger's class may raise anything
                    yield from ledger.ended(job, travelling(error))
                    continue
                running[task.remote(key, shared, packed)] = job
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                yield from ledger.ended(running.pop(reference), _answer(reference))
    finally:
        _cancel(list(running))


def _answer(reference: Any) -> Any:
    """What became of a task."""
    try:
        return cloudpickle.loads(ray.get(reference))
    except OutOfMemoryError:
        return WorkerDiedError("the worker process was ended, as its machine ran out of memory. Try fewer --workers.")
    except NodeDiedError:
        return WorkerDiedError("the machine of the worker process left the cluster.")
    except (WorkerCrashedError, ObjectLostError):
        return WorkerDiedError(
            "the worker process was ended, or its machine left the cluster. Was the memory short? Try fewer --workers."
        )
    except RayTaskError as error:  # the process could not even begin, as where augsuite is not installed
        return travelling(error.cause if isinstance(error.cause, Exception) else error)
    except RayError as error:
        return WorkerDiedError(f"the Ray cluster lost an item: {' '.join(str(error).split())[:200]}")


def _cancel(references: list[Any]) -> None:
    """End tasks, and the processes that they run in: work may sit in native code, which hears nothing else."""
    if not references or not ray.is_initialized():
        return
    for reference in references:
        ray.cancel(reference, force=True)
    ray.wait(references, num_returns=len(references), timeout=_PATIENCE_S)
