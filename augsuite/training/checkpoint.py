"""Where a run stands, on disk: whole or not at all, and read without executing anything that the file holds."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augsuite.errors import DataError

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


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Where this process's random numbers stand."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Go on with random numbers where another process stood."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
