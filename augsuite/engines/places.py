"""Where on this machine a worker process runs: its cores, its GPU, its threads."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from augsuite.engines import Resources
from augsuite.errors import ConfigError

# torch reads the first, OpenCV the last.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


@dataclass(frozen=True, slots=True)
class Place:
    """What one worker process has to itself.

    Attributes:
        cores: that it is pinned to; none where it is not.
        gpus: names for `CUDA_VISIBLE_DEVICES`; None leaves that as it is.
        threads: of torch, OpenCV and BLAS.
    """

    cores: tuple[int, ...] = ()
    gpus: str | None = None
    threads: int = 1

    def settle(self) -> None:
        """Move this process there; before CUDA is started, and whether or not torch is imported already."""
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)
        if self.gpus is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus
        os.environ.update(dict.fromkeys(THREADS, str(self.threads)))
        if "torch" in sys.modules:  # it has read its variable before
            sys.modules["torch"].set_num_threads(self.threads)
        if "cv2" in sys.modules:
            sys.modules["cv2"].setNumThreads(self.threads)


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes started within; the libraries read them when they are first imported."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def default_workers() -> int:
    """One worker for each core that this process may use: two threads that contend cost more than they bring."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def places(workers: int | None, resources: Resources) -> list[Place]:
    """Share out this machine.

    Args:
        workers: how many at most; as many as there is room for, where nothing is said. More than there are cores are not pinned.
        resources: what each needs.

    Raises:
        ConfigError: if they need GPUs, and there are too few even for one.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(default_workers()))
    slots = _slots(visible_gpus(), resources.gpus) if resources.gpus else None
    if slots is not None and not slots:
        raise ConfigError(
            f"each run asks for {resources.gpus:g} GPUs, and this machine has {len(visible_gpus())}. Ask for fewer with --gpus."
        )
    room = max(len(cores) // resources.cpus, 1) if slots is None else len(slots)
    count = workers or room
    pinned = count * resources.cpus <= len(cores)
    return [
        Place(
            cores=tuple(cores[at * resources.cpus : (at + 1) * resources.cpus]) if pinned else (),
            gpus=None if slots is None else slots[at % len(slots)],
            threads=resources.cpus,
        )
        for at in range(count)
    ]


def _slots(gpus: Sequence[str], each: float) -> list[str]:
    """What each worker sees: several GPUs, one, or one that it shares."""
    if each >= 1:
        size = round(each)
        return [",".join(gpus[at : at + size]) for at in range(0, len(gpus) - size + 1, size)]
    # In turn, so that few workers spread over all of them.
    return [gpu for _ in range(int(1 / each)) for gpu in gpus]


def visible_gpus() -> list[str]:
    """The GPUs that a worker may use, as `CUDA_VISIBLE_DEVICES` names them; parts of one (MIG) count each.

    By their UUIDs, since CUDA and nvidia-smi do not count them in the same order; and without torch, whose import takes seconds.
    """
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [name.strip() for name in said.split(",") if name.strip() and name.strip() != "-1"]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=False)
    return listed_gpus(listed.stdout) if listed.returncode == 0 else []


def listed_gpus(text: str) -> list[str]:
    """UUIDs from what `nvidia-smi -L` prints."""
    found: list[str] = []
    for line in text.splitlines():
        name = line.partition("UUID: ")[2].rstrip(") ")
        if name.startswith("MIG-") and found and found[-1].startswith("GPU-"):
            found.pop()  # the whole of which this is the first part
        if name:
            found.append(name)
    return found


class Claim:
    """Takes a place for this process's workers, so that two studies on one machine do not pin theirs to the same cores.

    The system frees it when this process ends, however it does.
    """

    def __init__(self, place: Place) -> None:
        """Take a place, or, where its cores are taken, the place without cores.

        A taken GPU is shared: there is nowhere else to go.
        """
        self.place = place
        self._locks: list[FileLock] = []
        folder = Path(tempfile.gettempdir()) / f"augsuite-cores-{os.getuid() if hasattr(os, 'getuid') else 'all'}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            for core in place.cores:
                lock = FileLock(folder / f"{core}.lock")
                lock.acquire(timeout=0)
                self._locks.append(lock)
        except (OSError, Timeout):
            self.give_back()
            self.place = Place(gpus=place.gpus, threads=place.threads)

    def give_back(self) -> None:
        """Let others have it."""
        while self._locks:
            self._locks.pop().release()
