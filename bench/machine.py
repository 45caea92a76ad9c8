"""What figures depend on: the machine and the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path


def facts(work: Path) -> dict[str, object]:
    """The machine, and the file system that is written to."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    system = subprocess.run(["stat", "-f", "-c", "%T", work], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "work": str(work),
        "file_system": system,
        "load_before": os.getloadavg(),
    }


def versions() -> dict[str, str]:
    """Of us, of Python, of what both we and the floor stand on, and the commit."""
    said = {name: importlib.metadata.version(name) for name in ("augsuite", "msgspec", "numpy", "pyarrow")}
    done = subprocess.run(
        ["git", "-C", Path(__file__).parent, "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {"python": platform.python_version(), **said, "commit": done.stdout.strip()}
