"""Weights from a file or from torchvision, read without executing code."""

from __future__ import annotations

import pickle
import socket
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augsuite.errors import ConfigError

State = dict[str, Tensor]


def backbone_state(source: str, published: Any, name: str) -> State:
    """The state dict that a setting names.

    Args:
        source: `default`, or a path.
        published: torchvision's entry for `default`.
        name: of the model, for the messages.

    Raises:
        ConfigError: if it cannot be had.
    """
    return download(published, name) if source == "default" else read_state(Path(source))


def download(published: Any, name: str) -> State:
    """What torchvision publishes, from PyTorch's cache where it is there already."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # PyTorch sets none, and a network that drops packets would hang
    try:
        state: State = published.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"ssd: the published weights of {name} cannot be downloaded ({reason}). "
            "Write the path of a state dict, or none."
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return state


def read_state(path: Path) -> State:
    """A state dict out of a file of PyTorch or safetensors, or out of a `model.pt` of ours.

    Raises:
        ConfigError: if there is none in it that can be loaded without executing code.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of pickles that it then refuses
                state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(
            f"ssd: weights: {path}: no such file. Write default, none or the path of a state dict."
        ) from None
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise ConfigError(f"ssd: weights: {path} is no state dict of tensors that PyTorch can load safely.") from error
    except ModuleNotFoundError as error:
        raise ConfigError(f"ssd: weights: {path} needs the package safetensors. pip install safetensors") from error
    state = state.get("state", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"ssd: weights: {path} holds no state dict. Save model.state_dict().")
    return dict(state)


def load_part(part: nn.Module, state: State, prefix: str, name: str) -> None:
    """Load a part of a network from the state dict of the whole, whose other entries are left out.

    Raises:
        ConfigError: if an entry is missing or has another shape.
    """
    found = {}
    for key, value in part.state_dict().items():
        given = state.get(prefix + key)
        if given is None and key.endswith("num_batches_tracked"):
            continue  # files of PyTorch before 0.4.1 have none, and nothing depends on it
        if given is None or given.shape != value.shape:
            problem = "lack" if given is None else "have in another shape"
            raise ConfigError(f"ssd: weights of {name} {problem} {prefix + key!r}. Are they of another model?")
        found[key] = given
    part.load_state_dict(found, strict=False)


def load_detector(detector: nn.Module, state: State, name: str) -> list[str]:
    """Load a whole detector; heads of another number of classes or anchors stay as they were drawn.

    Returns:
        What was left as it was, sorted.

    Raises:
        ConfigError: if anything else does not fit.
    """
    own = detector.state_dict()
    other = {key for key in own.keys() & state.keys() if own[key].shape != state[key].shape}
    for problem, keys in (
        ("lack", own.keys() - state.keys()),
        ("have, and the model has not,", state.keys() - own.keys()),
        ("have in another shape", {key for key in other if not key.startswith("head.")}),
    ):
        if keys:
            raise ConfigError(f"ssd: weights of {name} {problem} {min(keys)!r}. Are they of another model?")
    detector.load_state_dict({key: value for key, value in state.items() if key not in other}, strict=False)
    return sorted(other)
