"""Several processes of one job, by Ray Train: it starts them, shares out GPUs, and begins anew where one is lost."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray import cloudpickle
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from augsuite.engines import ONE_CORE
from augsuite.engines.tools import travelling
from augsuite.errors import AugsuiteError, ConfigError
from augsuite_ray.cluster import connect, nodes, room
from augsuite_ray.folders import check_folders
from augsuite_ray.task import Setting

Result = TypeVar("Result")

_BEGINNINGS = 4  # of all processes
_LOOK_S = 0.2
_PATIENCE_S = 5.0


def run(
    job: Callable[[Callable[[Any], None]], Result],
    processes: int,
    *,
    gpus: bool,
    scratch: Path,
    hears: Callable[[Any], None],
) -> Result:
    """Run `job` in each of some processes of a cluster; see `augsuite.engines.together.RunTogether`."""
    connect(processes)
    gpus = gpus and sum(node["Resources"].get("GPU", 0) for node in nodes()) >= processes
    if room(ONE_CORE) < processes:
        raise ConfigError(
            f"the Ray cluster has {room(ONE_CORE)} cores for {processes} processes. Ask for fewer, or add a machine."
        )
    scratch.mkdir(parents=True, exist_ok=True)
    check_folders((os.fspath(scratch), *getattr(job, "folders", ())))
    logging.getLogger("ray.train").setLevel(logging.CRITICAL)  # what it would say, we say in a line
    board = ray.remote(Board).options(num_cpus=0).remote()
    work = functools.partial(_one, board, cloudpickle.dumps((Setting.of_here(1), cloudpickle.dumps(job))))
    folder = tempfile.mkdtemp(prefix=".ray-", dir=scratch)
    trainer = TorchTrainer(
        work,
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpus, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(
            name="run", storage_path=folder, failure_config=FailureConfig(max_failures=_BEGINNINGS - 1)
        ),
    )
    lost: Exception | None = None
    interrupted = signal.getsignal(signal.SIGINT)
    try:
        with _listening(board, hears):
            try:
                trainer.fit()
            except ray.train.TrainingFailedError as error:
                lost = error
            except SystemExit as error:  # how Ray Train leaves after Ctrl-C
                raise KeyboardInterrupt from error
        answer = ray.get(board.answer.remote())
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupted)  # Ray Train leaves its own
        ray.kill(board)
        shutil.rmtree(folder, ignore_errors=True)
    if answer is None:
        raise AugsuiteError(
            f"the training processes were lost {_BEGINNINGS} times ({_reason(lost)}). Was the memory short? The same command goes on."
        ) from lost
    ended, value = cloudpickle.loads(answer)
    if not ended:
        raise value
    result: Result = value
    return result


def _reason(error: Exception | None) -> str:
    """The last line of what Ray says of the first process that failed."""
    errors = getattr(error, "worker_failures", None) or {}
    first = next(iter(errors.values()), error)
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    return lines[-1][:200].rstrip(".") if lines else "nothing was said"


class Board:
    """What the processes say, in a process of its own that outlives them."""

    def __init__(self) -> None:
        self._said: list[bytes] = []
        self._answer: bytes | None = None
        self._began = self._ended = 0

    def begin(self, rank: int) -> bool:
        """Whether there is something to do: not after an error that no new attempt would cure."""
        if rank == 0 and self._answer is None:
            self._began += 1
            if self._began > 1:
                line = f"a training process was lost; all begin again (attempt {self._began} of {_BEGINNINGS})"
                self._said.append(cloudpickle.dumps(line))
        return self._answer is None

    def tell(self, packed: bytes) -> None:
        """Take what the first process tells."""
        self._said.append(packed)

    def take(self) -> list[bytes]:
        """What was told since the last time."""
        said, self._said = self._said, []
        return said

    def end(self, packed: bytes) -> None:
        """Take the answer; the first counts."""
        self._ended += 1
        if self._answer is None:
            self._answer = packed

    def failed(self) -> int:
        """How many processes ended by an error, where one did."""
        return self._ended

    def answer(self) -> bytes | None:
        """Whether the job came to an end, and its result or error; None where it did not."""
        return self._answer


def _one(board: Any, packed: bytes) -> None:
    """One process."""
    rank = ray.train.get_context().get_world_rank()
    if not ray.get(board.begin.remote(rank)):
        return
    setting, job = cloudpickle.loads(packed)
    setting.settle()

    def tell(message: Any) -> None:
        if rank == 0:
            board.tell.remote(cloudpickle.dumps(message))

    try:
        result = cloudpickle.loads(job)(tell)
    except AugsuiteError as error:  # any other may be what a lost neighbour looks like: Ray begins anew
        ray.get(board.end.remote(cloudpickle.dumps((False, travelling(error)))))
        _wait_for_others(board)
        return
    if rank == 0:
        ray.get(board.end.remote(cloudpickle.dumps((True, result))))


def _wait_for_others(board: Any) -> None:
    """Wait for the same error in the other processes; those that have none wait for this one, and only Ray can end them.

    Raises:
        RuntimeError: if they do not come.
    """
    world = ray.train.get_context().get_world_size()
    until = time.monotonic() + _PATIENCE_S
    while ray.get(board.failed.remote()) < world:
        if time.monotonic() > until:
            raise RuntimeError("an error ended one process and not the others")
        time.sleep(_LOOK_S)


@contextlib.contextmanager
def _listening(board: Any, hears: Callable[[Any], None]) -> Iterator[None]:
    """Hand on what is told, while the block runs, and to its end."""
    done = threading.Event()

    def hand_on() -> None:
        for packed in ray.get(board.take.remote()):
            hears(cloudpickle.loads(packed))

    def listen() -> None:
        while not done.wait(_LOOK_S):
            hand_on()

    thread = threading.Thread(target=listen, name="augsuite-listener", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    hand_on()
