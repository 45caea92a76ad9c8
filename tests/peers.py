"""Other people's programs as judges, each in an environment of its own, so that none is a dependency of the tests.

An environment is made once, under pytest's cache folder, and used by every later run. Tests skip where it cannot be made.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

PLACE = Path(__file__).resolve().parents[1] / ".pytest_cache" / "peers"
_DONE = "made"
_PATIENCE_S = 540


@functools.cache
def peer_python(name: str, *requirements: str, borrow: bool = False) -> Path:
    """The interpreter of an environment that holds some packages; made where it does not exist yet.

    Args:
        name: part of the environment's folder name.
        requirements: as for `pip install`.
        borrow: install the requirements without what they depend on; whatever is missing comes from the packages of this
            interpreter. So nothing large, such as torch, is installed twice.

    Returns:
        The path of its `python`. The test is skipped, with pip's last line, where it could not be made.
    """
    key = hashlib.sha256("\n".join([sys.version, str(borrow), *requirements]).encode()).hexdigest()[:12]
    folder = PLACE / f"{name}-{key}"
    python = folder / "bin" / "python"
    PLACE.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(PLACE / f"{folder.name}.lock", timeout=_PATIENCE_S):
            if not (folder / _DONE).exists():
                shutil.rmtree(folder, ignore_errors=True)
                _make(name, folder, requirements, borrow=borrow)
                (folder / _DONE).write_text("\n".join(requirements), encoding="utf-8")
    except Timeout:
        pytest.skip(
            f"the environment of {name} is being made by another process, which takes longer than {_PATIENCE_S} s"
        )
    return python


def _make(name: str, folder: Path, requirements: Sequence[str], *, borrow: bool) -> None:
    _run(name, sys.executable, "-m", "venv", str(folder))
    if borrow:
        library = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        (library / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run(name, *install, *(["--no-deps"] if borrow else []), *requirements)


def run_peer(python: Path, code: str, *arguments: str | os.PathLike[str], home: Path) -> str:
    """Run a piece of code in a peer's environment.

    Args:
        python: from `peer_python`.
        code: what to run; `sys.argv[1:]` are the arguments.
        arguments: see `code`.
        home: a folder of the test's own, where the peer may put its settings.

    Returns:
        What it printed. The test fails, with what it printed on the error stream, where it does not end well.
    """
    quiet = {"HOME": str(home), "YOLO_CONFIG_DIR": str(home), "YOLO_OFFLINE": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, encoding="utf-8", timeout=_PATIENCE_S, check=False, cwd=home, env={**os.environ, **quiet},
    )  # fmt: skip
    if done.returncode:
        pytest.fail(f"{python} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def _run(name: str, *command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"the environment of {name} was not made within {_PATIENCE_S} s")
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        pytest.skip(f"the environment of {name} could not be made: {said[-1] if said else done.returncode}")
