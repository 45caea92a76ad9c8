"""The machine that a report is written on, and those on which its runs were trained."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from augsuite.study.store import State, Store


def machine() -> dict[str, str]:
    """Processor, cores, memory, GPUs and system of this machine, as far as it tells."""
    found = {"processor": _processor(), "cores": _cores()}
    memory = _memory()
    if memory:
        found["memory"] = f"{memory / 2**30:.1f} GiB"
    found["GPU"] = ", ".join(_gpus()) or "none"
    found["system"] = f"{platform.system()} {platform.release()}"
    return found


def trained_on(state: State, store: Store) -> str:
    """Where the runs of a study were trained; machines are named only where there was another than this one."""
    entries = store.entries(run.digest for run in state.runs)
    hosts = Counter(entry.host for entry in entries.values() if entry.record is not None and entry.host)
    if set(hosts) <= {platform.node()}:
        return "this machine"
    return ", ".join(f"{name}: {count} run{'' if count == 1 else 's'}" for name, count in sorted(hosts.items()))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.lower().startswith(("model name", "hardware")))
    return next(filter(None, named), "") or platform.processor() or platform.machine()


def _cores() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    total = os.cpu_count()
    return f"{total}" if usable == total else f"{usable} of {total}"


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX, or not told
        return 0


def _gpus() -> list[str]:
    """By the driver's own program: importing torch for their names would take seconds."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    asked = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        listed = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in listed.stdout.splitlines() if line.strip()] if listed.returncode == 0 else []
