"""Things that may crash, hang or take seconds are tried in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

LIMIT_S = 120.0
"""How long one process may take; FiftyOne takes twenty seconds on a busy machine."""

_PROBE = r"""
import importlib, json, os, sys
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
sys.stdin = open(os.devnull)
def tell(**said):
    print(json.dumps(said), file=told, flush=True)
facts, *modules = sys.argv[1:]
for name in modules:
    tell(begin=name)
    try:
        importlib.import_module(name)
    except BaseException as error:
        lines = str(error).strip().splitlines() or [""]
        tell(module=name, error=f"{type(error).__name__}: {lines[0]}", missing=getattr(error, "name", None))
    else:
        tell(module=name, error="")
if facts:
    found = {}
    try:
        exec(facts, {"found": found})
    except BaseException as error:
        found["error"] = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    tell(facts=found)
"""


class Probed(msgspec.Struct):
    """What came of importing some modules.

    Attributes:
        errors: module -> why it cannot be imported; "" where it can.
        facts: what the code that was run afterwards found.
    """

    errors: dict[str, str]
    facts: dict[str, Any]


def probe(
    modules: Sequence[str], facts: str = "", environment: Mapping[str, str] | None = None, limit_s: float = LIMIT_S
) -> Probed:
    """Import modules in another process, one after the other; one that takes the process down costs itself alone.

    Args:
        modules: their names.
        facts: code to run in the last process; fills the dictionary `found`.
        environment: variables to set.
        limit_s: for each process.
    """
    result = Probed({}, {})
    left = list(modules)
    while left or facts:
        lines, problem = _run(facts, left, environment or {}, limit_s)
        begun = ""
        for said in lines:
            begun = said.get("begin", begun)
            if "module" in said:
                result.errors[said["module"]] = said["error"]
            result.facts.update(said.get("facts", {}))
        if not problem:
            break
        if begun and begun not in result.errors:
            result.errors[begun] = problem
        else:
            result.facts["error"] = problem
            break
        left = left[left.index(begun) + 1 :]
        if not left:
            break
    return result


def _run(
    facts: str, modules: Sequence[str], environment: Mapping[str, str], limit_s: float
) -> tuple[list[dict[str, Any]], str]:
    """The lines that a process told, and how it ended where that was not by itself."""
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROBE, facts, *modules],
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment},
            start_new_session=True,  # what it starts ends with it
        )
        problem = ""
        try:
            status = process.wait(limit_s)
            if status:
                problem = f"takes the process down ({_ended(status)})"
        except subprocess.TimeoutExpired:
            problem = f"did not finish in {limit_s:.0f} s"
        finally:
            _end(process)
        told.seek(0)
        lines = []
        for line in told.read().decode("utf-8", "replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue  # printed by a library on the descriptor that was standard output
    return lines, problem


def _ended(status: int) -> str:
    try:
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"
    except ValueError:
        return f"signal {-status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()


def first_line(command: Sequence[str | Path], limit_s: float = 30.0) -> tuple[str, str]:
    """The first line that a program prints, and why there is none."""
    try:
        done = subprocess.run(
            [str(each) for each in command],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return "", f"did not finish in {limit_s:.0f} s"
    except OSError as error:
        return "", error.strerror or str(error)
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    if done.returncode:
        return "", lines[-1] if lines else f"exit status {done.returncode}"
    return (lines[0] if lines else ""), ""
