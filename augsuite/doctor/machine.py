"""The machine: processors, memory, disk, limits, and the folders that must take files. Nothing here takes longer than a blink."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from augsuite.dataset.cache_folder import user_cache
from augsuite.dataset.locate import user_folder
from augsuite.doctor.report import Check
from augsuite.engines.places import default_workers

_GROUP = "machine"
_GB = 1e9
_LEAST_DISK = 50e6  # bytes: less takes no dataset at all
_LITTLE_DISK = 2e9
_LITTLE_MEMORY = 2e9
_LITTLE_SHARED = 256e6  # PyTorch's workers pass batches through it
_FEW_FILES = 1024
_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # how version 1 of cgroups says that there is no limit


def machine() -> Iterator[Check]:
    """Processors, memory, shared memory, open files."""
    cores, quota = default_workers(), cpu_limit()
    said = f"{cores} of {os.cpu_count()} cores" if cores != os.cpu_count() else f"{cores} cores"
    if quota is not None and quota < cores:
        yield Check(
            group=_GROUP,
            name="processors",
            status="note",
            said=f"{said}, but this container gets the time of {quota:.3g}",
            advice=f"start no more than {max(int(quota), 1)} workers: --workers {max(int(quota), 1)}",
        )
    else:
        yield Check(group=_GROUP, name="processors", status="ok", said=f"{said}, {platform.machine()}")
    yield from _memory()
    yield from _shared_memory()
    yield from _files()


def cpu_limit(root: Path = _CGROUPS) -> float | None:
    """How many processors' time a container may use; None where there is no limit.

    Source: the Linux kernel's documentation, cgroup-v2.rst (`cpu.max`) and sched-bwc.rst (`cpu.cfs_quota_us`).
    """
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        return float(quota) / float(period) if quota != "max" and float(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None


def memory_limit(root: Path = _CGROUPS) -> int | None:
    """How many bytes a container may hold; None where there is no limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            said = int((root / name).read_text())
        except (OSError, ValueError):
            continue
        return said if said < _UNLIMITED else None
    return None


def _memory() -> Iterator[Check]:
    free = None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        values = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
        total, free = values["MemTotal"], values["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        if not hasattr(os, "sysconf"):
            return
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = memory_limit()
    said = f"{total / _GB:.1f} GB" + (f", {free / _GB:.1f} free" if free is not None else "")
    if limit is not None and limit < total:
        said += f"; this container gets {limit / _GB:.1f} GB"
    little = min(value for value in (free, limit, total) if value is not None) < _LITTLE_MEMORY
    yield Check(
        group=_GROUP,
        name="memory",
        status="note" if little else "ok",
        said=said,
        advice="end other programs, or train with smaller batches and fewer workers" if little else "",
    )


def _shared_memory() -> Iterator[Check]:
    place = Path("/dev/shm")  # noqa: S108 - it is what is looked at
    if not place.is_dir():
        return
    free = shutil.disk_usage(place).free
    little = free < _LITTLE_SHARED
    yield Check(
        group=_GROUP,
        name="shared memory",
        status="note" if little else "ok",
        said=f"{_size(free)} free in {place}",
        advice="data loaders with workers end with a bus error once it is full: docker run --shm-size 2g"
        if little
        else "",
    )


def _files() -> Iterator[Check]:
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft != resource.RLIM_INFINITY and soft < _FEW_FILES
    yield Check(
        group=_GROUP,
        name="open files",
        status="note" if few else "ok",
        said="no limit" if soft == resource.RLIM_INFINITY else f"{soft:,} for each process",
        advice=f"ulimit -n {min(4096, hard) if hard != resource.RLIM_INFINITY else 4096}" if few else "",
    )


def folders() -> Iterator[Check]:
    """The folders that must take files, and the room on their disks."""
    for name, place, status, advice in (
        (
            "this folder",
            Path.cwd(),
            "note",
            "change to a folder of yours, or name one that takes files for each output",
        ),
        ("datasets", user_folder(), "broken", "export XDG_DATA_HOME=/a/folder/of/yours"),
        ("cache", user_cache(), "broken", "export XDG_CACHE_HOME=/a/folder/of/yours"),
        ("temporary files", Path(_temporary()), "broken", "export TMPDIR=/a/folder/of/yours"),
    ):
        problem = refused(place)
        if problem:
            yield Check(
                group="folders",
                name=name,
                status="note" if status == "note" else "broken",
                said=f"{place}: cannot be written ({problem})",
                advice=advice,
            )
            continue
        free = shutil.disk_usage(_existing(place)).free
        yield Check(
            group="folders",
            name=name,
            status="broken" if free < _LEAST_DISK else "note" if free < _LITTLE_DISK else "ok",
            said=f"{place}: {_size(free)} free",
            advice=f"make room there, or {advice}" if free < _LITTLE_DISK else "",
        )


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # none of the usual places takes a file
        return os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - named, not used


def refused(place: Path) -> str:
    """Why a folder, or the nearest that exists above it, takes no file; "" where it does."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".augsuite-", dir=_existing(place)) as file:
            file.write(b"\0" * 4096)  # a full disk takes a name, and no byte
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _existing(place: Path) -> Path:
    return next((each for each in (place, *place.parents) if each.is_dir()), Path("/"))


def _size(count: float) -> str:
    return f"{count / _GB:.1f} GB" if count >= _GB else f"{count / 1e6:.0f} MB"
