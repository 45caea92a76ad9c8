"""Run a command in a process of its own and measure it: processor time and peak memory of it and of all that it starts.

    python bench/measure.py LIMIT_S MEMORY_BYTES COMMAND...

prints one line of JSON. A process of its own adopts whatever the command leaves behind (a database, a worker), so that everything is
waited for and counted. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TAIL = 4_000
LEFTOVERS_S = 10  # what the command left behind may take so long to end


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        cpu_s: user and system time of it and all its children.
        wall_s: time on the clock.
        peak_mb: the largest resident memory of any one process (10^6 bytes).
        failure: why it did not finish; None where it did.
    """

    cpu_s: float
    wall_s: float
    peak_mb: float
    failure: str | None


def measured(command: list[str], limit_s: float, memory_bytes: int, log: Path) -> Cost:
    """Run a command and wait for it and its children.

    Args:
        command: program and arguments.
        limit_s: it is killed after this time on the clock.
        memory_bytes: what one process may hold at most (`RLIMIT_DATA`); 0 for no limit.
        log: gets what it prints.
    """
    with log.open("wb") as out:
        around = [sys.executable, "-S", "-P", __file__, str(limit_s), str(memory_bytes), *command]
        done = subprocess.run(around, stdout=subprocess.PIPE, stderr=out, check=True, stdin=subprocess.DEVNULL)
    said = json.loads(done.stdout)
    status = said.pop("status")
    if said.pop("late"):
        return Cost(**said, failure=f"did not finish in {limit_s:g} s")
    return Cost(**said, failure=_failure(status, log) if status else None)


def _failure(status: int, log: Path) -> str:
    lines = log.read_text("utf-8", "replace")[-TAIL:].strip().splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"{last or 'printed nothing'} (exit status {status})"


def _kill_children() -> None:
    """Those of this process; called again, those that they leave to it."""
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def main(limit_s: float, memory_bytes: int, command: list[str]) -> None:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a bench that is interrupted leaves nothing running
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.setsid()
        os.dup2(2, 1)
        if memory_bytes:
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
            os._exit(127)
    late = False

    def stop(*_: object) -> None:
        nonlocal late
        late = True
        _kill_children()

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s, 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    wall, was_late = time.perf_counter() - started, late
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGTERM)  # what it left behind
    signal.setitimer(signal.ITIMER_REAL, LEFTOVERS_S, 1)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "cpu_s": used.ru_utime + used.ru_stime,
                "wall_s": wall,
                "peak_mb": used.ru_maxrss * 1024 / 1e6,
                "status": status,
                "late": was_late,
            }
        )
    )


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
