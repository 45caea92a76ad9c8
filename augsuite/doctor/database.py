"""FiftyOne's MongoDB: whether there is one, whether it starts, which one would be used, and which others run; and the browser."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from augsuite.dataset.locate import user_folder
from augsuite.doctor.probing import first_line, probe
from augsuite.doctor.report import Check

GROUP = "fiftyone"
URI = "FIFTYONE_DATABASE_URI"
_OURS = "AUGSUITE_FIFTYONE_URI"  # the URI of augsuite's own database, for processes that it starts
_START_S = 60.0
_PARENT_DIES = 1  # PR_SET_PDEATHSIG
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "firefox")
_READS_MONGO = """
import fiftyone
found["version"] = fiftyone.__version__
"""


def find_mongod() -> Path | None:
    """The MongoDB that FiftyOne's own package brought: the one that augsuite would start."""
    spec = importlib.util.find_spec("fiftyone")
    for place in spec.submodule_search_locations or () if spec else ():
        path = Path(place) / "db" / "bin" / ("mongod.exe" if sys.platform == "win32" else "mongod")
        if path.is_file():
            return path
    return None


def places() -> Iterator[Check]:
    """Which database would be used, and whether others run; cheap."""
    named = os.environ.get(URI)
    if named and named != os.environ.get(_OURS):
        yield _named(named)
    else:
        folder = user_folder().parent / "fiftyone"
        said = "exists" if folder.is_dir() else "will be made when it is first used"
        yield Check(group=GROUP, name="database", status="ok", said=f"augsuite's own, in {folder} ({said})")
    for pid, command in running():
        path = re.search(r"--dbpath[= ](\S+)", command)
        if path is not None and Path(path[1]).is_relative_to(user_folder().parent):
            continue
        port = re.search(r"--port[= ](\d+)", command)
        yield Check(
            group=GROUP,
            name="another MongoDB",
            status="note",
            said=f"process {pid} runs one{f' on {path[1]}' if path else ''}; augsuite leaves it alone",
            advice=f"to use it all the same: export {URI}=mongodb://127.0.0.1:{port[1] if port else 'PORT'}",
        )


def _named(uri: str) -> Check:
    shown = re.sub(r"//[^@/]*@", "//", uri)
    found = re.match(r"mongodb(\+srv)?://(?:[^@/]*@)?([^:/,?]+)(?::(\d+))?", uri)
    if found is None:
        return Check(
            group=GROUP,
            name="database",
            status="broken",
            said=f"{URI}={shown} is no URI of MongoDB",
            advice=f"unset {URI}, or write it as mongodb://127.0.0.1:27017",
        )
    if found[1]:  # found through the DNS, by the driver
        return Check(group=GROUP, name="database", status="note", said=f"{shown}, as {URI} says; not tried")
    try:
        socket.create_connection((found[2], int(found[3] or 27017)), 3).close()
    except (OSError, OverflowError) as error:
        return Check(
            group=GROUP,
            name="database",
            status="broken",
            said=f"{shown}, as {URI} says, does not answer ({error})",
            advice=f"start it, or unset {URI} to use augsuite's own",
        )
    return Check(group=GROUP, name="database", status="ok", said=f"{shown}, as {URI} says; it answers")


def running() -> list[tuple[int, str]]:
    """The processes that are a MongoDB, with their command lines; none where they cannot be listed."""
    found = []
    if Path("/proc/self/cmdline").exists():
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it has ended, or belongs to somebody else
                continue
            if Path(os.fsdecode(words[0])).name == "mongod":
                found.append((int(folder.name), " ".join(map(os.fsdecode, words)).strip()))
        return sorted(found)
    program = shutil.which("ps")
    if program is None:
        return []
    listed = subprocess.run(
        [program, "-axo", "pid=,args="], capture_output=True, text=True, errors="replace", timeout=30, check=False
    )
    for line in listed.stdout.splitlines():
        pid, _, command = line.strip().partition(" ")
        if pid.isdecimal() and Path(command.split(" ")[0]).name == "mongod":
            found.append((int(pid), command))
    return found


def trial() -> Iterator[Check]:
    """Start MongoDB in a temporary folder and import FiftyOne with it, so that no other database is ever attached to."""
    mongod = find_mongod()
    if mongod is None:
        if importlib.util.find_spec("fiftyone") is None:
            return  # the package's own line says so
        yield Check(
            group=GROUP,
            name="MongoDB",
            status="missing",
            said="FiftyOne downloads it when it is installed, which did not work here",
            advice="pip install --force-reinstall --no-cache-dir fiftyone-db, or without a network: "
            "pip install 'augsuite[fiftyone-offline]'",
        )
        return
    version, problem = first_line([mongod, "--version"])
    if problem:
        yield Check(group=GROUP, name="MongoDB", status="broken", said=f"{mongod}: {problem}", advice=_cure(problem))
        return
    with tempfile.TemporaryDirectory(prefix="augsuite-doctor-", ignore_cleanup_errors=True) as folder:
        with started(mongod, Path(folder) / "db") as (port, problem):
            if problem:
                yield Check(
                    group=GROUP,
                    name="MongoDB",
                    status="broken",
                    said=f"{mongod}: does not start ({problem})",
                    advice=_cure(problem),
                )
                return
            yield Check(
                group=GROUP,
                name="MongoDB",
                status="ok",
                said=f"{version.removeprefix('db version ')}, starts: {mongod}",
            )
            tried = probe(
                [],
                _READS_MONGO,
                {
                    URI: f"mongodb://127.0.0.1:{port}",
                    "FIFTYONE_DO_NOT_TRACK": "1",
                    "FIFTYONE_DATABASE_VALIDATION": "false",
                    "HOME": folder,
                },
            )
        problem = tried.facts.get("error", "")
        yield Check(
            group=GROUP,
            name="connection",
            status="broken" if problem else "ok",
            said=f"FiftyOne with a fresh database: {problem}" if problem else "FiftyOne works with a fresh database",
            advice="pip install --upgrade --force-reinstall fiftyone" if problem else "",
        )


def _cure(problem: str) -> str:
    library = re.search(r"loading shared libraries: ([^:\s]+)", problem)
    if library is not None:  # small images of containers lack libcurl, whose package brings all that MongoDB asks for
        return f"install {library[1]}; on Debian and Ubuntu: sudo apt install libcurl4"
    return (
        "pip install --force-reinstall --no-cache-dir fiftyone-db, or name a running one: "
        f"export {URI}=mongodb://127.0.0.1:27017"
    )


@contextlib.contextmanager
def started(mongod: Path, folder: Path) -> Iterator[tuple[int, str]]:
    """Run MongoDB on a free port of the loopback interface; yields the port, and why it does not run where it does not."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    log = folder / "log"
    with log.open("wb") as out:
        words = ["--dbpath", str(folder), "--port", str(port), "--bind_ip", "127.0.0.1"]
        words += [] if sys.platform == "win32" else ["--nounixsocket"]
        try:
            process = subprocess.Popen(
                [mongod, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent if _LIBC is not None else None,  # noqa: PLW1509 - a system call and no more
            )
        except OSError as error:
            yield port, error.strerror or str(error)
            return
        try:
            yield port, _waited(process, port, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_with_parent() -> None:
    """Else a doctor that is killed would leave a server for ever."""
    if _LIBC is not None:
        _LIBC.prctl(_PARENT_DIES, signal.SIGTERM)


def _waited(process: subprocess.Popen[bytes], port: int, log: Path) -> str:
    """Wait until the server answers; why it does not."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            lines = log.read_text("utf-8", "replace").strip().splitlines()
            errors = [line for line in lines if '"s":"E"' in line or '"s":"F"' in line] or lines
            said = re.search(r'"(?:error|errmsg|msg)":"([^"]+)"', errors[-1]) if errors else None
            return said[1] if said else errors[-1] if errors else f"exit status {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return ""
    return f"does not answer after {_START_S:.0f} s"


def browser() -> Iterator[Check]:
    """A browser for the App, and one for tests of it."""
    names = {name: shutil.which(name) for name in _BROWSERS}
    path = next((found for found in names.values() if found), None)
    display = sys.platform in {"darwin", "win32"} or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if path is None:
        yield Check(
            group=GROUP,
            name="browser",
            status="missing",
            said="no chromium, Chrome or Firefox on PATH",
            advice="sudo apt install chromium; or look from another computer: ssh -L 5151:127.0.0.1:5151 THIS_MACHINE",
            optional=True,
        )
    else:
        version, problem = first_line([path, "--version"])
        yield Check(
            group=GROUP,
            name="browser",
            status="broken" if problem else "ok",
            said=f"{path}: {problem or version}",
            advice="sudo apt install --reinstall chromium" if problem else "",
            optional=True,
        )
    if not display:
        yield Check(
            group=GROUP,
            name="display",
            status="note",
            said="none: the App's address is printed, and no window opens",
            advice="look from another computer: ssh -L 5151:127.0.0.1:5151 THIS_MACHINE",
        )
