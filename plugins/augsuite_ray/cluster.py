"""The cluster: found or started, and what its machines have."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from augsuite.engines import Resources
from augsuite.engines.places import THREADS, default_workers, environment
from augsuite.errors import ConfigError

_PATIENCE_S = 5.0
_SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent home
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # an item that asks for no GPU may still choose one, as with any engine
    "RAY_TQDM": "0",
}


def connect(workers: int | None) -> None:
    """Join the cluster that RAY_ADDRESS names; else start one on this machine, which ends with this process.

    A program that has called `ray.init` itself keeps its cluster.

    Args:
        workers: how many items at once; a cluster that is started has room for so many, and for two at least.

    Raises:
        ConfigError: if there is no cluster at the address, or one of another version.
    """
    for name, value in _SILENT.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "").strip()
    _hush()
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address and address != "local":
        _check(address)
        _show_token()
        try:
            with _on_loopback() if _is_private(address) else contextlib.nullcontext():
                ray.init(address=address, **common)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ConfigError(f"Ray cluster {address}: {_first_line(error)}{_hint(error)}") from error
        return
    with environment(dict.fromkeys(THREADS, "1")), _on_loopback():
        try:
            ray.init(
                address="local", num_cpus=max(workers or 0, default_workers(), 2), include_dashboard=False, **common
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ConfigError(f"no Ray cluster could be started on this machine: {_first_line(error)}") from error
    from ray._private import worker

    atexit.register(_end, worker.global_worker.node.get_session_dir_path(), os.getpid())


def _show_token() -> None:
    """Show the cluster the token that this user has, if any; one that asks for none takes no offence.

    `ray start` asks for a token where the user has one, and any cluster that a process starts for itself leaves one. Whoever names
    an address must say so by RAY_AUTH_MODE, which nobody knows.
    """
    try:
        from ray._private.authentication import authentication_token_setup as tokens
    except ImportError:  # Ray before there were tokens
        return
    level = tokens.logger.level
    tokens.logger.setLevel(logging.ERROR)
    try:
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    finally:
        tokens.logger.setLevel(level)


def _end(session: str, owner: int) -> None:
    """End the cluster that this process has started, and remove what it logged, which Ray leaves behind for ever."""
    if os.getpid() != owner:  # a fork of it
        return
    import ray

    ray.shutdown()
    shutil.rmtree(session, ignore_errors=True)


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let what Ray starts listen on 127.0.0.1 alone.

    By itself it does so on Windows and macOS only, by a constant; any address that it is given it turns into one that others reach.
    """
    from ray._private import ray_constants as constants

    before = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def _is_private(address: str) -> bool:
    """Whether a cluster is one that another process has started as `connect` does: Ray must know, to find its own machine in it."""
    from ray._private import services

    host, _, port = address.rpartition(":")
    if host not in {"127.0.0.1", "localhost"}:
        return False
    try:
        socket.create_connection((services.get_node_ip_address(), int(port)), timeout=_PATIENCE_S).close()
    except OSError:
        return True
    return False


def _hush() -> None:
    """Keep stdout for results: Ray prints there, from a thread, that a worker died, which we report by ourselves."""
    from ray._private import worker

    def to_stderr(data: dict[str, Any], ignore_prefix: bool) -> None:
        del ignore_prefix
        if data.get("pid") != "raylet":
            print(*data["lines"], sep="\n", file=sys.stderr)

    worker.print_to_stdstream = to_stderr


def _check(address: str) -> None:
    """Find out in seconds whether anything listens at an address; Ray itself takes a minute.

    Raises:
        ConfigError: if nothing does, or it is no address of a cluster.
    """
    if address == "auto":
        return
    if "://" in address:
        raise ConfigError(
            f"Ray cluster {address}: the client protocol is not supported. Run the command on a machine of the cluster, "
            "with the address as HOST:PORT, or through `ray job submit`."
        )
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ConfigError(f"Ray cluster {address!r}: write the address as HOST:PORT; `ray start --head` prints it.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"Ray cluster {address}: nothing listens there ({reason}). Start one with `ray start --head`, or leave the address out."
        ) from error


def _hint(error: Exception) -> str:
    if "ersion mismatch" in str(error):
        import ray

        return (
            f" Here: Ray {ray.__version__}, Python {sys.version.split()[0]}. Install the same versions on all machines."
        )
    return " Is it a Ray cluster (`ray status`), and is its token, if it asks for one, in ~/.ray/auth_token or RAY_AUTH_TOKEN?"


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:300].rstrip(". ") + "." if text else type(error).__name__ + "."


def nodes() -> list[Mapping[str, Any]]:
    """The machines of the cluster that are alive."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def room(resources: Resources) -> int:
    """For how many items the whole cluster has room; 0 where no machine has room for one."""
    return sum(_room_of(node["Resources"], resources) for node in nodes())


def _room_of(has: Mapping[str, float], needs: Resources) -> int:
    count = int(has.get("CPU", 0) // needs.cpus)
    if needs.gpus:
        gpus = has.get("GPU", 0)
        each = int(gpus * int(1 / needs.gpus)) if needs.gpus < 1 else int(gpus // needs.gpus)
        count = min(count, each)
    return count


def check_room(resources: Resources) -> None:
    """Stop before waiting for a machine that does not exist.

    Raises:
        ConfigError: if no machine has room for one item.
    """
    if room(resources):
        return
    most = max((int(node["Resources"].get("CPU", 0)) for node in nodes()), default=0)
    gpus = max((node["Resources"].get("GPU", 0) for node in nodes()), default=0)
    asked = f"{resources.cpus} cores" + (f" and {resources.gpus:g} GPUs" if resources.gpus else "")
    raise ConfigError(
        f"each work item asks for {asked}, and no machine of the Ray cluster has more than {most} cores and {gpus:g} GPUs. "
        "Ask for fewer, or add a machine."
    )
