"""Whether all machines of a cluster see the same files."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from augsuite.errors import ConfigError
from augsuite_ray.cluster import nodes

Seen = list[tuple[str, ...] | None]

_TOP = 200  # names of a folder that are compared
_LOOKS = 3  # a folder may change between two looks, and a network's file system may show it late
_PAUSE_S = 1.0
_PATIENCE_S = 60.0


def check_folders(folders: tuple[str, ...]) -> None:
    """Make sure that all machines see the same files.

    Raises:
        ConfigError: names the machine and the folder.
    """
    others = _others() if folders else []
    for looked in range(_LOOKS):
        if not others:
            return
        if looked:
            time.sleep(_PAUSE_S)
        here, asked, blind = look(folders), [(node, _ask(node, folders)) for node in others], {}
        for node, reference in asked:
            folder = differing(folders, here, _answer(node, reference))
            if folder is not None:
                blind[node["NodeID"]] = folder
        others = [node for node in others if node["NodeID"] in blind]
    if others:
        raise ConfigError(
            f"{blind[others[0]['NodeID']]}: the machine {others[0]['NodeManagerAddress']} of the Ray cluster does not see the same files "
            "there. Put the data on a file system that all machines share, or use URLs."
        )


def _others() -> list[Mapping[str, Any]]:
    """The machines, without this one, that may be given work."""
    own = ray.get_runtime_context().get_node_id()
    return [node for node in nodes() if node["NodeID"] != own and node["Resources"].get("CPU", 0) >= 1]


def _ask(node: Mapping[str, Any], folders: tuple[str, ...]) -> Any:
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(look).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(folders)


def _answer(node: Mapping[str, Any], reference: Any) -> Seen:
    try:
        seen: Seen = ray.get(reference, timeout=_PATIENCE_S)
    except RayError as error:
        raise ConfigError(
            f"the machine {node['NodeManagerAddress']} of the Ray cluster cannot work: {' '.join(str(error).split())[-200:]}"
        ) from error
    return seen


def look(folders: tuple[str, ...]) -> Seen:
    """What a machine sees in some folders: the first names, sorted; None where there is no such folder.

    Without hidden ones: commands that run beside this one make and remove such.
    """
    seen: Seen = []
    for folder in folders:
        try:
            names = os.listdir(folder)  # noqa: PTH208 - names are what is compared
        except OSError:
            seen.append(None)
        else:
            seen.append(tuple(sorted(name for name in names if not name.startswith("."))[:_TOP]))
    return seen


def differing(folders: tuple[str, ...], here: Seen, there: Seen) -> str | None:
    """The first folder in which another machine sees something else."""
    return next((folder for folder, one, two in zip(folders, here, there, strict=True) if one != two), None)
