"""Where a run stands, on disk: whole or not at all, and read without executing anything that the file holds."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from augsuite.augment import Feed
from augsuite.errors import DataError
from augsuite.training import processes
from augsuite.training.settings import Settings

CHECKPOINT = "checkpoint.pt"
"""Its name in a run's folder."""

_FORMAT = 1


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state, plain values and tensors, so that a process may be killed and a machine may crash at any moment."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        torch.save({"format": _FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a state, on the CPU.

    Returns:
        The state; None where there is no file.

    Raises:
        DataError: if the file is damaged, holds more than plain values and tensors, or was written by another version.
    """
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, TypeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path}: the checkpoint is damaged, or is none.") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise DataError(f"{path}: the checkpoint is of another version.")
    return state


def identity_of(config: Settings, train: Feed, *, name: str, seed: int, epochs: int) -> dict[str, Any]:
    """What must be the same for a checkpoint to be one of a run, so far as a trainer knows."""
    return {
        "name": name,
        "seed": seed,
        "config": msgspec.to_builtins(config),
        "epochs": epochs,
        "images": len(train),
        "categories": train.data.categories.names.tolist(),
        "policy": train.policy.to_plain(),
    }


def find_checkpoint(path: Path, identity: Mapping[str, Any], network: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Read the state of one's own run.

    Args:
        path: the file.
        identity: what the run is.
        network: its state dict.

    Returns:
        The state; None where there is no file.

    Raises:
        DataError: if the file is damaged, or is of another run or network.
    """
    state = read_checkpoint(path)
    if state is None:
        return None
    if state.get("identity") != identity:
        raise DataError(f"{path}: the checkpoint is of another run.")
    weights = state["network"]
    if weights.keys() != network.keys() or any(value.shape != network[name].shape for name, value in weights.items()):
        raise DataError(f"{path}: the checkpoint is of another network.")
    return state


class Keeper:
    """Says when to write a run's checkpoint, writes it, and finds it again; the first of several processes does so for all."""

    def __init__(self, path: Path, identity: Mapping[str, Any], every_s: float) -> None:
        """Count the time from now.

        Args:
            path: the file.
            identity: what must be the same for a checkpoint to be one of this run.
            every_s: seconds between checkpoints; 0 writes one whenever asked.
        """
        self._path, self._identity, self._every_s = path, identity, every_s
        self._written = time.monotonic()

    def due(self, batch: int) -> bool:
        """Whether it is time, after so many batches of an epoch."""
        due = time.monotonic() - self._written >= self._every_s
        if processes.world() == 1 or not self._every_s:
            return due
        # All must agree, and asking at every step would cost.
        return processes.from_main(due) if batch % 16 == 0 else False

    def write(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Write a state, to which come the random numbers of all processes."""
        states = processes.of_all(_random_state(device))
        if processes.rank() == 0:
            write_checkpoint(self._path, {"identity": self._identity, **state, "random": states})
        self._written = time.monotonic()

    def find(self, network: Mapping[str, Tensor], say: Callable[[str], None]) -> dict[str, Any] | None:
        """The state of this run, in all processes; None where there is no checkpoint that can be used, which is said."""
        state = None
        if processes.rank() == 0:
            try:
                state = find_checkpoint(self._path, self._identity, network)
            except DataError as error:
                say(f"{error} Starting from the beginning.")
        return processes.from_main(state)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random(states: Sequence[Mapping[str, Tensor]], device: torch.device) -> bool:
    """Go on with random numbers where this process stood; whether it was there then."""
    rank = processes.rank()
    if rank >= len(states):
        return False
    torch.set_rng_state(states[rank]["cpu"])
    if device.type == "cuda" and "cuda" in states[rank]:
        torch.cuda.set_rng_state(states[rank]["cuda"], device)
    return True
